"""What is kept of an ensemble's members, which together are one picture?

Every n-th pixel of each, so that many pictures' fit on a disk: coverage is a share of pixels, and needs some
of them, not all.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from adapters.files import write_arrays
from eval.metrics.depth import nearest_places

KEPT_PX = 256
"""Of the longer side."""


def kept_pixels(values: np.ndarray) -> np.ndarray:
    """Those of (..., H, W) that are kept."""
    rows, columns = (nearest_places(side, values.shape[-2:], KEPT_PX) for side in (0, 1))
    return values[..., rows[:, None], columns]


def write_members(path: Path, members: np.ndarray) -> None:
    """(M, H, W) in [0, 1], in half precision; makes the folder."""
    write_arrays(path, {"members": kept_pixels(members).astype(np.float16)}, compressed=True)


def read_members(path: Path) -> np.ndarray:
    """What `write_members` kept; ValueError naming a file that is none."""
    try:
        with np.load(path, allow_pickle=False) as packed:
            return packed["members"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise ValueError(
            f"{path}: is not there or damaged; delete it if it is, and run the command again"
        ) from error
