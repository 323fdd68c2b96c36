"""What do the original matcher and suppression of the boundary benchmark say? (extra `engines`: pyEdgeEval)

pyEdgeEval 0.2.8 compiles the benchmark's own C++ (a randomised solver on a sparse graph) and Dollar's
suppression; the counts are summed up by `eval.metrics.bsds.boundary_score` either way. Its columns `AUC` and
`AP` are `area` and `average_precision` there. Leaves out its readers of files.
"""

from __future__ import annotations

import numpy as np

from eval.metrics.bsds import MAX_DISTANCE, BoundaryCounts, checked_maps, default_thresholds
from unicon.extras import need

NUM_THRESHOLDS = 99


def original_counts(
    predicted: np.ndarray,
    annotations: np.ndarray,
    *,
    thresholds: np.ndarray | None = None,
    max_distance: float = MAX_DISTANCE,
) -> BoundaryCounts:
    """`eval.metrics.bsds.boundary_counts` by the original thinning and matching.

    Slow: about a second per threshold of a BSDS picture. Raises ValueError as the other, MissingExtra without
    pyEdgeEval.
    """
    need("pyEdgeEval", extra="engines")
    from pyEdgeEval.common.binary_label.evaluate_boundaries import evaluate_boundaries_threshold_multiple_gts

    p, annotations = checked_maps(predicted, annotations)
    thresholds = default_thresholds() if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    matched_true, num_true, matched_predicted, num_predicted = evaluate_boundaries_threshold_multiple_gts(
        thresholds, p, annotations, max_dist=max_distance
    )
    return BoundaryCounts(
        thresholds=thresholds,
        matched_true=matched_true.astype(int),
        num_true=num_true.astype(int),
        matched_predicted=matched_predicted.astype(int),
        num_predicted=num_predicted.astype(int),
    )


def original_suppress(strength: np.ndarray) -> np.ndarray:
    """`eval.metrics.bsds.suppress` by the original code; (H, W) in [0, 1] -> the same."""
    need("pyEdgeEval", extra="engines")
    from pyEdgeEval.preprocess import fast_nms

    return fast_nms(np.ascontiguousarray(strength, dtype=np.float64))
