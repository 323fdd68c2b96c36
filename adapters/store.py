"""How does an adapter live in a folder: `config.json` and `adapter.safetensors`?

Reading is strict: whatever is unknown, missing or misshapen is an error that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from adapters.adapter import JointAdapter
from adapters.base import check_base, family
from adapters.config import AdapterConfig, BaseGeometry, BlockGeometry
from adapters.files import existing, write_tensors, write_whole

CONFIG_NAME = "config.json"
TENSORS_NAME = "adapter.safetensors"
_FOLDER = f"an adapter folder holds {CONFIG_NAME} and {TENSORS_NAME}"


def save_adapter(adapter: JointAdapter, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write an adapter, its tensors as `dtype` if given. Each file appears whole or not at all."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.detach().to("cpu", dtype or t.dtype) for name, t in adapter.tensors()}
    text = json.dumps(asdict(adapter.config), indent=2) + "\n"
    write_tensors(folder / TENSORS_NAME, tensors, _header(adapter))
    write_whole(folder / CONFIG_NAME, lambda path: path.write_text(text, encoding="utf-8"))


def _header(adapter: JointAdapter) -> dict[str, str]:
    """ModelSpec's fields (1.0.1), by which tools that list files say what this one is."""
    config = adapter.config
    stated = {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{family(adapter.base)}/joint-adapter",
        "modelspec.implementation": "unicon",
        "modelspec.title": f"{config.condition} adapter",
        "modelspec.trigger_phrase": config.trigger.strip(", "),
        "modelspec.preprocessor": config.condition,
    }
    return {"format": "pt", **{key: text for key, text in stated.items() if text}}


def load_adapter(folder: str | Path, unet: nn.Module, *, dtype: torch.dtype | None = None) -> JointAdapter:
    """Read an adapter for `unet`, onto its device, as stored or as `dtype`. It is not grafted yet.

    Raises `ValueError` if a file is missing, damaged or not an adapter's, if its tensors are not exactly
    those of its config, or if it was built for another base.
    """
    folder = Path(folder)
    config = read_config(folder)
    try:
        adapter = JointAdapter(config, device=torch.device("meta"))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # sizes that are no sizes
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{folder / CONFIG_NAME} describes no adapter ({reason}): fetch or save it again"
        ) from error
    check_base(adapter.base, unet, str(folder))
    try:
        tensors = load_file(existing(folder / TENSORS_NAME, _FOLDER))
    except SafetensorError as error:
        raise ValueError(f"{folder / TENSORS_NAME} is damaged ({error}): fetch or save it again") from error
    return fill(adapter, tensors, unet, source=str(folder / TENSORS_NAME), dtype=dtype)


def read_config(folder: str | Path) -> AdapterConfig:
    """The config of a stored adapter. Raises `ValueError` for unknown, missing or wrong entries."""
    path = existing(Path(folder) / CONFIG_NAME, _FOLDER)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch or save it again") from error
    known = {field.name for field in fields(AdapterConfig)}
    if not isinstance(entries, dict) or set(entries) != known:
        found = set(entries) if isinstance(entries, dict) else set()
        raise ValueError(
            f"{path} is no adapter config: unknown entries {sorted(found - known)}, "
            f"missing {sorted(known - found)}"
        )
    base = _read_base(entries["base"], path)
    try:
        return AdapterConfig(
            **{
                **entries,
                "skip_blocks": tuple(entries["skip_blocks"]),
                "value_range": tuple(entries["value_range"]),
                "base": base,
            }
        )
    except (TypeError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: {error}; fetch or save the adapter again") from error


def fill(
    adapter: JointAdapter,
    tensors: Mapping[str, Tensor],
    unet: nn.Module,
    *,
    source: str,
    dtype: torch.dtype | None,
) -> JointAdapter:
    """Give an adapter exactly these tensors, on the UNet's device (if it has one). `source` names them in
    errors."""
    check_tensors({name: tuple(t.shape) for name, t in adapter.tensors()}, tensors, source)
    device = next(unet.parameters()).device
    place = torch.device("cpu") if device.type == "meta" else device  # a base of which only sizes are known
    adapter.fill({name: t.to(place, dtype or t.dtype) for name, t in tensors.items()})
    return adapter


def check_tensors(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor], source: str) -> None:
    """Raise `ValueError` unless `found` has exactly the expected names and shapes."""
    if unknown := sorted(set(found) - set(expected)):
        raise ValueError(
            f"{source}: {len(unknown)} unknown tensors, first {unknown[0]!r}; the config has no such part"
        )
    if missing := sorted(set(expected) - set(found)):
        raise ValueError(
            f"{source}: {len(missing)} tensors are missing, first {missing[0]!r}: the file is incomplete"
        )
    for name, shape in expected.items():
        if tuple(found[name].shape) != shape:
            raise ValueError(
                f"{source}: {name} has shape {tuple(found[name].shape)}, the config says {shape}"
            )


def _read_base(entry: Any, path: Path) -> BaseGeometry:
    try:
        blocks = {name: BlockGeometry(**sizes) for name, sizes in entry["blocks"].items()}
        return BaseGeometry(latent_channels=entry["latent_channels"], blocks=blocks)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: 'base' is no base geometry ({error}): fetch or save the adapter again"
        ) from error
