"""What is left and what is right in a pose, when its picture is seen in a mirror?

A mirrored person's left hand is where the right one was, and each has a colour of its own: mirroring a
drawing needs its joints and limbs to change colours in pairs. Joint n and limb n have one hue but other
partners; a joint is told by its brightness, which a limb never has. What has none of the colours (hands,
faces, white) stays as it is.
"""

from __future__ import annotations

import cv2
import numpy as np

from unicon.conditions.arrays import as_bytes, as_map
from unicon.conditions.pose import COLOURS, JOINT_NAMES, LIMB_BRIGHTNESS, LIMBS, check_joints

_OPPOSITE = {"left": "right", "right": "left"}
MIRRORED_JOINT = tuple(
    JOINT_NAMES.index("_".join(_OPPOSITE.get(word, word) for word in name.split("_"))) for name in JOINT_NAMES
)
"""The joint that a joint becomes in a mirror."""
MIRRORED_LIMB = tuple(LIMBS.index((MIRRORED_JOINT[a], MIRRORED_JOINT[b])) for a, b in LIMBS)
"""The limb that a limb becomes in a mirror."""

_LIT = 0.15
"""Brightness below which a pixel belongs to the background."""
_DISC = (1 + LIMB_BRIGHTNESS) / 2
"""Brightness above which a pixel belongs to a joint."""
_FAR = 0.35
"""How far from its nearest colour, as a share of its own length, a pixel may be and still be of it."""
_LEAST_SHARE = 0.25
"""Of the lit pixels, this share must have one of the colours, or the drawing is of another kind."""


def mirror_joints(joints: np.ndarray, width: int) -> np.ndarray:
    """Joints (18, 3) of a picture of that width in pixels, as its mirror image shows them.

    Raises ValueError for another shape.
    """
    mirrored = check_joints(joints)[list(MIRRORED_JOINT)]
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    return mirrored


def swap_sides(picture: np.ndarray) -> np.ndarray:
    """A drawing (H, W, 3) in OpenPose's colours with left and right exchanged, uint8; nothing moves.

    A mirror image is this, flipped. Raises ValueError for a drawing in other colours.
    """
    colours = as_map(picture, "pose map")
    lit = colours.max(axis=-1) > _LIT
    shape = lit.shape  # most of a drawing is background, where there is nothing to look at
    hue, brightness, is_coloured = np.zeros(shape, int), np.zeros(shape, np.float32), np.zeros(shape, bool)
    hue[lit], brightness[lit], is_coloured[lit] = _seen(colours[lit])
    if is_coloured.sum() < _LEAST_SHARE * lit.sum():
        raise ValueError(
            f"{is_coloured.sum() / lit.sum():.0%} of this drawing has OpenPose's colours, so nobody knows "
            "what is left in it: leave mirrored views out (--flip false), or draw poses as draw_pose does"
        )
    partners = np.where(
        _on_joints(hue, brightness, is_coloured), np.array(MIRRORED_JOINT)[hue], _limbs()[hue]
    )
    palette = COLOURS.astype(np.float32) / 255
    swapped = colours + brightness[..., None] * (palette[partners] - palette[hue])
    return as_bytes(np.where(is_coloured[..., None], np.clip(swapped, 0, 1), colours), "pose map")


def _limbs() -> np.ndarray:
    """Partners by hue; the last hue has a joint alone."""
    return np.array([*MIRRORED_LIMB, len(LIMBS)])


def _seen(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pixel's nearest hue, its brightness in it, and whether it has a hue of the drawing at all."""
    targets = COLOURS.astype(np.float32) / 255
    shares = colours @ targets.T / (targets * targets).sum(axis=1)
    rests = np.stack(
        [np.square(colours - shares[..., n, None] * targets[n]).sum(axis=-1) for n in range(len(targets))]
    )
    hue = rests.argmin(axis=0)
    brightness = np.take_along_axis(shares, hue[..., None], axis=-1)[..., 0]
    rest = np.sqrt(np.take_along_axis(rests, hue[None], axis=0)[0])
    near = rest <= _FAR * np.linalg.norm(colours, axis=-1)
    return hue, brightness, near & (brightness > _LIT / 2)


def _on_joints(hue: np.ndarray, brightness: np.ndarray, is_coloured: np.ndarray) -> np.ndarray:
    """Which pixels belong to a disc: bright ones, and rims of the same hue around them."""
    discs = np.zeros(hue.shape, bool)
    bright = is_coloured & (brightness > _DISC)
    for n in np.unique(hue[bright]):
        around = cv2.dilate((bright & (hue == n)).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        discs |= around & (hue == n)
    return discs
