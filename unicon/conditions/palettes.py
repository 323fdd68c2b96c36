"""How does a depth map become a picture, and back? (3 channels in [0, 1], near is bright, linear in depth)

The picture keeps depth up to a scale and a shift, which is all that an evaluation with a fitted scale and
shift needs. Also a palette for showing depth to people. Leaves out metric depth.
"""

from __future__ import annotations

import numpy as np

from unicon.conditions.arrays import as_map, as_plane

NEAR_QUANTILE, FAR_QUANTILE = 0.02, 0.98
_STOPS = np.array([
    (0.05, 0.03, 0.20), (0.25, 0.07, 0.45), (0.55, 0.15, 0.50), (0.83, 0.27, 0.40), (0.97, 0.50, 0.28),
    (0.99, 0.76, 0.40), (0.99, 0.97, 0.78),
])  # fmt: skip


def depth_to_map(depth: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """Depth (H, W) in any linear unit -> float32 (H, W, 3): its 2% to 98% quantiles to 1 .. 0, clipped.

    Of `seen` (H, W) bool alone, where it is given: the rest is black. Raises ValueError for another shape and
    for values that are not finite.
    """
    plane = as_plane(depth if seen is None else np.where(seen, depth, 0), "depth")
    near, far = _range(plane if seen is None else plane[seen])
    picture = 1 - np.clip((plane - near) / max(far - near, 1e-6), 0, 1)
    picture = picture if seen is None else np.where(seen, picture, 0)
    return np.repeat(picture[..., None], 3, axis=-1).astype(np.float32)


def unclipped(depth: np.ndarray, seen: np.ndarray | None = None) -> np.ndarray:
    """(H, W) bool: where `depth_to_map` of the same arguments tells one depth from another."""
    near, far = _range(depth if seen is None else depth[seen])
    between = (depth > near) & (depth < far)
    return between if seen is None else between & seen


def _range(depths: np.ndarray) -> np.ndarray:
    """(2,): the depths that are drawn as 1 and as 0."""
    return np.quantile(depths, [NEAR_QUANTILE, FAR_QUANTILE]) if depths.size else np.zeros(2)


def map_to_depth(picture: np.ndarray) -> np.ndarray:
    """Picture (H, W, 3), uint8 or [0, 1] -> float32 (H, W) in [0, 1]: depth up to scale and shift."""
    return 1 - np.clip(as_map(picture, "depth map").mean(axis=-1), 0, 1)


def depth_in_colour(depth: np.ndarray) -> np.ndarray:
    """Depth (H, W) -> uint8 (H, W, 3), from dark violet (far) through red to pale yellow (near)."""
    position = depth_to_map(depth)[..., 0] * (len(_STOPS) - 1)
    low = np.minimum(position.astype(int), len(_STOPS) - 2)
    share = (position - low)[..., None]
    return np.round((_STOPS[low] * (1 - share) + _STOPS[low + 1] * share) * 255).astype(np.uint8)
