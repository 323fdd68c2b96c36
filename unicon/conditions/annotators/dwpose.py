"""How does DWPose (Yang et al. 2023, arXiv 2307.15880) find the joints of people in a photograph?

YOLOX finds the people, then a network answers, for a cut-out of 288 x 384 pixels about each of them, how much
speaks for every half pixel along x and along y, for each of the 133 points of COCO-WholeBody (SimCC, Li et
al. 2022, arXiv 2107.03332). Both are published as ONNX files, which OpenCV runs on the processor: mmpose,
mmdet and mmcv are not needed. Leaves out feet, faces and hands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from unicon.conditions.annotators import yolox
from unicon.conditions.annotators.cards import Card
from unicon.conditions.annotators.onnx_file import OnnxNetwork, open_onnx
from unicon.conditions.annotators.weights import provenance, weight_files
from unicon.conditions.pose import COCO_FROM_OPENPOSE, JOINT_NAMES, draw_pose

WIDTH_PX, HEIGHT_PX = 288, 384
NUM_POINTS = 133
PARTS = 2
"""Places that are told apart within a pixel of the cut-out."""
ANSWERS = ((1, NUM_POINTS, PARTS * WIDTH_PX), (1, NUM_POINTS, PARTS * HEIGHT_PX))
"""Shapes of what the network answers: along x, along y."""
MARGIN = 1.25
"""Sides of what is cut out in sides of the person's box, as in training."""
# Of red, green, blue in 0 to 255. Other programs hand over blue first with the same numbers; mmpose trains
# with `bgr_to_rgb=True`, so red comes first here.
_MEAN = np.array((123.675, 116.28, 103.53), np.float32)
_DEVIATION = np.array((58.395, 57.12, 57.375), np.float32)
_NECK = JOINT_NAMES.index("neck")
_SHOULDERS = [JOINT_NAMES.index(f"{side}_shoulder") for side in ("right", "left")]


@dataclass(frozen=True, kw_only=True, slots=True)
class CutOut:
    """Which part of a picture the network sees of one person, widened to its ratio of sides."""

    centre: np.ndarray
    """(2,) [x, y] px of the picture."""
    px: float
    """Pixels of the picture per pixel of the cut-out."""

    @classmethod
    def around(cls, box: np.ndarray) -> CutOut:
        """About a box [left, top, right, bottom]."""
        width, height = MARGIN * np.maximum(box[2:] - box[:2], 1.0)
        return cls(centre=(box[:2] + box[2:]) / 2, px=float(max(width / WIDTH_PX, height / HEIGHT_PX)))

    def of(self, picture: np.ndarray) -> np.ndarray:
        """The part (384, 288, 3) of a picture (H, W, 3); black beyond its edges."""
        corner = self.to_picture(np.zeros(2))
        moved = np.array([[self.px, 0, corner[0]], [0, self.px, corner[1]]])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(picture, moved, (WIDTH_PX, HEIGHT_PX), flags=how)

    def to_picture(self, places: np.ndarray) -> np.ndarray:
        """Places (..., 2) [x, y] px of the cut-out in pixels of the picture."""
        return (places - np.array([WIDTH_PX, HEIGHT_PX]) / 2) * self.px + self.centre


def open_dwpose(card: Card, weights: str | Path | None):
    """(draw, provenance) of the two networks. Raises ValueError for files that are none."""
    files = weight_files(card, weights)
    people, joints = (
        open_onnx(file, outputs) for file, outputs in zip(files, (yolox.ANSWERS, ANSWERS), strict=True)
    )

    def draw(picture: PIL.Image.Image, file: Path | None) -> np.ndarray:
        found = find_joints(people, joints, np.asarray(picture), settings=card.settings)
        return draw_pose(found, (picture.height, picture.width))

    return draw, provenance(card, files[0])


def find_joints(
    people: OnnxNetwork, joints: OnnxNetwork, picture: np.ndarray, *, settings: Mapping[str, float]
) -> list[np.ndarray]:
    """OpenPose's joints (18, 3) [x px, y px, visible] of every person in a picture, uint8 RGB (H, W, 3),
    the surest person first.

    `settings` are `person`, `overlap` (see `yolox.find_people`) and `joint`, the score from which a joint is
    visible. A person of whom no joint is visible is left out.
    """
    boxes = yolox.find_people(people, picture, least=settings["person"], overlap=settings["overlap"])
    found = [joints_inside(joints, picture, box, least=settings["joint"]) for box in boxes]
    return [person for person in found if person[:, 2].any()]


def joints_inside(network: OnnxNetwork, picture: np.ndarray, box: np.ndarray, *, least: float) -> np.ndarray:
    """The joints (18, 3) of the person in a box [left, top, right, bottom] of a picture, uint8 RGB."""
    cut = CutOut.around(box)
    seen = (cut.of(picture).astype(np.float32) - _MEAN) / _DEVIATION
    places, scores = located(*network(seen.transpose(2, 0, 1)[None]))
    return with_neck(cut.to_picture(places), scores >= least)


def located(along_x: np.ndarray, along_y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What speaks for each place (1, points, places) -> the best places (points, 2) in pixels, and how much
    speaks for the less sure of their two coordinates (points,)."""
    places = np.stack([each[0].argmax(axis=1) for each in (along_x, along_y)], axis=1) / PARTS
    return places, np.minimum(along_x[0].max(axis=1), along_y[0].max(axis=1))


def with_neck(places: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """COCO's points [x, y] and whether each is visible, its 17 joints first -> OpenPose's 18 joints (18, 3).

    The neck lies between the shoulders, and is visible if both are. What is not visible is at 0.
    """
    joints = np.zeros((len(JOINT_NAMES), 3))
    num = len(COCO_FROM_OPENPOSE)
    joints[list(COCO_FROM_OPENPOSE)] = np.concatenate([places[:num], visible[:num, None]], axis=1)
    joints[_NECK] = joints[_SHOULDERS].mean(axis=0)
    return np.where(joints[:, 2:] == 1, joints, 0)
