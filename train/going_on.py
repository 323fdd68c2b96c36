"""What is said of a training that an error stops?

How it goes on: notes at the error (PEP 678), which tracebacks show from Python 3.11 on, and `train.command`
prints.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from train.checkpoint import whole_checkpoints

OUT_OF_MEMORY = (
    "give a smaller --micro_batch, down to 1, or --gradient_checkpointing true: "
    "both need less memory for the same result"
)

DRAWN_AT_ONCE = ("validation_pairs", "validation_items", "prompts")
"""Fields of objectives that say how much a look at what is not trained on draws together."""


def is_out_of_memory(error: BaseException) -> bool:
    """Of the accelerator, or of this machine, where torch raises a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


@contextlib.contextmanager
def says_what_a_look_needs(objective: Any) -> Iterator[None]:
    """ValueError where memory runs out in a look at what is not trained on, naming what of the `objective`'s
    config needs less: batches and checkpointing, which help training, have no part in it."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        names = [field.name for field in fields(objective) if field.name in DRAWN_AT_ONCE]
        fewer = [_fewer(name, getattr(objective, name)) for name in names]
        raise ValueError(
            f"memory ran out in a look at what is not trained on ({error}): give "
            f"{', or '.join([*fewer, '--validate_every 0, which takes none'])}"
        ) from error


def _fewer(name: str, value: Any) -> str:
    return f"fewer --{name} than {value if isinstance(value, int) else len(value)}"


@contextlib.contextmanager
def says_how_to_go_on(folder: Path) -> Iterator[None]:
    """Add the newest whole checkpoint of the run in `folder` to an error that stops it, if there is one."""
    try:
        yield
    except Exception as error:
        if found := whole_checkpoints(folder / "checkpoints"):
            note = f"the last whole checkpoint is of step {found[-1][0]}; the same command continues from it"
            # Exception.add_note, which Python 3.10 does not have.
            error.__notes__ = [*getattr(error, "__notes__", ()), note]  # pyright: ignore[reportAttributeAccessIssue]
        raise
