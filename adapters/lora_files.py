"""How does a LoRA live in a file that other tools read, and how are theirs read?

Written are kohya's names with an explicit alpha, which diffusers, ComfyUI and kohya's own tools read alike:
diffusers' own layout loses the alpha on the way, and ComfyUI does not know it. Read are kohya's, diffusers'
and peft's names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from adapters.base import bare, geometry
from adapters.files import existing, write_tensors
from adapters.image_lora import ImageLora, matrix_names
from adapters.layer_lora import new_update, updatable
from adapters.original_names import original_name

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


def save_lora(lora: ImageLora, path: str | Path) -> None:
    """Write a LoRA with its metadata and kohya's names, alpha equal to the rank; whole or not at all."""
    tensors: dict[str, Tensor] = {}
    named = {
        **{_kohya(name): update for name, update in (*lora.items(), *lora.layers().items())},
        **{_kohya_of_text(key.replace("/", ".")): update for key, update in lora.text.items()},
    }
    for key, update in named.items():
        up = cast(Tensor, update.up).detach().cpu()
        down = cast(Tensor, update.down).detach().cpu()
        tensors[f"{key}.lora_down.weight"] = down
        tensors[f"{key}.lora_up.weight"] = up if down.ndim == 2 else up[:, :, None, None]
        tensors[f"{key}.alpha"] = torch.tensor(float(len(down)))
    largest = max(len(tensor) for key, tensor in tensors.items() if key.endswith(".lora_down.weight"))
    about = {
        **lora.metadata,
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(largest),
        "ss_network_alpha": str(float(largest)),
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_tensors(Path(path), tensors, about)


def load_lora(
    path: str | Path,
    unet: nn.Module,
    *,
    text_encoders: Sequence[nn.Module] = (),
    dtype: torch.dtype | None = None,
) -> ImageLora:
    """Read a LoRA of a base, onto its devices. It is not grafted yet.

    It may update the UNet's attentions, any of its other linear layers and convolutions, and those of the
    text encoders. Each keeps its own rank; its alpha goes into `up`. Raises `ValueError` for a file that is
    missing or damaged, or is no LoRA of this base.
    """
    path = existing(Path(path), "a LoRA is one .safetensors file")
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): fetch or save it again") from error
    base, layers = geometry(unet), updatable(bare(unet))
    text = _layers_of_text(text_encoders)
    config = cast(Any, bare(unet)).config
    names = {key: name for name in layers for key in (*_written(name), _kohya(original_name(name, config)))}
    names |= {key: name for name in text for key in _written_of_text(name)}
    parts = _sorted_out(tensors, names, path)
    attentions = [name for name in matrix_names(base) if name in parts]
    device = next(unet.parameters()).device
    lora = ImageLora(
        base,
        {name: len(parts[name]["down"]) for name in attentions},
        device,
        _card(metadata),
        layers=_updates(layers, parts, without=attentions),
        text=_updates(text, parts),
    )
    of_text = {key.replace("/", "."): update for key, update in lora.text.items()}
    scales = {part: _Scale.stated(metadata, path, part) for part in ("unet.", *_PLACES_OF_TEXT.values())}
    for name, update in (*lora.items(), *lora.layers().items(), *of_text.items()):
        part = _PLACES_OF_TEXT.get(name.partition(".")[0], "unet.")
        _fill(update, parts[name], name, scales[part], path)
    return lora if dtype is None else lora.to(dtype)


def _updates(
    layers: Mapping[str, nn.Module], parts: Mapping[str, Any], without: Sequence[str] = ()
) -> dict[str, nn.Module]:
    """New updates of the layers that the file has parts for, each on its layer's device."""
    return {
        name: new_update(layer, len(parts[name]["down"]), next(layer.parameters()).device)
        for name, layer in layers.items()
        if name in parts and name not in without
    }


