"""Is an array the picture or the map that it should be, and of the size?

The checks that every reader and drawer of this package makes first, and readings of any unit brought to the
size of what they are readings of. Leaves out image files and tensors (`unicon.pictures`).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

__all__ = ["as_bytes", "as_map", "as_plane", "at_size"]


def as_map(value: np.ndarray, name: str) -> np.ndarray:
    """A map as float32 (H, W, 3) in [0, 1]; uint8 is divided by 255. Raises ValueError naming `name`."""
    array = np.asarray(value)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (height, width, 3): "
            "move channels last, one picture at a time"
        )
    if array.dtype == np.uint8:
        return array.astype(np.float32) / 255
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{name} has values of type {array.dtype}; expected uint8 or floats in [0, 1]")
    _check_values(array, name, low=0.0, high=1.0)
    return array.astype(np.float32)


def as_bytes(value: np.ndarray, name: str) -> np.ndarray:
    """A picture as uint8 (H, W, 3), from uint8 or floats in [0, 1]."""
    array = np.asarray(value)
    return array if array.dtype == np.uint8 and array.ndim == 3 else _round(as_map(array, name))


def as_plane(value: np.ndarray, name: str) -> np.ndarray:
    """One finite number per pixel as float32 (H, W)."""
    array = np.asarray(value)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; expected (height, width): one value per pixel")
    _check_values(array, name, low=-np.inf, high=np.inf)
    return array.astype(np.float32)


def at_size(values: np.ndarray, shape: Sequence[int], *, nearest: bool = False) -> np.ndarray:
    """What was read at every pixel (H, W, ...), in any unit, at the height and width of `shape`.

    Linear, so that nothing lies beyond what was read; `nearest` for what has no values in between, such as
    classes. Pictures that are looked at, by people or a network, are resized smoothly instead
    (`unicon.pictures.resize`, `unicon.data.photos.at_longer_side`).
    """
    height, width = shape[:2]
    if values.shape[:2] == (height, width):
        return values
    how = cv2.INTER_NEAREST if nearest else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=how))


def _check_values(array: np.ndarray, name: str, low: float, high: float) -> None:
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} holds NaN or infinite values; expected finite numbers: fill or mask them first"
        )
    # A decoder overshoots by rounding errors, so a hair outside of the range is clipped by the caller's use.
    if array.size and (array.min() < low - 1e-3 or array.max() > high + 1e-3):
        raise ValueError(
            f"{name} holds values from {array.min():.3g} to {array.max():.3g}; expected {low:g} to {high:g}: "
            "rescale it"
        )


def _round(array: np.ndarray) -> np.ndarray:
    return np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
