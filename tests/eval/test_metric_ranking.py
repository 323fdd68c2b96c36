"""Is the area under the curve the share of pairs in order?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.ranking import auc


def test_it_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    above, below = rng.integers(0, 6, 40), rng.integers(0, 5, 30)
    pairs = np.sign(above[:, None] - below)
    assert auc(above, below) == pytest.approx((pairs / 2 + 0.5).mean())
    assert auc(above, below) + auc(below, above) == pytest.approx(1)


def test_extremes():
    assert auc(np.array([np.inf, 3.0]), np.array([1.0, 2.0])) == 1
    assert auc(np.array([np.inf]), np.array([np.inf, 2.0])) == 0.75
    assert auc(np.ones(3), np.ones(2)) == 0.5


def test_what_cannot_be_ranked():
    with pytest.raises(ValueError, match="got 0 and 2 values, 0 of them NaN; give at least one"):
        auc(np.array([]), np.ones(2))
    with pytest.raises(ValueError, match="1 of them NaN"):
        auc(np.array([np.nan]), np.ones(2))
