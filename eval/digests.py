"""By which few digits are weights, files and texts told apart?

What was made before is taken only where everything that makes it what it is has the same digest. So a digest
never changes with a machine, a folder's place or a library's version. Leaves out what of a run is digested
(`eval.runs.settings`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from unicon.pipeline import UniConPipeline


def digest(*texts: str, num_bytes: int = 8) -> str:
    """Two hex digits a byte, of texts in their order."""
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=num_bytes).hexdigest()


def digest_of_content(content: bytes) -> str:
    """32 hex digits of a file's content, whatever its name."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def source_digest(files: Iterable[Path]) -> str:
    """12 hex digits of source files, so that what a changed one made is never taken for the new one's."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def digest_of_folder(folder: str | Path) -> str:
    """16 hex digits of the content of all its files and of their names; ValueError when there is none."""
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    if not files:
        raise ValueError(f"{folder} is no folder with files in it; check the spelling")
    found = hashlib.blake2b(digest_size=8)
    for path in files:
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()


def digest_of_base(pipe: UniConPipeline) -> str:
    """16 hex digits of a pipeline's components, its priors among them, its schedule and its styles."""
    from adapters import grafted_loras, lora_weights  # loads the libraries of models

    parts: dict[str, torch.nn.Module] = {
        name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)
    }
    config = {k: v for k, v in dict(pipe.scheduler.config).items() if not k.startswith("_")}
    base = hashlib.blake2b(f"{type(pipe.scheduler).__name__} {sorted(config.items())}".encode())
    for name in sorted(parts):
        base.update(f"{name} {digest_of(parts[name])}".encode())
    weights = lora_weights(pipe.unet)
    for name, style in sorted(grafted_loras(pipe.unet).items()):
        told = f"{name} {weights[name]} {sorted(style.metadata.items())}"
        base.update(f"{told} {_digest_of_tensors(dict(style.named_parameters()))}".encode())
    return base.hexdigest()[:16]


def digests_of_adapters(pipe: UniConPipeline) -> dict[str, str]:
    """16 hex digits of each loaded adapter."""
    return {name: _digest_of_adapter(adapter) for name, adapter in pipe.adapters.items()}


def digest_of(module: torch.nn.Module) -> str:
    """16 hex digits of a module's tensors, by name, and of what its configuration says."""
    config = getattr(module, "config", None)
    told = config.to_diff_dict() if hasattr(config, "to_diff_dict") else config
    if isinstance(told, Mapping):  # without where it came from, and by which library's version
        told = {key: told[key] for key in sorted(told) if not key.startswith("_") and "version" not in key}
    return digest(f"{_digest_of_tensors(module.state_dict())} {told}")


def _digest_of_adapter(adapter: Any) -> str:
    return digest(f"{adapter.config} {_digest_of_tensors(dict(adapter.named_parameters()))}")


def _digest_of_tensors(tensors: dict[str, torch.Tensor]) -> str:
    found = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
