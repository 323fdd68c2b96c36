"""Where are the people in a photograph, by YOLOX (Ge et al. 2021, arXiv 2107.08430)?

What its published networks see: the picture in the upper left of a 640 x 640 square, grey below and beside
it, in the blue-green-red order and the 0 to 255 it was trained with. What they answer: for every cell of the
grids of 8, 16 and 32 pixels the centre of a box from the cell's own corner, in cells, the logarithm of its
sides in cells, how sure it is that there is something, and of each of COCO's 80 classes. Leaves out all
classes but people.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from unicon.conditions.annotators.onnx_file import OnnxNetwork

SIDE_PX = 640
STRIDES = (8, 16, 32)
NUM_CLASSES = 80
ANSWERS = ((1, sum((SIDE_PX // stride) ** 2 for stride in STRIDES), 5 + NUM_CLASSES),)
"""Shapes of what the network answers."""
_PERSON = 0
"""COCO's first class."""
_GREY = 114
"""Of the square where there is no picture, as in training."""
_LONGEST = 10.0
"""Of a side's logarithm: e^10 cells lie far outside of any picture, and e^1000 is no number."""


def find_people(network: OnnxNetwork, picture: np.ndarray, *, least: float, overlap: float) -> np.ndarray:
    """The people of a picture, uint8 RGB (H, W, 3): boxes float (n, 4) [left, top, right, bottom], in its
    pixels, the surest first.

    `least` is the score in [0, 1] from which a box counts; of two boxes that overlap by more than `overlap`
    (intersection over union) only the surer one stays.
    """
    square, scale = letterbox(picture)
    (answer,) = network(square)
    boxes, scores = decoded(answer[0])
    boxes, scores = boxes[scores >= least], scores[scores >= least]
    corners = boxes[:, :2] - boxes[:, 2:] / 2
    kept = cv2.dnn.NMSBoxes(
        np.concatenate([corners, boxes[:, 2:]], axis=1).tolist(), scores.tolist(), least, overlap
    )
    order = np.asarray(kept, int).reshape(-1)
    return np.concatenate([corners, corners + boxes[:, 2:]], axis=1)[order] / scale


def letterbox(picture: np.ndarray) -> tuple[np.ndarray, float]:
    """A picture, uint8 RGB (H, W, 3), as the network sees it: float32 (1, 3, 640, 640); and its scale."""
    height, width = picture.shape[:2]
    scale = SIDE_PX / max(height, width)
    size = [max(1, int(side * scale)) for side in (width, height)]
    square = np.full((SIDE_PX, SIDE_PX, 3), _GREY, np.uint8)
    square[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    return square[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32), scale


def decoded(answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The network's answer (cells, 5 + classes) -> boxes (cells, 4) [x, y, width, height] about their centre
    in pixels of the square, and how sure it is of a person in each (cells,)."""
    corners, strides = _cells()
    centres = (answer[:, :2] + corners) * strides
    sides = np.exp(np.minimum(answer[:, 2:4], _LONGEST)) * strides
    return np.concatenate([centres, sides], axis=1), answer[:, 4] * answer[:, 5 + _PERSON]


@cache
def _cells() -> tuple[np.ndarray, np.ndarray]:
    """Of every cell, in the network's order: corner (cells, 2) [x, y] in cells, and side (cells, 1) px."""
    corners, strides = [], []
    for stride in STRIDES:
        along = np.arange(SIDE_PX // stride)
        corners.append(np.stack(np.meshgrid(along, along), axis=-1).reshape(-1, 2))
        strides.append(np.full((len(along) ** 2, 1), stride))
    return np.concatenate(corners), np.concatenate(strides)
