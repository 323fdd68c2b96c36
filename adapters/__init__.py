"""Which layers turn a frozen UNet into one that reads between its branches?

Nothing here knows of samplers, prompts or pipelines. Importing loads neither torch nor diffusers: names are
resolved on first use (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adapters.adapter import JointAdapter
    from adapters.base import geometry
    from adapters.config import AdapterConfig, BaseGeometry, BlockGeometry, ClipIdentity, DecoderConfig
    from adapters.decoder import DecoderAdapter, Likeness
    from adapters.decoder_store import load_decoder, save_decoder
    from adapters.exports import map_lora
    from adapters.forward import CleanCache, joint_forward, record_clean
    from adapters.grafting import (
        graft,
        graft_decoder,
        graft_lora,
        grafted,
        grafted_decoder,
        grafted_loras,
        lora_weights,
        set_lora_weight,
        ungraft,
        ungraft_decoder,
        ungraft_lora,
    )
    from adapters.image_lora import ImageLora
    from adapters.layout import Pair
    from adapters.lora_files import load_lora, save_lora
    from adapters.merge import merge_for_inference, unmerge
    from adapters.published import is_published, load_published
    from adapters.store import load_adapter, save_adapter

_HOME = {
    "AdapterConfig": "config",
    "BaseGeometry": "config",
    "BlockGeometry": "config",
    "CleanCache": "forward",
    "ClipIdentity": "config",
    "DecoderAdapter": "decoder",
    "DecoderConfig": "config",
    "Likeness": "decoder",
    "JointAdapter": "adapter",
    "Pair": "layout",
    "geometry": "base",
    "ImageLora": "image_lora",
    "graft": "grafting",
    "graft_decoder": "grafting",
    "grafted_decoder": "grafting",
    "ungraft_decoder": "grafting",
    "load_decoder": "decoder_store",
    "save_decoder": "decoder_store",
    "graft_lora": "grafting",
    "grafted_loras": "grafting",
    "lora_weights": "grafting",
    "set_lora_weight": "grafting",
    "ungraft_lora": "grafting",
    "grafted": "grafting",
    "is_published": "published",
    "joint_forward": "forward",
    "load_adapter": "store",
    "load_lora": "lora_files",
    "load_published": "published",
    "map_lora": "exports",
    "merge_for_inference": "merge",
    "record_clean": "forward",
    "save_adapter": "store",
    "save_lora": "lora_files",
    "ungraft": "grafting",
    "unmerge": "merge",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
