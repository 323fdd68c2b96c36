"""How does a LoRA live in a file that other tools read, and how are theirs read?

Written are kohya's names with an explicit alpha, which diffusers, ComfyUI and kohya's own tools read alike:
diffusers' own layout loses the alpha on the way, and ComfyUI does not know it. Read are kohya's, diffusers'
and peft's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from adapters.base import geometry
from adapters.config import BaseGeometry
from adapters.files import existing, write_tensors
from adapters.image_lora import ImageLora, matrix_names

_PAIRS = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".down.weight": "down",
    ".up.weight": "up",
    ".alpha": "alpha",
}
"""How a tensor's name ends, and which of a matrix's three tensors it is."""

_PREFIXES = ("", "unet.", "base_model.model.", "base_model.model.unet.")
_OF_TEXT = ("lora_te", "text_encoder")


def save_lora(lora: ImageLora, path: str | Path) -> None:
    """Write a LoRA with its metadata and kohya's names, alpha equal to the rank; whole or not at all."""
    tensors: dict[str, Tensor] = {}
    for name, update in lora.items():
        key = _kohya(name)
        tensors[f"{key}.lora_down.weight"] = update.down.detach().cpu()
        tensors[f"{key}.lora_up.weight"] = update.up.detach().cpu()
        tensors[f"{key}.alpha"] = torch.tensor(float(len(update.down)))
    ranks = {len(update.down) for _, update in lora.items()}
    about = {
        **lora.metadata,
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(max(ranks)),
        "ss_network_alpha": str(float(max(ranks))),
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_tensors(Path(path), tensors, about)


def load_lora(path: str | Path, unet: nn.Module, *, dtype: torch.dtype | None = None) -> ImageLora:
    """Read a LoRA of the base's attentions, onto the UNet's device. It is not grafted yet.

    Each matrix keeps its own rank; its alpha goes into `up`. Raises `ValueError` for a file that is missing
    or damaged, is no LoRA of this base, or changes more than the UNet's attentions.
    """
    path = existing(Path(path), "a LoRA is one .safetensors file")
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): fetch or save it again") from error
    base = geometry(unet)
    parts = _sorted_out(tensors, base, path)
    device = next(unet.parameters()).device
    ranks = {name: len(part["down"]) for name, part in parts.items()}
    lora, scale = ImageLora(base, ranks, device, _card(metadata)), _Scale.stated(metadata, path)
    with torch.no_grad():
        for name, update in lora.items():
            down, up = (_as_matrix(parts[name][side]) for side in ("down", "up"))
            if down.shape != update.down.shape or up.shape != update.up.shape:
                raise ValueError(
                    f"{path}: {name} is {tuple(up.shape)} x {tuple(down.shape)}, this base needs "
                    f"{tuple(update.up.shape)} x {tuple(update.down.shape)}: it was made for another base"
                )
            own = parts[name].get("alpha")
            update.down.copy_(down)
            update.up.copy_(up.float() * (scale(name, len(down)) if own is None else float(own) / len(down)))
    return lora if dtype is None else lora.to(dtype)


def _sorted_out(
    tensors: Mapping[str, Tensor], base: BaseGeometry, path: Path
) -> dict[str, dict[str, Tensor]]:
    """{matrix: {"down", "up" and perhaps "alpha"}}, with nothing left over."""
    names = {key: name for name in matrix_names(base) for key in _written(name)}
    parts: dict[str, dict[str, Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        ending = next((e for e in _PAIRS if key.endswith(e)), None)
        name = names.get(key.removesuffix(ending)) if ending else None
        if name is None:
            unknown.append(key)
        else:
            parts.setdefault(name, {})[_PAIRS[ending]] = tensor  # pyright: ignore[reportArgumentType]
    if not parts:
        first = next(iter(tensors), "nothing")
        raise ValueError(f"{path} holds no LoRA of this base's attentions (first tensor: {first})")
    if unknown:
        where = "the text encoder" if unknown[0].startswith(_OF_TEXT) else "other layers"
        raise ValueError(
            f"{path} changes {where}, too ({len(unknown)} tensors, first {unknown[0]}), which an image "
            "branch cannot have for itself; load it into the whole base with diffusers instead"
        )
    if half := [name for name, part in parts.items() if not {"down", "up"} <= part.keys()]:
        raise ValueError(f"{path}: {half[0]} has only one of its two matrices: the file is incomplete")
    return {name: parts[name] for name in matrix_names(base) if name in parts}


def _kohya(name: str) -> str:
    return "lora_unet_" + name.replace(".", "_")


def _written(name: str) -> list[str]:
    """How a matrix is called in files."""
    attention, _, matrix = name.removesuffix(".0").rpartition(".")
    old = f"unet.{attention}.processor.{matrix}_lora"
    return [_kohya(name), *(prefix + name for prefix in _PREFIXES), old]


@dataclass(frozen=True, slots=True)
class _Scale:
    """What a matrix's update is multiplied by, where the file's tensors do not say: alpha / rank."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    """Alphas of the matrices whose names end so, as peft matches them."""
    rslora: bool = False
    """alpha / sqrt(rank) instead (Kalajdzievski 2023)."""

    @classmethod
    def stated(cls, metadata: Mapping[str, str], path: Path) -> _Scale:
        """As diffusers writes it into the header, or peft into `adapter_config.json` beside the file."""
        beside = path.with_name("adapter_config.json")
        try:
            if "lora_adapter_metadata" in metadata:
                config = json.loads(metadata["lora_adapter_metadata"])
            else:
                config = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
        except ValueError as error:
            raise ValueError(f"{path}: what it says about its alpha is no JSON ({error})") from error
        # In a pipeline's file every part of the pipeline has its own, "unet.lora_alpha".
        own = {key.removeprefix("unet."): value for key, value in config.items()}
        patterns = own.get("alpha_pattern") or {}
        return cls(own.get("lora_alpha"), patterns, bool(own.get("use_rslora")))

    def __call__(self, name: str, rank: int) -> float:
        for pattern, alpha in self.patterns.items():
            if re.match(rf"(.*\.)?({pattern})$", name):
                return self._of(alpha, rank)
        return 1.0 if self.alpha is None else self._of(self.alpha, rank)

    def _of(self, alpha: float, rank: int) -> float:
        return float(alpha) / (rank**0.5 if self.rslora else rank)


def _card(metadata: Mapping[str, str]) -> dict[str, str]:
    """What still holds of the header of a file when it is written again: not its alphas and hashes."""
    return {k: v for k, v in metadata.items() if k.startswith("modelspec.") and "hash" not in k}


def _as_matrix(tensor: Tensor) -> Tensor:
    """A 1x1 convolution is a matrix, too."""
    return tensor.flatten(1) if tensor.ndim == 4 else tensor
