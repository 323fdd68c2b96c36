"""How alike do two pictures look, whatever was done to one of them on the way?

In two steps. Descriptors find candidates: pixels at low resolution and local gradients (histograms of
orientation in cells, Dalal and Triggs 2005) of the grey picture, as it is and mirrored, against the whole of
another and crops of it. Each candidate is then laid over: the picture, at sizes from whole down to two
thirds, is moved over the other and over its contours, and the best correlation counts. Both are blind to
brightness, contrast and tint; JPEG and noise vanish at this resolution. Leaves out turned pictures, smaller
crops, and meaning (`eval.features`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from PIL import Image

SIDE_PX = 96
"""Pictures are compared at this size, stretched to a square."""
PIXELS, CELLS, ORIENTATIONS = 16, 8, 8
SCALES = (0.93, 0.83, 0.74)
"""Sides of crops, over the picture's; each in its corners, at its edges and in the middle."""
FLAT = 4.0
"""Contrast, in grey levels out of 255, below which a picture has no look of its own."""
BLOCK = 256
OVERLAY_PX = 64
"""Size at which candidates are laid over each other."""
OVERLAY_SIDES_PX = tuple(range(64, 42, -2))
"""Of the picture that is moved over the other: crops of 1 to two thirds."""
EPS = float(np.finfo(np.float32).eps)
CANDIDATES = 6
"""Others that each picture is laid over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Looks:
    """Descriptors of a set."""

    whole: np.ndarray
    """(N, 2, D) float32, as it is and mirrored; pixels then gradients, each half of the squared length 1."""
    crops: np.ndarray
    """(N, C, D) float16, the whole picture first."""
    planes: np.ndarray
    """(N, OVERLAY_PX, OVERLAY_PX) uint8, grey."""

    def __len__(self) -> int:
        return len(self.whole)

    def subset(self, places: Sequence[int] | np.ndarray) -> Looks:
        """Some of them."""
        rows = np.asarray(places)
        return Looks(whole=self.whole[rows], crops=self.crops[rows], planes=self.planes[rows])


def describe(pictures: Iterable[Image.Image]) -> Looks:
    """Descriptors of pictures of any size."""
    whole, crops, planes = [], [], []
    for picture in pictures:
        grey = cv2.cvtColor(np.asarray(picture.convert("RGB")), cv2.COLOR_RGB2GRAY)
        plane = cv2.resize(grey, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
        whole.append([_descriptor(plane), _descriptor(np.ascontiguousarray(plane[:, ::-1]))])
        crops.append([_descriptor(part) for part in _crops(plane)])
        planes.append(cv2.resize(grey, (OVERLAY_PX, OVERLAY_PX), interpolation=cv2.INTER_AREA))
    if not whole:
        raise ValueError("no pictures to describe; give at least one")
    return Looks(
        whole=np.array(whole, np.float32),
        crops=np.array(crops, np.float16),
        planes=np.array(planes, np.uint8),
    )


def nearest_look(
    looks: Looks, others: Looks, *, same: bool = False, places: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(distance (N,), place (N,)) of the most alike other picture; 0 equal, 1 or more nothing in common.

    `same`: both are one set, and no picture is its own neighbour. `places` (n,): of these pictures alone.
    Raises ValueError when there is no other.
    """
    if len(others) <= same:
        raise ValueError(f"{len(others)} pictures to compare with; expected at least {1 + same}")
    chosen = np.arange(len(looks)) if places is None else np.asarray(places)
    candidates = _candidates(looks.whole[chosen], others, chosen if same else None)
    alike = np.array(
        [
            _overlay(plane, others.planes[row])
            for plane, row in zip(looks.planes[chosen], candidates, strict=True)
        ]
    )
    best = alike.argmax(1)
    rows = np.arange(len(best))
    return np.clip(1 - alike[rows, best], 0, None), candidates[rows, best]


def paired_look(looks: Looks, others: Looks) -> np.ndarray:
    """Distance (N,) of each picture to the other one in its row, on the scale of `nearest_look`."""
    alike = [_overlay(a, b[None])[0] for a, b in zip(looks.planes, others.planes, strict=True)]
    return np.clip(1 - np.array(alike), 0, None)


def _candidates(descriptors: np.ndarray, others: Looks, own: np.ndarray | None) -> np.ndarray:
    """(N, CANDIDATES or fewer) places of the others with the most similar descriptors, never a picture's
    `own` (N,)."""
    whole, keep = torch.from_numpy(descriptors), min(CANDIDATES, len(others) - (own is not None))
    best = torch.full((len(whole), keep), -torch.inf)
    place = torch.zeros(len(whole), keep, dtype=torch.int64)
    for first in range(0, len(others), BLOCK):
        crops = torch.from_numpy(others.crops[first : first + BLOCK]).float()
        alike = torch.stack([(side @ crops.flatten(0, 1).T) for side in whole.unbind(1)]).amax(0)
        alike = alike.view(len(whole), *crops.shape[:2]).amax(2)
        if own is not None:
            here = np.flatnonzero((own >= first) & (own < first + len(crops)))
            alike[here, own[here] - first] = -torch.inf
        values = torch.cat([best, alike], 1)
        places = torch.cat([place, torch.arange(first, first + len(crops)).expand(len(whole), -1)], 1)
        best, index = values.topk(keep, dim=1)
        place = places.gather(1, index)
    return place.numpy()


