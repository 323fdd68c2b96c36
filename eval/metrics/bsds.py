"""What does an edge map score under the boundary benchmark of BSDS500?

Martin et al. 2004 and Arbelaez et al. 2011: threshold, thin, match one-to-one with each annotator within
0.0075 of the picture's diagonal; recall counts are summed over annotators, and a predicted pixel is right
when *any* annotator has it. ODS: best F of the summed counts at one threshold; OIS: each picture at its own
best threshold. The matching is the benchmark's minimum-cost assignment, solved exactly by scipy (extra
`eval`; the original approximates it on a randomised sparse graph: on a BSDS picture the counts agree to
0.2%). Leaves out reading the data (`eval.data`) and the quick score for training (`eval.metrics.edges`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from eval.metrics.edges import near
from eval.metrics.thinning import thin

MAX_DISTANCE = 0.0075
"""Matching radius as a share of the picture's diagonal (BSDS; NYUD uses 0.011)."""
OUTLIER_COST = 100.0
"""Cost of an unmatched pixel, in matching radii (the benchmark's value): first match many, then near."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryCounts:
    """Counts of one picture at each threshold; all arrays are (T,)."""

    thresholds: np.ndarray
    matched_true: np.ndarray
    """True boundary pixels matched, summed over annotators."""
    num_true: np.ndarray
    """True boundary pixels, summed over annotators."""
    matched_predicted: np.ndarray
    """Predicted pixels matched to at least one annotator."""
    num_predicted: np.ndarray
    """Predicted pixels after thinning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryScore:
    """Set-level result of the benchmark, all in [0, 1]."""

    ods_f1: float
    """Best F of the summed counts over thresholds, interpolated between them as the benchmark does."""
    ods_threshold: float
    """Threshold of `ods_f1`."""
    ois_f1: float
    """F of the counts summed with every picture at its own best threshold."""
    area: float
    """Area under precision over recall, sampled at recall 0, 0.01 .. 0.99: the benchmark's Area_PR, which
    papers print as AP."""
    average_precision: float
    """Best precision at each of these recalls or beyond, summed and divided by 101: pyEdgeEval's AP, which is
    another number."""
    num_pictures: int
    num_thresholds: int


def default_thresholds(num: int = 99) -> np.ndarray:
    """The benchmark's `num` thresholds: k / (num + 1), k = 1 .. num."""
    if num < 1:
        raise ValueError(f"num is {num}; at least one threshold is needed")
    return np.arange(1, num + 1) / (num + 1)


