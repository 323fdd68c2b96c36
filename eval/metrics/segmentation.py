"""How well do two maps of classes agree?

Mean intersection over union of a confusion matrix summed over *all* pictures, as ADE20K, COCO-Stuff and
Cityscapes report it, and pixel accuracy. Leaves out which network made the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

IGNORED = 255
"""Label of pixels that do not count."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pixels by true (row) and predicted (column) class; add those of pictures."""

    counts: np.ndarray
    """(K, K) int."""

    def __add__(self, other: Confusion) -> Confusion:
        if self.counts.shape != other.counts.shape:
            raise ValueError(
                f"confusions of {len(self.counts)} and {len(other.counts)} classes cannot be added"
            )
        return Confusion(self.counts + other.counts)

    @property
    def iou(self) -> np.ndarray:
        """(K,) intersection over union; NaN for classes in neither map."""
        inside = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - inside
        return np.divide(inside, union, out=np.full(len(inside), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur; ValueError when no pixel counts."""
        if not self.counts.any():
            raise ValueError("no valid pixel: every true label is ignored")
        return float(np.nanmean(self.iou))

    @property
    def accuracy(self) -> float:
        """Share of pixels whose class is right."""
        if not self.counts.any():
            raise ValueError("no valid pixel: every true label is ignored")
        return float(np.trace(self.counts) / self.counts.sum())


def confusion(
    predicted: np.ndarray, truth: np.ndarray, num_classes: int, ignored: int = IGNORED
) -> Confusion:
    """Of one picture's (H, W) integer labels 0 .. num_classes - 1; pixels whose truth is `ignored` are left
    out. ValueError for other shapes, types and labels."""
    p, g = np.asarray(predicted), np.asarray(truth)
    if p.shape != g.shape or p.ndim != 2 or {p.dtype.kind, g.dtype.kind} - set("iu"):
        raise ValueError(
            f"labels are {p.dtype} {p.shape} and {g.dtype} {g.shape}; expected integers of one shape (H, W)"
        )
    counted = g != ignored
    p, g = p[counted].astype(np.int64), g[counted].astype(np.int64)
    for name, labels in (("predicted", p), ("true", g)):
        if labels.size and not (labels.min() >= 0 and labels.max() < num_classes):
            raise ValueError(
                f"{name} labels go from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}"
            )
    return Confusion(np.bincount(g * num_classes + p, minlength=num_classes**2).reshape(num_classes, -1))


MOST_GAPS = 2**20
"""Pairs of a colour and a class that are compared at once: photographs have as many colours as pixels."""


def labels_of(picture: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """(H, W) index of the nearest colour of (K, 3) uint8 `palette` for every pixel of (H, W, 3) uint8."""
    picture, palette = np.asarray(picture), np.asarray(palette)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a map of colours is {picture.dtype} {picture.shape}; expected uint8 (H, W, 3)")
    if palette.ndim != 2 or palette.shape[1] != 3 or not len(palette):
        raise ValueError(f"the palette has shape {palette.shape}; expected (classes, 3)")
    colours, back = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
    places = [
        np.square(part[:, None].astype(np.int32) - palette[None].astype(np.int32)).sum(-1).argmin(1)
        for part in np.array_split(colours, -(-len(colours) * len(palette) // MOST_GAPS))
    ]
    return np.concatenate(places)[back.ravel()].reshape(picture.shape[:2])
