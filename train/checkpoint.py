"""How does a run survive being stopped at any moment?

A checkpoint is one folder, written under a temporary name and renamed when whole; running the same command
again continues from the newest one. Old ones are pruned only after a newer one is in place.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from adapters.files import cannot_write, whole_folder

_NAME = re.compile(r"step_(\d{8})$")
_PLACES, _SCALER = "data.json", "scaler.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """State after `step` optimizer steps: trained tensors, their moving average, the optimizers' states, and
    what a run may not change on the way."""

    step: int
    trained: Mapping[str, torch.Tensor]
    average: Mapping[str, torch.Tensor]
    optimizers: list[dict]
    fixed: Mapping[str, str] = field(default_factory=dict)
    """The optimizer and the number format, by the names of their fields."""
    places: Sequence[dict[str, Any]] = ()
    """Where every process is in a stream of data, JSON; none where the step says it."""
    scaler: Mapping[str, float] = field(default_factory=dict)
    """The state of fp16's gradient scaler; empty in other formats, and where an older version wrote none."""


def write_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `folder/step_XXXXXXXX` atomically, then prune all but the newest `keep`.

    Raises CannotWrite where it does not fit; the checkpoints before it stay.
    """
    target = folder / f"step_{checkpoint.step:08d}"
    try:
        with whole_folder(target) as partial:
            _write(partial, checkpoint)
    except (OSError, RuntimeError, SafetensorError) as error:  # RuntimeError is torch.save's
        raise cannot_write(target, error) from error
    for step, path in whole_checkpoints(folder)[:-keep]:
        if step < checkpoint.step:
            shutil.rmtree(path)
    return target


def _write(partial: Path, checkpoint: Checkpoint) -> None:
    save_file(_contiguous(checkpoint.trained), partial / "trained.safetensors")
    if checkpoint.average:
        save_file(_contiguous(checkpoint.average), partial / "average.safetensors")
    torch.save(checkpoint.optimizers, partial / "optimizers.pt")
    (partial / "state.json").write_text(json.dumps({"step": checkpoint.step, **checkpoint.fixed}))
    (partial / _PLACES).write_text(json.dumps(list(checkpoint.places)))
    if checkpoint.scaler:
        (partial / _SCALER).write_text(json.dumps(checkpoint.scaler))


def whole_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of every complete checkpoint, oldest first."""
    if not folder.is_dir():
        return []
    found = [(int(m.group(1)), p) for p in folder.iterdir() if (m := _NAME.match(p.name)) and p.is_dir()]
    return sorted(found)


def forget_unfinished(folder: Path) -> None:
    """Remove what writing left behind that was killed; nobody may be writing there."""
    for path in folder.glob(".step_*"):
        shutil.rmtree(path, ignore_errors=True)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint folder (no pickled code: the optimizers' states load with weights_only=True).

    Raises ValueError for one that is damaged.
    """
    try:
        return _read(path)
    except (OSError, ValueError, KeyError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise ValueError(
            f"{path}: is damaged ({error}); remove this folder to go on from the checkpoint before it"
        ) from error


def _read(path: Path) -> Checkpoint:
    average = path / "average.safetensors"
    state = read_state(path)
    return Checkpoint(
        step=state.pop("step"),
        fixed=state,
        trained=load_file(path / "trained.safetensors"),
        average=load_file(average) if average.exists() else {},
        places=json.loads((path / _PLACES).read_text()) if (path / _PLACES).exists() else (),
        scaler=json.loads((path / _SCALER).read_text()) if (path / _SCALER).exists() else {},
        optimizers=torch.load(path / "optimizers.pt", weights_only=True, map_location="cpu"),
    )


def read_state(path: Path) -> dict[str, Any]:
    """Step and fixed settings of one checkpoint folder, without its tensors."""
    return json.loads((path / "state.json").read_text())


def _contiguous(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
