"""How well does an edge map agree with the true edges, cheaply?

Tolerance precision, recall and F1: a pixel counts as right when the other map has an edge within
`tolerance_px` (Euclidean), found by a distance transform. Many pixels may share one partner, so this is
**not** the BSDS protocol (one-to-one matching, several annotators, ODS/OIS): that is `eval.metrics.bsds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from eval.metrics.thinning import thin as thin_edges


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeCounts:
    """Matched and total edge pixels of one picture, or summed over pictures with `+`."""

    matched_predicted: int
    """Predicted edge pixels that have a true one within the tolerance."""
    num_predicted: int
    """Predicted edge pixels."""
    matched_true: int
    """True edge pixels that have a predicted one within the tolerance."""
    num_true: int
    """True edge pixels."""

    def __add__(self, other: EdgeCounts) -> EdgeCounts:
        return EdgeCounts(
            matched_predicted=self.matched_predicted + other.matched_predicted,
            num_predicted=self.num_predicted + other.num_predicted,
            matched_true=self.matched_true + other.matched_true,
            num_true=self.num_true + other.num_true,
        )

    @property
    def precision(self) -> float:
        """Share of predicted edge pixels that are right; 0 without any, 1 when there was none to find."""
        return _share(self.matched_predicted, self.num_predicted, self.num_true)

    @property
    def recall(self) -> float:
        """Share of true edge pixels that were found; 0 without any, 1 when nothing was predicted either."""
        return _share(self.matched_true, self.num_true, self.num_predicted)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 when both are 0."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def edge_counts(
    predicted: np.ndarray,
    truth: np.ndarray,
    *,
    tolerance_px: float = 2.0,
    threshold: float = 0.5,
    thin: bool = True,
) -> EdgeCounts:
    """Counts behind precision, recall and F1 of one (H, W) edge map against one (H, W) truth.

    Bool maps, or floats in [0, 1] with edge where the value is at least `threshold`. With `thin` both maps
    are reduced to one-pixel lines first, so that neither thick lines nor filled areas are paid by the pixel.
    Raises ValueError for shapes that differ, values outside [0, 1] or NaN, a negative tolerance.
    """
    if not tolerance_px >= 0:
        raise ValueError(f"tolerance_px is {tolerance_px}; it must be at least 0")
    p, g = as_edges(predicted, threshold, "predicted"), as_edges(truth, threshold, "truth")
    if p.shape != g.shape:
        raise ValueError(
            f"predicted edges are {p.shape}, true ones {g.shape}; resize to the same (H, W) first"
        )
    if thin:
        p, g = thin_edges(p), thin_edges(g)
    return EdgeCounts(
        matched_predicted=int(near(g, tolerance_px)[p].sum()),
        num_predicted=int(p.sum()),
        matched_true=int(near(p, tolerance_px)[g].sum()),
        num_true=int(g.sum()),
    )


def edge_f1(
    predicted: np.ndarray, truth: np.ndarray, *, tolerance_px: float = 2.0, threshold: float = 0.5
) -> float:
    """Tolerance F1 of one picture after thinning; the average of this over pictures is "edge F1 at 2 px"."""
    return edge_counts(predicted, truth, tolerance_px=tolerance_px, threshold=threshold).f1


def best_threshold(
    predicted: Sequence[np.ndarray],
    truth: Sequence[np.ndarray],
    *,
    tolerance_px: float = 2.0,
    thresholds: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
) -> tuple[float, EdgeCounts]:
    """The one threshold with the best F1 of the summed counts of a set, and those counts.

    Choose it on validation pictures and score test pictures with it: chosen on the test set it flatters.
    """
    if not len(predicted) == len(truth) > 0:
        raise ValueError(
            f"got {len(predicted)} predicted and {len(truth)} true maps; give equal, non-zero numbers"
        )
    totals = []
    for threshold in thresholds:
        counts = [
            edge_counts(p, g, tolerance_px=tolerance_px, threshold=threshold)
            for p, g in zip(predicted, truth, strict=True)
        ]
        totals.append((threshold, sum(counts[1:], counts[0])))
    return max(totals, key=lambda item: item[1].f1)


def near(edges: np.ndarray, distance_px: float) -> np.ndarray:
    """(H, W) bool: pixels within `distance_px` (inclusive, Euclidean, exact) of an edge pixel."""
    if not edges.any():
        return np.zeros(edges.shape, dtype=bool)
    background = np.logical_not(edges).astype(np.uint8)
    distance = cv2.distanceTransform(background, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= distance_px + 1e-4  # float32 square roots


def as_edges(edges: np.ndarray, threshold: float, name: str) -> np.ndarray:
    """(H, W) bool from a bool map or from floats in [0, 1], edge at `threshold` and above; else
    ValueError."""
    edges = np.asarray(edges)
    if edges.ndim != 2 or edges.size == 0:
        raise ValueError(f"{name} edges have shape {edges.shape}; expected a non-empty (H, W)")
    if edges.dtype == bool:
        return edges
    if edges.dtype.kind != "f" or not (np.min(edges) >= 0 and np.max(edges) <= 1):
        raise ValueError(
            f"{name} edges are {edges.dtype} from {np.min(edges)} to {np.max(edges)}; "
            "expected bool, or floats in [0, 1] (divide 8-bit maps by 255)"
        )
    return edges >= threshold


def _share(part: int, whole: int, other_whole: int) -> float:
    if whole == 0:
        return 1.0 if other_whole == 0 else 0.0
    return part / whole
