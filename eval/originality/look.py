"""How alike do two pictures look, whatever was done to one of them on the way?

Two descriptors of the grey picture, both blind to brightness, contrast and tint: its pixels at low
resolution, and its local gradients (histograms of orientation in cells, Dalal and Triggs 2005). A picture is
compared as it is and mirrored with the whole of another and with crops of it; the best agreement counts. JPEG
and noise vanish at this resolution. Leaves out turned pictures, crops below two thirds, and meaning
(`eval.features`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from PIL import Image

SIDE_PX = 96
"""Pictures are compared at this size, stretched to a square."""
PIXELS, CELLS, ORIENTATIONS = 16, 8, 8
SCALES = (0.9, 0.8, 0.7)
"""Sides of crops, over the picture's; each in its corners, at its edges and in the middle."""
FLAT = 4.0
"""Contrast, in grey levels out of 255, below which a picture has no look of its own."""
BLOCK = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """Descriptors of a set."""

    whole: np.ndarray
    """(N, 2, D) float32, as it is and mirrored; pixels then gradients, each half of the squared length 1."""
    crops: np.ndarray
    """(N, C, D) float16, the whole picture first."""

    def __len__(self) -> int:
        return len(self.whole)


def describe(pictures: Iterable[Image.Image]) -> Looks:
    """Descriptors of pictures of any size."""
    whole, crops = [], []
    for picture in pictures:
        grey = cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2GRAY)
        plane = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        whole.append([_descriptor(plane), _descriptor(np.ascontiguousarray(plane[:, ::-1]))])
        crops.append([_descriptor(part) for part in _crops(plane)])
    if not whole:
        raise ValueError("no pictures to describe; give at least one")
    return Looks(whole=np.array(whole, np.float32), crops=np.array(crops, np.float16))


def nearest_look(looks: Looks, others: Looks, *, same: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(distance (N,), place (N,)) of the most alike other picture; 0 equal, about 1 nothing in common.

    `same`: both are one set, and no picture is its own neighbour. Raises ValueError when there is no other.
    """
    if len(others) <= same:
        raise ValueError(f"{len(others)} pictures to compare with; expected at least {1 + same}")
    whole = torch.from_numpy(looks.whole)
    best = torch.full((len(looks),), -torch.inf)
    place = torch.zeros(len(looks), dtype=torch.int64)
    for first in range(0, len(others), BLOCK):
        crops = torch.from_numpy(others.crops[first : first + BLOCK]).float()
        alike = (whole.flatten(0, 1) @ crops.flatten(0, 1).T).view(len(whole), 2, *crops.shape[:2])
        alike = alike.amax((1, 3))
        if same:
            own = torch.arange(first, first + len(crops))
            alike[own, own - first] = -torch.inf
        values, index = alike.max(1)
        better = values > best
        best[better], place[better] = values[better], index[better] + first
    return (1 - best).clamp(min=0).double().numpy(), place.numpy()


def _crops(plane: np.ndarray) -> Iterator[np.ndarray]:
    yield plane
    for scale in SCALES:
        side = round(scale * SIDE_PX)
        free = SIDE_PX - side
        for top in (0, free // 2, free):
            for left in (0, free // 2, free):
                yield plane[top : top + side, left : left + side]


def _descriptor(plane: np.ndarray) -> np.ndarray:
    parts = [_pixels(plane), _gradients(plane)]
    return np.concatenate([part / np.sqrt(2) for part in parts])


def _pixels(plane: np.ndarray) -> np.ndarray:
    """(PIXELS²,) of length 1, mean 0."""
    small = cv2.resize(plane, (PIXELS, PIXELS), interpolation=cv2.INTER_AREA).ravel()
    small = small - small.mean()
    # A flat picture would be all noise: its descriptor stays short, and it looks like nothing.
    return small / max(np.linalg.norm(small), FLAT * PIXELS)


def _gradients(plane: np.ndarray) -> np.ndarray:
    """(CELLS² ORIENTATIONS,) of length 1: strength of gradients by cell and direction, mean 0 over cells."""
    side = 8 * CELLS
    grey = cv2.GaussianBlur(cv2.resize(plane, (side, side), interpolation=cv2.INTER_AREA), (0, 0), 1.0)
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    # A root, or the one strongest contour would be all that counts.
    strength = np.sqrt(np.hypot(across, down))
    # Directions without sign, shared linearly between the two nearest bins; tint can turn contrast round.
    angle = (np.arctan2(down, across) % np.pi) * (ORIENTATIONS / np.pi)
    low = np.floor(angle).astype(int) % ORIENTATIONS
    share = (angle - np.floor(angle)).astype(np.float32)
    planes = np.zeros((ORIENTATIONS, side, side), np.float32)
    rows, columns = np.indices((side, side))
    planes[low, rows, columns] += strength * (1 - share)
    planes[(low + 1) % ORIENTATIONS, rows, columns] += strength * share
    cells = np.stack([cv2.resize(p, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for p in planes])
    cells -= cells.mean((1, 2), keepdims=True)
    found = cells.ravel()
    return found / max(np.linalg.norm(found), FLAT)