@torch.no_grad()
def _fill(update: nn.Module, part: Mapping[str, Tensor], name: str, scale: _Scale, path: Path) -> None:
    rank = len(part["down"])
    for side in ("down", "up"):
        place, found = cast(Tensor, getattr(update, side)), part[side]
        # A 1x1 convolution is a matrix, too, and some files say so and some do not.
        if found.ndim != place.ndim and found.shape[:2] == place.shape[:2] and found.numel() == place.numel():
            found = found.reshape(place.shape)
        if found.shape != place.shape:
            raise ValueError(
                f"{path}: {name} has a {side} of shape {tuple(found.shape)}, this base needs "
                f"{tuple(place.shape)}: it was made for another base"
            )
        place.copy_(found)
    own = part.get("alpha")
    cast(Tensor, update.up).mul_(scale(name, rank) if own is None else float(own) / rank)


def _sorted_out(
    tensors: Mapping[str, Tensor], names: Mapping[str, str], path: Path
) -> dict[str, dict[str, Tensor]]:
    """{layer: {"down", "up" and perhaps "alpha"}}, with nothing left over."""
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
        raise ValueError(f"{path} holds no LoRA of this base (first tensor: {first})")
    if unknown:
        raise ValueError(
            f"{path} holds {len(unknown)} tensors that fit no layer of this base, first {unknown[0]}: it is "
            "for another base, or of another kind than LoRA and LoCon"
        )
    if half := [name for name, part in parts.items() if not {"down", "up"} <= part.keys()]:
        raise ValueError(f"{path}: {half[0]} has only one of its two matrices: the file is incomplete")
    return parts


# --- names ------------------------------------------------------------------------------------------------


def _kohya(name: str) -> str:
    return "lora_unet_" + name.replace(".", "_")


def _written(name: str) -> list[str]:
    """How a layer of the UNet is called in files."""
    attention, _, matrix = name.removesuffix(".0").rpartition(".")
    old = f"unet.{attention}.processor.{matrix}_lora"
    return [_kohya(name), *(prefix + name for prefix in _PREFIXES), old]


def _layers_of_text(encoders: Sequence[nn.Module]) -> dict[str, nn.Module]:
    """ "te.<path>", or "te1.<path>" and "te2.<path>", to the layer."""
    labels = ("te",) if len(encoders) == 1 else ("te1", "te2")
    return {
        f"{label}.{path}": layer
        for label, encoder in zip(labels, encoders, strict=False)
        for path, layer in updatable(encoder).items()
    }


_PLACES_OF_TEXT = {"te": "text_encoder.", "te1": "text_encoder.", "te2": "text_encoder_2."}
"""Where a pipeline's file has the layers of each text encoder."""


def _kohya_of_text(name: str) -> str:
    label, _, path = name.partition(".")
    return f"lora_{label}_" + f"text_model.{path.removeprefix('text_model.')}".replace(".", "_")


def _written_of_text(name: str) -> list[str]:
    """How a layer of a text encoder is called in files."""
    label, _, path = name.partition(".")
    whole = f"text_model.{path.removeprefix('text_model.')}"
    place = _PLACES_OF_TEXT[label]
    return [_kohya_of_text(name), place + whole, f"{place}{whole}.lora_linear_layer"]


@dataclass(frozen=True, slots=True)
class _Scale:
    """What a matrix's update is multiplied by, where the file's tensors do not say: alpha / rank."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    """Alphas of the matrices whose names end so, as peft matches them."""
    rslora: bool = False
    """alpha / sqrt(rank) instead (Kalajdzievski 2023)."""

    @classmethod
    def stated(cls, metadata: Mapping[str, str], path: Path, part: str) -> _Scale:
        """For a part of the pipeline ("unet."), as diffusers writes it into the header, or peft into
        `adapter_config.json` beside the file."""
        beside = path.with_name("adapter_config.json")
        try:
            if "lora_adapter_metadata" in metadata:
                config = json.loads(metadata["lora_adapter_metadata"])
            else:
                config = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
        except ValueError as error:
            raise ValueError(f"{path}: what it says about its alpha is no JSON ({error})") from error
        # In a pipeline's file every part of the pipeline has its own, "unet.lora_alpha".
        own = {key.removeprefix(part): value for key, value in config.items()}
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
