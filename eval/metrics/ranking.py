"""How well does a number rank one group above another?"""

from __future__ import annotations

import numpy as np


def auc(above: np.ndarray, below: np.ndarray) -> float:
    """Area under the ROC curve: share of pairs (one of each group) in the right order, ties counting half.

    Infinite values are ranked as any; ValueError for an empty group and for NaN.
    """
    above, below = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if not len(above) or not len(below) or np.isnan(above).any() or np.isnan(below).any():
        raise ValueError(
            f"got {len(above)} and {len(below)} values, {np.isnan(above).sum() + np.isnan(below).sum()} of "
            "them NaN; give at least one number of each group"
        )
    order = np.sort(below)
    wins = np.searchsorted(order, above, "left") + np.searchsorted(order, above, "right")
    return float(wins.mean() / (2 * len(order)))