def _overlay(plane: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(K,) best correlations of a picture with a part of each of the others (K, side, side): the mean of that
    of pixels and of contours.

    Normalised correlation (Lewis 1995): the products by Fourier transform, which wraps nothing around where
    the moved picture lies within the other; sums over its windows from running ones.
    """
    moved = list(_moved(plane))
    if not moved:
        return np.full(len(others), -1.0)
    templates = np.zeros((len(moved), 2, OVERLAY_PX, OVERLAY_PX), np.float32)
    for place, pair in zip(templates, moved, strict=True):
        side = pair.shape[-1]
        centred = pair - pair.mean((1, 2), keepdims=True)
        place[:, :side, :side] = centred / np.maximum(
            np.linalg.norm(centred, axis=(1, 2), keepdims=True), EPS
        )
    spectra = torch.fft.rfft2(torch.from_numpy(templates)).conj()
    grounds = np.stack([[other.astype(np.float32), _contours(other)] for other in others])
    running = _running_sums(grounds)
    scales = {side: _window_scales(running, side) for side in {pair.shape[-1] for pair in moved}}
    best = np.full(len(others), -1.0)
    for number, ground in enumerate(torch.fft.rfft2(torch.from_numpy(grounds))):
        products = torch.fft.irfft2(spectra * ground, s=(OVERLAY_PX, OVERLAY_PX)).numpy()
        for found, pair in zip(products, moved, strict=True):
            side = pair.shape[-1]
            free = OVERLAY_PX + 1 - side
            alike = (found[:, :free, :free] * scales[side][number]).sum(0) / 2
            best[number] = max(best[number], float(alike.max()))
    return best


def _moved(plane: np.ndarray) -> Iterator[np.ndarray]:
    """What is moved over another picture, (2, side, side) each: pixels and contours; both ways round."""
    for version in (plane, np.ascontiguousarray(plane[:, ::-1])):
        for side in OVERLAY_SIDES_PX:
            small = cv2.resize(version, (side, side), interpolation=cv2.INTER_AREA)
            if small.std() >= FLAT:
                yield np.stack([small.astype(np.float32), _contours(small)])


def _running_sums(grounds: np.ndarray) -> np.ndarray:
    """(2, ..., side + 1, side + 1): of values and of their squares."""
    planes = grounds.reshape(-1, *grounds.shape[-2:])
    pairs = [cv2.integral2(plane, sdepth=cv2.CV_64F, sqdepth=cv2.CV_64F) for plane in planes]
    sums = np.stack(pairs, 1)
    return sums.reshape(2, *grounds.shape[:-2], *sums.shape[-2:])


def _window_scales(running: np.ndarray, side: int) -> np.ndarray:
    """One over the length of each window's deviations from its mean, (..., places, places); 0 if flat."""
    rows = running[..., side:, :] - running[..., :-side, :]
    total, squares = rows[..., side:] - rows[..., :-side]
    deviations = squares - total**2 / side**2
    flat = deviations <= EPS * squares
    return np.where(flat, 0, 1 / np.sqrt(np.where(flat, 1, deviations))).astype(np.float32)


def _contours(plane: np.ndarray) -> np.ndarray:
    """Root of the gradient's length: tint and contrast change it by a factor at most."""
    grey = plane.astype(np.float32)
    return np.sqrt(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)))


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
    angle = np.arctan2(down, across) * (ORIENTATIONS / np.pi)
    angle[angle < 0] += ORIENTATIONS
    low = angle.astype(int)
    share = angle - low
    bins = low * CELLS**2 + _cell_numbers(side)
    cells = np.zeros((ORIENTATIONS + 2, CELLS, CELLS))  # the last two are the first two again
    for numbers, part in ((bins, 1 - share), (bins + CELLS**2, share)):
        cells += np.bincount(numbers.ravel(), (strength * part).ravel(), cells.size).reshape(cells.shape)
    cells[:2] += cells[ORIENTATIONS:]
    cells = cells[:ORIENTATIONS].astype(np.float32) / (side // CELLS) ** 2
    cells -= cells.mean((1, 2), keepdims=True)
    found = cells.ravel()
    return found / max(np.linalg.norm(found), FLAT)


@cache
def _cell_numbers(side: int) -> np.ndarray:
    """In which of the CELLS² cells each pixel lies, row by row."""
    along = np.arange(side) * CELLS // side
    return along[:, None] * CELLS + along
