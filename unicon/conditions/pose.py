"""How are 18 OpenPose joints drawn as a coloured picture?

Joints are float (18, 3) arrays ``[x, y, visible]`` in pixels with pixel centres at integers. Every joint is a
disc of its own hue, every limb a darker line of its own hue; `pose_reading` finds them again. Leaves out
finding people in photographs.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

NAMES = ("pose", "openpose", "dwpose")
"""Conditions whose maps are such drawings."""
JOINT_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
    "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
COCO_FROM_OPENPOSE = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
"""Index among OpenPose's 18 joints of each of COCO's 17; COCO has no neck."""
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
COLOURS = np.array([
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255),
    (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
], np.uint8)  # fmt: skip
LIMB_BRIGHTNESS = 0.6
_SHIFT = 4  # binary digits after the point in OpenCV's drawing coordinates


def check_joints(joints: np.ndarray) -> np.ndarray:
    """Return joints as float64 (18, 3) or raise ``ValueError``."""
    array = np.asarray(joints, dtype=np.float64)
    if array.shape != (18, 3):
        raise ValueError(
            f"joints have shape {array.shape}; expected (18, 3): one [x, y, visible] row per joint"
        )
    if not np.isfinite(array).all():
        raise ValueError("joints hold values that are not finite; expected numbers: set visible to 0 instead")
    return array


def draw_pose(people: Sequence[np.ndarray], size: int | tuple[int, int]) -> np.ndarray:
    """Draw people on black: uint8 (height, width, 3). Limbs are as bright as 60% of a joint.

    ``size`` is the side or (height, width) in pixels. Limb width follows the picture size and suits 128
    pixels.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if height < 8 or width < 8:
        raise ValueError(f"size is {(height, width)}; expected at least 8 x 8 pixels: draw larger")
    canvas = np.zeros((height, width, 3), np.uint8)
    thick = max(1, round(min(height, width) / 52))
    for joints in people:
        _draw_one(canvas, check_joints(joints), thick, disc_radius(height, width))
    return canvas


def disc_radius(height: int, width: int) -> float:
    """Radius of a joint's disc in a picture of that size, pixels."""
    return max(1.2, min(height, width) / 72)


def _draw_one(canvas: np.ndarray, joints: np.ndarray, thick: int, radius: float) -> None:
    scale = 1 << _SHIFT
    points = np.round(joints[:, :2] * scale).astype(int)
    for number, (a, b) in enumerate(LIMBS):
        if joints[a, 2] > 0 and joints[b, 2] > 0:
            colour = tuple(int(c) for c in COLOURS[number] * LIMB_BRIGHTNESS)
            cv2.line(canvas, points[a].tolist(), points[b].tolist(), colour, thick, cv2.LINE_AA, _SHIFT)
    for number in range(18):
        if joints[number, 2] > 0:
            colour = tuple(int(c) for c in COLOURS[number])
            cv2.circle(canvas, points[number].tolist(), int(radius * scale), colour, -1, cv2.LINE_AA, _SHIFT)
