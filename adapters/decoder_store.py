"""How does a decoder adapter live in a folder: `config.json` and `decoder.safetensors`?

Reading is as strict as that of joint adapters: `store.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from adapters.config import ClipIdentity, DecoderConfig
from adapters.decoder import DecoderAdapter, check_decoder_base
from adapters.files import existing
from adapters.store import (
    CONFIG_NAME,
    check_tensors,
    modelspec,
    place_for,
    read_base,
    read_entries,
    read_tensors,
    without_tensors,
    write_folder,
)

TENSORS_NAME = "decoder.safetensors"
_FOLDER = f"the folder of a decoder adapter holds {CONFIG_NAME} and {TENSORS_NAME}"


def save_decoder(decoder: DecoderAdapter, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write a decoder adapter, its tensors as `dtype` if given. Each file appears whole or not at all."""
    header = modelspec(decoder.base, "unclip-decoder", title=f"decoder of {decoder.config.clip.name}")
    write_folder(Path(folder), TENSORS_NAME, dict(decoder.stored()), decoder.config, header, dtype)


def load_decoder(folder: str | Path, unet: nn.Module, *, dtype: torch.dtype | None = None) -> DecoderAdapter:
    """Read a decoder adapter for `unet`, onto its device, as stored or as `dtype`. It is not grafted yet.

    Raises `ValueError` if a file is missing, damaged or not a decoder's, if its tensors are not exactly those
    of its config, or if it was built for another base.
    """
    folder = Path(folder)
    config = read_decoder_config(folder)
    decoder = without_tensors(DecoderAdapter, config, folder / CONFIG_NAME, "decoder adapter")
    check_decoder_base(decoder.config, unet, str(folder))
    source = folder / TENSORS_NAME
    tensors = read_tensors(source, _FOLDER)
    check_tensors({name: tuple(t.shape) for name, t in decoder.stored()}, tensors, str(source))
    place = place_for(unet)
    decoder.fill({name: t.to(place, dtype or t.dtype) for name, t in tensors.items()})
    return decoder


def read_decoder_config(folder: str | Path) -> DecoderConfig:
    """The config of a stored one. Raises `ValueError` for unknown, missing or wrong entries."""
    path = existing(Path(folder) / CONFIG_NAME, _FOLDER)
    entries = read_entries(path, DecoderConfig, "a decoder adapter's config")
    clip = read_clip(entries["clip"], path)
    base = read_base(entries["base"], path)
    try:
        return DecoderConfig(**{**entries, "clip": clip, "base": base})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}; fetch or save the decoder adapter again") from error


def read_clip(entry: Any, path: Path) -> ClipIdentity:
    """The CLIP that a file names. Raises `ValueError` for what is none."""
    fields = {"name": str, "width": int, "weights": list}
    is_one = isinstance(entry, dict) and set(entry) == set(fields)
    if not is_one or not all(isinstance(entry[name], kind) for name, kind in fields.items()):
        raise ValueError(f"{path}: {entry!r} names no CLIP (name, width, weights): fetch or save it again")
    return ClipIdentity(**{**entry, "weights": tuple(entry["weights"])})
