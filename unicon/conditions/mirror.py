"""What does a map say about the mirror image of its picture?

Most maps are turned round, and that is all. Poses and normals have colours that say left and right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from unicon.conditions import normals, pose
from unicon.conditions.pose_reading import read_pose
from unicon.conditions.pose_sides import mirror_joints, swap_sides

REDRAWN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(pose.NAMES, swap_sides),
    **dict.fromkeys(normals.NAMES, normals.mirrored),
}
"""Conditions whose colours say left and right, and what becomes of a map uint8 (H, W, 3) before it is turned
round."""


def seen_in_a_mirror(maps: np.ndarray, condition: str) -> np.ndarray:
    """Estimates (..., H, W, 3) in [0, 1] of pictures, as estimates of their mirror images.

    Poses are read and drawn anew: an estimated drawing need not have the colours of an exact one.
    """
    if condition in pose.NAMES:
        flat = maps.reshape(-1, *maps.shape[-3:])
        return np.stack([_mirrored_pose(each) for each in flat]).reshape(maps.shape)
    turned = np.flip(maps, axis=-2)
    return normals.mirrored(turned) if condition in normals.NAMES else turned


def _mirrored_pose(drawing: np.ndarray) -> np.ndarray:
    height, width = drawing.shape[:2]
    people = [mirror_joints(joints, width) for joints in read_pose(drawing)]
    return pose.draw_pose(people, (height, width)).astype(np.float32) / 255