def correspond(predicted: np.ndarray, truth: np.ndarray, radius_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Minimum-cost one-to-one matching of two bool (H, W) maps within `radius_px`; bool maps of the matched.

    Cost of a pair is its distance, of an unmatched predicted pixel 100 radii. Raises ModuleNotFoundError
    naming the extra when scipy is absent.
    """
    from_predicted = np.zeros(predicted.shape, dtype=bool)
    from_truth = np.zeros(truth.shape, dtype=bool)
    p = np.argwhere(predicted & near(truth, radius_px))
    g = np.argwhere(truth & near(predicted, radius_px))
    if len(p) and len(g):
        rows, columns = _assign(p, g, radius_px)
        from_predicted[tuple(p[rows].T)] = True
        from_truth[tuple(g[columns].T)] = True
    return from_predicted, from_truth


def boundary_counts(
    predicted: np.ndarray,
    annotations: np.ndarray,
    *,
    thresholds: np.ndarray | None = None,
    max_distance: float = MAX_DISTANCE,
) -> BoundaryCounts:
    """Counts of one (H, W) map of edge strength in [0, 1] against (A, H, W) bool annotations.

    Apply `suppress` first for the usual protocol ("SEval"); without it the score is of the raw map.
    """
    p, annotations = checked_maps(predicted, annotations)
    thresholds = default_thresholds() if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    radius_px = max_distance * float(np.hypot(*p.shape))
    rows = [_counts_at(thin(p >= t), annotations, radius_px) for t in thresholds]
    matched_true, matched_predicted, num_predicted = np.array(rows).T
    return BoundaryCounts(
        thresholds=thresholds,
        matched_true=matched_true,
        matched_predicted=matched_predicted,
        num_predicted=num_predicted,
        num_true=np.full(len(thresholds), int(annotations.sum())),
    )


def boundary_score(counts: Sequence[BoundaryCounts]) -> BoundaryScore:
    """ODS, OIS and area of a set from its pictures' counts, all at the same thresholds."""
    if not counts:
        raise ValueError("no counts to score: give those of at least one picture")
    thresholds = counts[0].thresholds
    if any(not np.array_equal(c.thresholds, thresholds) for c in counts):
        raise ValueError("the pictures were counted at different thresholds; use one list for all")
    precision, recall = _precision_recall(*np.sum([_stack(c) for c in counts], axis=0))
    best = [_stack(c)[:, np.argmax(f1_of_counts(_stack(c)))] for c in counts]
    ods_f1, ods_threshold = _best_between(thresholds, precision, recall)
    return BoundaryScore(
        ods_f1=ods_f1,
        ods_threshold=ods_threshold,
        ois_f1=float(f1_of_counts(np.sum(best, axis=0))),
        area=_area(precision, recall),
        average_precision=_average_precision(precision, recall),
        num_pictures=len(counts),
        num_thresholds=len(thresholds),
    )


def suppress(strength: np.ndarray, *, border_px: int = 5, margin: float = 1.01) -> np.ndarray:
    """Non-maximum suppression across the edge (Dollar and Zitnick 2013, as HED and its successors use it).

    Smooth with a triangle of radius 1; take the normal from second derivatives of a radius-4 smoothing; drop
    a pixel whose strength times `margin` is below either neighbour one pixel along the normal; fade the
    border. (H, W) floats in [0, 1] -> the same shape and range.
    """
    strength = np.asarray(strength, dtype=np.float64)
    if strength.ndim != 2 or min(strength.shape) < 2 * border_px:
        raise ValueError(
            f"edge strength has shape {strength.shape}; expected (H, W) of at least {2 * border_px} px"
        )
    smooth = _triangle(strength, 1)
    angle = _normal_angle(_triangle(smooth, 4))
    rows, columns = np.indices(strength.shape)
    kept = np.ones(strength.shape, dtype=bool)
    for side in (-1, 1):
        beside = _bilinear(smooth, rows + side * np.sin(angle), columns + side * np.cos(angle))
        kept &= smooth * margin >= beside
    return np.where(kept, smooth, 0) * _fade(strength.shape, border_px)


def crispness(strength: np.ndarray) -> float:
    """Share of an edge map's strength that suppression keeps (Ye et al. 2023's AC); 1 where lines are thin.

    sum(suppressed) / sum(strength) of (H, W) in [0, 1]; above 1 is cut off. ValueError for an empty map.
    """
    strength = np.asarray(strength, dtype=np.float64)
    total = float(strength.sum())
    if not total > 0:
        raise ValueError("an edge map without an edge has no crispness: leave it out and count it")
    return min(1.0, float(suppress(strength).sum()) / total)


def _assign(p: np.ndarray, g: np.ndarray, radius_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Row and column indices of the matched pairs; each predicted pixel also has its own outlier column."""
    csr, matching, tree = _scipy()
    pairs = tree(p).sparse_distance_matrix(tree(g), radius_px, output_type="coo_matrix")
    own = np.arange(len(p))
    # one is added to each cost because a stored zero would read as "no pair"; every row is matched exactly
    # once, so the optimum does not move
    costs = np.concatenate([pairs.data, np.full(len(p), OUTLIER_COST * radius_px)]) + 1
    rows = np.concatenate([pairs.row, own])
    columns = np.concatenate([pairs.col, len(g) + own])
    graph = csr((costs, (rows, columns)), shape=(len(p), len(g) + len(p)))
    rows, columns = matching(graph)
    real = columns < len(g)
    return rows[real], columns[real]


def _scipy():
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import min_weight_full_bipartite_matching
        from scipy.spatial import KDTree
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "one-to-one edge matching needs scipy: pip install 'unicon-diffusion[eval]'; "
            "eval.metrics.edges scores without it"
        ) from error
    return csr_array, min_weight_full_bipartite_matching, KDTree


def _counts_at(lines: np.ndarray, annotations: np.ndarray, radius_px: float) -> tuple[int, int, int]:
    matched, found = np.zeros(lines.shape, dtype=bool), 0
    for truth in annotations:
        from_predicted, from_truth = correspond(lines, truth, radius_px)
        matched |= from_predicted
        found += int(from_truth.sum())
    return found, int(matched.sum()), int(lines.sum())


def checked_maps(predicted: np.ndarray, annotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 and bool; ValueError for what is no map of strengths, or no annotations of its
    size."""
    p, annotations = np.asarray(predicted, dtype=np.float64), np.asarray(annotations)
    if p.ndim != 2 or not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(
            f"edge strength has shape {p.shape}; expected (H, W) with values in [0, 1] and no NaN"
        )
    if (
        annotations.dtype != bool
        or annotations.ndim != 3
        or annotations.shape[1:] != p.shape
        or not len(annotations)
    ):
        raise ValueError(
            f"annotations are {annotations.dtype} of shape {annotations.shape}; "
            f"expected bool (annotators, {p.shape[0]}, {p.shape[1]})"
        )
    return p, annotations


def _stack(counts: BoundaryCounts) -> np.ndarray:
    return np.stack([counts.matched_true, counts.num_true, counts.matched_predicted, counts.num_predicted])


def f1_of_counts(counts: np.ndarray) -> np.ndarray:
    """(...) from (4, ...): matched and all true pixels, matched and all predicted ones."""
    return _f1(*_precision_recall(*counts))


def _precision_recall(matched_true, num_true, matched_predicted, num_predicted):
    return matched_predicted / np.maximum(num_predicted, 1), matched_true / np.maximum(num_true, 1)


def _f1(precision, recall):
    total = precision + recall
    return 2 * precision * recall / np.where(total == 0, 1, total)


def _best_between(thresholds: np.ndarray, precision: np.ndarray, recall: np.ndarray) -> tuple[float, float]:
    """Best F and its threshold; precision and recall are linear, in 100 steps, between thresholds."""
    index = np.linspace(0, len(thresholds) - 1, 100 * (len(thresholds) - 1) + 1)
    knots = np.arange(len(thresholds))
    f = _f1(np.interp(index, knots, precision), np.interp(index, knots, recall))
    best = int(np.argmax(f))
    return float(f[best]), float(np.interp(index[best], knots, thresholds))


def _area(precision: np.ndarray, recall: np.ndarray) -> float:
    levels, first = np.unique(recall, return_index=True)
    if len(levels) < 2:
        return 0.0
    sampled = np.interp(np.arange(100) / 100, levels, precision[first], left=0, right=0)
    return float(sampled.sum() * 0.01)


def _average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    reached = recall >= (np.arange(100) / 100)[:, None]
    return float(np.where(reached, precision, 0).max(1).sum() / 101)


def _triangle(x: np.ndarray, radius: int) -> np.ndarray:
    kernel = np.concatenate([np.arange(1, radius + 2), np.arange(radius, 0, -1)]).astype(np.float64)
    kernel /= kernel.sum()
    return cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)


def _bilinear(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values of (H, W) x at fractional places, clamped to the picture; cv2.remap rounds places to 1/32 px."""
    rows, columns = np.clip(rows, 0, x.shape[0] - 1.001), np.clip(columns, 0, x.shape[1] - 1.001)
    top, left = rows.astype(int), columns.astype(int)
    down, right = rows - top, columns - left
    upper = x[top, left] * (1 - right) + x[top, left + 1] * right
    lower = x[top + 1, left] * (1 - right) + x[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def _normal_angle(x: np.ndarray) -> np.ndarray:
    along_y, along_x = np.gradient(x)
    xx = np.gradient(along_x, axis=1)
    yy, xy = np.gradient(along_y)
    return np.mod(np.arctan(yy * np.sign(-xy) / (xx + 1e-5)), np.pi)


def _fade(shape: tuple[int, ...], border_px: int) -> np.ndarray:
    ramps = []
    for size in shape:
        position = np.arange(size)
        ramps.append(np.minimum(np.minimum(position, size - 1 - position) / max(border_px, 1), 1))
    return np.outer(*ramps)
