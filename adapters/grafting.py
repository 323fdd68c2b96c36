"""How does an adapter get onto a base, and off again?

Grafting replaces attention processors; nothing of the base is copied or changed, and removing restores the
very same processor objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import nn

from adapters.adapter import JointAdapter
from adapters.base import bare, check_base, transformer_blocks
from adapters.joint import GraftedProcessor, JointAttention, TextAttention

_REGISTRY = "_joint_adapters"


def grafted(unet: nn.Module) -> Mapping[str, JointAdapter]:
    """The adapters on a UNet, by name, in the order they came."""
    return dict(bare(unet).__dict__.get(_REGISTRY, {}))


def graft(unet: nn.Module, adapters: Mapping[str, JointAdapter]) -> None:
    """Attach adapters to a UNet beside those already there; its plain forward stays the base's.

    Raises `ValueError` if a name is taken, an adapter is for another base, the UNet is merged, or one of its
    attentions has a processor that joint attention would silently replace.
    """
    _check_graftable(unet, adapters)
    for path, block in transformer_blocks(unet).items():
        _install(block.attn1, JointAttention, path)
        if block.attn2 is not None:
            _install(block.attn2, TextAttention, path)
        for name, adapter in adapters.items():
            part = adapter[path]
            grafted_on(block.attn1).adapters[name] = part.attn1
            if block.attn2 is not None and part.attn2 is not None:
                grafted_on(block.attn2).adapters[name] = part.attn2
    bare(unet).__dict__[_REGISTRY] = {**grafted(unet), **adapters}


def ungraft(unet: nn.Module, *names: str) -> None:
    """Take the named adapters off a UNet, or all of them. With the last one the original processors return.

    Raises `ValueError` for a name that is not there, and while the UNet is merged.
    """
    check_unmerged(unet)
    present = grafted(unet)
    for name in names:
        if name not in present:
            raise ValueError(f"no adapter {name!r} to take off; grafted: {sorted(present) or 'none'}")
    left = {name: adapter for name, adapter in present.items() if names and name not in names}
    for attn in _grafted_attentions(unet):
        processor = grafted_on(attn)
        for name in set(processor.adapters) - set(left):
            del processor.adapters[name]
        if not left:
            attn.set_processor(processor.original)
    bare(unet).__dict__[_REGISTRY] = left


def joint_attentions(unet: nn.Module) -> Iterator[tuple[str, JointAttention]]:
    """(block path, processor of `attn1`) of a grafted UNet, merged or not."""
    for path, block in transformer_blocks(unet).items():
        if isinstance(block.attn1.processor, JointAttention):
            yield path, block.attn1.processor


def check_unmerged(unet: nn.Module) -> None:
    """Raise `ValueError` if the UNet is merged for inference."""
    if any(grafted_on(attn).is_merged for attn in _grafted_attentions(unet)):
        raise ValueError(
            "adapters are merged for inference: call unmerge(unet) first, and merge again afterwards"
        )


def grafted_on(attn: Attention) -> GraftedProcessor:
    """The processor of an attention that has one of ours."""
    return cast(GraftedProcessor, attn.processor)


def _grafted_attentions(unet: nn.Module) -> list[Attention]:
    attentions = [a for block in transformer_blocks(unet).values() for a in (block.attn1, block.attn2)]
    return [a for a in attentions if a is not None and isinstance(a.processor, GraftedProcessor)]


def _check_graftable(unet: nn.Module, adapters: Mapping[str, JointAdapter]) -> None:
    check_unmerged(unet)
    for name, adapter in adapters.items():
        if not name or "." in name:
            raise ValueError(f"adapter name {name!r}: must be a non-empty name without dots")
        if name in grafted(unet):
            raise ValueError(f"an adapter {name!r} is already there: choose another name or ungraft it first")
        check_base(adapter.base, unet, f"adapter {name!r}")


def _install(attn: Attention, processor: type[GraftedProcessor], path: str) -> None:
    if isinstance(attn.processor, GraftedProcessor):
        return
    if type(attn.processor) not in (AttnProcessor, AttnProcessor2_0):  # the same sums, fused or not
        raise ValueError(
            f"{path} has the attention processor {type(attn.processor).__name__}, which joint attention "
            "would silently replace: call unet.set_attn_processor(AttnProcessor2_0()) first"
        )
    attn.set_processor(cast(Any, processor(attn.processor)))
