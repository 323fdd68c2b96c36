"""How do surface normals become a picture, and back? (3 channels in [0, 1], (n + 1) / 2 of unit vectors)

Leaves out which axes the components belong to: that is what the map's adapter was trained with.
"""

from __future__ import annotations

import numpy as np

from unicon.conditions.arrays import as_map

NAMES = ("normal", "normals")
"""Conditions whose maps are read this way."""


def map_to_normal(picture: np.ndarray) -> np.ndarray:
    """Picture (H, W, 3), uint8 or [0, 1] -> unit vectors float32 (H, W, 3); 0 where it is mid-grey, or black,
    which stands for no surface in many sets and is no unit vector's."""
    shown = np.clip(as_map(picture, "normal map"), 0, 1)
    vectors = np.where((shown == 0).all(-1, keepdims=True), 0, 2 * shown - 1)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    # Mid-grey of 8 bits is half a step away from 0.
    return np.where(length > 0.01, vectors / np.maximum(length, 1e-6), 0).astype(np.float32)


def mirrored(picture: np.ndarray) -> np.ndarray:
    """What a map (..., 3), uint8 or [0, 1], says once it is seen mirrored: the component along x, red, turns
    round. Black, which is no direction and stands for no surface in many sets, stays black."""
    turned = picture.copy()
    turned[..., 0] = (255 if picture.dtype == np.uint8 else 1) - turned[..., 0]
    return np.where((picture == 0).all(-1, keepdims=True), picture, turned)


def normal_to_map(normal: np.ndarray) -> np.ndarray:
    """Vectors (H, W, 3) of length 1, or 0 where there is no surface -> float32 picture in [0, 1]."""
    array = np.asarray(normal, dtype=np.float32)
    if array.ndim != 3 or array.shape[2] != 3 or not np.isfinite(array).all():
        raise ValueError(f"normals have shape {array.shape}; expected finite (height, width, 3)")
    if np.abs(array).max(initial=0) > 1.001:
        raise ValueError(
            f"normals reach {np.abs(array).max():.3g}; expected unit vectors: divide by their length"
        )
    return (np.clip(array, -1, 1) + 1) / 2
