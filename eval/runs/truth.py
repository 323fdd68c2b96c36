"""What does a map say, in the form that measures take truths in?

For maps that take the truth's place: those generated with a picture, and those of a user's pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from unicon.conditions.edges import map_to_edges
from unicon.conditions.palettes import map_to_depth
from unicon.conditions.pose_reading import read_pose

DEPTH_RANGE = (1.0, 10.0)
"""Near and far of a depth map that has no unit: a ratio of ten, as in a room."""


def truth_of_map(condition: str, values: np.ndarray, depth_range: tuple[float, float] = DEPTH_RANGE) -> Any:
    """Depth (H, W) laid over `depth_range`, edges (H, W) bool, joints (figures, 18, 3), or the map itself.

    `values` are (H, W, 3) in [0, 1].
    """
    values = np.clip(values.astype(np.float32), 0, 1)
    if condition == "depth":
        near, far = depth_range
        return near + (far - near) * map_to_depth(values).astype(np.float64)
    if condition == "edge":
        return map_to_edges(values)
    if condition == "pose":
        return np.reshape(read_pose(values), (-1, 18, 3))
    return values


def shows_nothing(condition: str, truth: Any) -> bool:
    """Whether a map has nothing to follow: a pose without people, edges without a line."""
    if condition == "pose":
        return not (np.asarray(truth)[..., 2] > 0).any()
    return condition == "edge" and not np.asarray(truth).any()
