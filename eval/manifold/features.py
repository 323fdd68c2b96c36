"""What may be compared, and what is refused before it becomes a silent number?

Features are (N, D) arrays of floats; nothing is copied here. Leaves out where they come from
(`eval.features`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch

Features: TypeAlias = "np.ndarray | torch.Tensor"
"""(N, D) of float16, bfloat16, float32 or float64; a memory-mapped array is read in pieces."""

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
LARGEST = 1e100
"""Beyond it squared distances leave float64."""
PIECE = 1 << 20
"""Numbers that are looked at together."""


def checked(features: Features, name: str) -> torch.Tensor:
    """The features as a tensor that shares their memory.

    Raises ValueError for other shapes and types, and where a value is NaN, infinite or beyond 1e100.
    """
    if not isinstance(features, (np.ndarray, torch.Tensor)):
        raise ValueError(f"{name} is a {type(features).__name__}; expected an array or tensor (N, D)")
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"{name} has shape {tuple(features.shape)}; expected (N, D), one row per picture")
    tensor = _shared(features) if isinstance(features, np.ndarray) else features.detach()
    if tensor.dtype not in FLOATS:
        raise ValueError(f"{name} holds {features.dtype}; expected floats: convert it, e.g. to float32")
    if not largest(tensor) <= LARGEST:
        bad = [first + row for first, piece in pieces(tensor) for row in _bad_rows(piece)]
        raise ValueError(
            f"{name}: {len(bad)} of {len(tensor)} rows hold NaN, infinite or values beyond {LARGEST:g}, the "
            f"first is row {bad[0]}: find out why, or leave these pictures out and say so"
        )
    return tensor


def largest(rows: torch.Tensor) -> float:
    """The largest magnitude; NaN where there is one."""
    ends = torch.stack([torch.stack(piece.aminmax()) for _, piece in pieces(rows)])
    return float(ends.double().abs().max())


def check_widths(real: torch.Tensor, generated: torch.Tensor) -> None:
    """ValueError unless both sets have features of one width."""
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real features have width {real.shape[1]}, generated ones {generated.shape[1]}: take "
            "both from one model"
        )


def check_neighbours(num: int, ks: tuple[int, ...], name: str) -> None:
    """ValueError unless every k is at least 1 and each of `num` features has a k-th other feature."""
    if not ks or min(ks) < 1:
        raise ValueError(f"k is {', '.join(map(str, ks)) or 'missing'}; expected at least 1")
    if num <= max(ks):
        raise ValueError(
            f"{name} has {num} features; k = {max(ks)} needs at least {max(ks) + 1}: give more, or a lower k"
        )


def pieces(rows: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
    """(first row, rows) of all rows, about `PIECE` numbers at a time."""
    step = max(1, PIECE // rows.shape[1])
    return ((first, rows[first : first + step]) for first in range(0, len(rows), step))


def _shared(array: np.ndarray) -> torch.Tensor:
    with warnings.catch_warnings():
        # A read-only file is fine: nothing here writes.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        try:
            return torch.from_numpy(np.asarray(array))
        except TypeError as error:
            raise ValueError(f"features of type {array.dtype} cannot be read; convert to float32") from error


def _bad_rows(piece: torch.Tensor) -> list[int]:
    # NaN fails every comparison.
    fine = (piece.abs() <= LARGEST).all(1)
    return (~fine).nonzero()[:, 0].tolist()
