"""How does an adapter live in a folder: `config.json` and `adapter.safetensors`?

Reading is strict: whatever is unknown, missing or misshapen is an error that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from adapters.adapter import JointAdapter
from adapters.base import check_base, family
from adapters.config import AdapterConfig, BaseGeometry, BlockGeometry
from adapters.files import existing, write_tensors, write_whole

Part = TypeVar("Part", bound=nn.Module)

CONFIG_NAME = "config.json"
TENSORS_NAME = "adapter.safetensors"
_FOLDER = f"an adapter folder holds {CONFIG_NAME} and {TENSORS_NAME}"


def save_adapter(adapter: JointAdapter, folder: str | Path, *, dtype: torch.dtype | None = None) -> None:
    """Write an adapter, its tensors as `dtype` if given. Each file appears whole or not at all."""
    config = adapter.config
    header = modelspec(
        adapter.base,
        "joint-adapter",
        title=f"{config.condition} adapter",
        trigger_phrase=config.trigger.strip(", "),
        preprocessor=config.condition,
    )
    write_folder(Path(folder), TENSORS_NAME, dict(adapter.tensors()), config, header, dtype)


def load_adapter(folder: str | Path, unet: nn.Module, *, dtype: torch.dtype | None = None) -> JointAdapter:
    """Read an adapter for `unet`, onto its device, as stored or as `dtype`. It is not grafted yet.

    Raises `ValueError` if a file is missing, damaged or not an adapter's, if its tensors are not exactly
    those of its config, or if it was built for another base.
    """
    folder = Path(folder)
    config = read_config(folder)
    adapter = without_tensors(JointAdapter, config, folder / CONFIG_NAME, "adapter")
    check_base(adapter.base, unet, str(folder))
    tensors = read_tensors(folder / TENSORS_NAME, _FOLDER)
    return fill(adapter, tensors, unet, source=str(folder / TENSORS_NAME), dtype=dtype)


def without_tensors(kind: Callable[..., Part], config: Any, path: Path, what: str) -> Part:
    """A module of a stored config, on no device yet. Raises `ValueError` where its sizes are none."""
    try:
        return kind(config, device=torch.device("meta"))
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path} describes no {what} ({reason}): fetch or save it again") from error


def read_config(folder: str | Path) -> AdapterConfig:
    """The config of a stored adapter. Raises `ValueError` for unknown, missing or wrong entries."""
    path = existing(Path(folder) / CONFIG_NAME, _FOLDER)
    entries = read_entries(path, AdapterConfig, "an adapter's config")
    base = read_base(entries["base"], path)
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


def modelspec(base: BaseGeometry, part: str, **said: str) -> dict[str, str]:
    """A file's header in ModelSpec's fields (1.0.1), by which tools that list files say what this one is."""
    stated = {
        "sai_model_spec": "1.0.1",
        "architecture": f"{family(base)}/{part}",
        "implementation": "unicon",
        **{name: text for name, text in said.items() if text},
    }
    return {"format": "pt", **{f"modelspec.{name}": text for name, text in stated.items()}}


def write_folder(
    folder: Path,
    name: str,
    tensors: Mapping[str, Tensor],
    config: Any,
    header: Mapping[str, str],
    dtype: torch.dtype | None,
) -> None:
    """Tensors under a file name, and the config beside them. Each file appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {key: t.detach().to("cpu", dtype or t.dtype) for key, t in tensors.items()}
    text = json.dumps(asdict(config), indent=2) + "\n"
    write_tensors(folder / name, stored, header)
    write_whole(folder / CONFIG_NAME, lambda path: path.write_text(text, encoding="utf-8"))


def read_tensors(path: Path, what: str) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU. Raises `ValueError` where it is missing (`what`) or damaged."""
    try:
        return load_file(existing(path, what))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): fetch or save it again") from error


def read_entries(path: Path, config: type, what: str) -> dict[str, Any]:
    """The entries of a JSON file, exactly those of a config. Raises `ValueError` for any other."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): fetch or save it again") from error
    known = {field.name for field in fields(config)}
    if not isinstance(entries, dict) or set(entries) != known:
        found = set(entries) if isinstance(entries, dict) else set()
        raise ValueError(
            f"{path} is not {what}: unknown entries {sorted(found - known)}, missing {sorted(known - found)}"
        )
    return entries


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
    place = place_for(unet)
    adapter.fill({name: t.to(place, dtype or t.dtype) for name, t in tensors.items()})
    return adapter


def place_for(unet: nn.Module) -> torch.device:
    """Where what is read for a UNet goes: its device, or the CPU for one of which only sizes are known."""
    device = next(unet.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device


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


def read_base(entry: Any, path: Path) -> BaseGeometry:
    """The base that a config names. Raises `ValueError` for what is none."""
    try:
        blocks = {name: BlockGeometry(**sizes) for name, sizes in entry["blocks"].items()}
        return BaseGeometry(latent_channels=entry["latent_channels"], blocks=blocks)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path}: 'base' is no base geometry ({error}): fetch or save the adapter again"
        ) from error
