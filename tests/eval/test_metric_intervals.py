"""Do the intervals cover what they promise when the ensemble is honest, and fail when it is not?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.metrics import intervals
from eval.metrics.depth import fit


def honest(count: int, pixels: int = 20000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Members and truth drawn from the same normal distribution per pixel."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(2, 5, pixels)
    return centre + 0.3 * rng.normal(size=(count, pixels)), centre + 0.3 * rng.normal(size=pixels)


@pytest.mark.parametrize(
    "method, count", [("quantile", 19), ("quantile", 32), ("gaussian", 3), ("gaussian", 10)]
)
def test_an_honest_ensemble_covers_its_level(method, count):
    members, truth = honest(count)
    shaped = members.reshape(count, 100, 200)
    result = intervals.coverage(shaped, truth.reshape(100, 200), method=method, align="none")
    assert result.coverage == pytest.approx(0.9, abs=0.008)
    assert (result.num_members, result.num_pixels) == (count, 20000)


def test_19_members_at_90_percent_are_their_extremes():
    members = np.random.default_rng(0).normal(size=(19, 7))
    low, high = intervals.interval(members)
    np.testing.assert_allclose(low, members.min(0))
    np.testing.assert_allclose(high, members.max(0))


def test_two_members_by_hand():
    # t with one degree of freedom: tan(0.45 pi); s = sqrt(2), sqrt(1 + 1/2)
    low, high = intervals.interval(np.array([[1.0], [3.0]]), method="gaussian")
    half = math.tan(0.45 * math.pi) * math.sqrt(2) * math.sqrt(1.5)
    np.testing.assert_allclose([low[0], high[0]], [2 - half, 2 + half], rtol=1e-9)


@pytest.mark.parametrize("dof", [1, 2, 3, 4, 9, 30, 101])
@pytest.mark.parametrize("probability", [0.6, 0.95, 0.995])
def test_student_t_agrees_with_scipy(dof, probability):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.t.ppf(probability, dof)
    assert intervals.student_t_quantile(probability, dof) == pytest.approx(expected, rel=1e-8)


def test_scale_and_shift_of_all_members_change_nothing_after_alignment():
    members, truth = (a.reshape(*a.shape[:-1], 40, 50) for a in honest(20, 2000))
    one = intervals.coverage(members, truth)
    two = intervals.coverage(5 - 0.2 * members, truth)
    assert two.coverage == pytest.approx(one.coverage, abs=1e-3)
    assert two.mean_width == pytest.approx(one.mean_width)


def test_all_members_are_moved_by_the_fit_of_their_mean():
    members, truth = (each.reshape(*each.shape[:-1], 20, 20) for each in honest(19, 400))
    members[0] = 40 - 9 * members[0]  # one that alone would be fitted quite otherwise
    scale, shift = fit(members.mean(0), truth)
    assert intervals.coverage(members, truth) == intervals.coverage(
        scale * members + shift, truth, align="none"
    )


def test_a_narrow_ensemble_is_caught_and_stretched():
    members, truth = honest(20)
    narrow = members.mean(0) + 0.3 * (members - members.mean(0))
    covered = intervals.coverage(narrow.reshape(20, 100, 200), truth.reshape(100, 200), align="none").coverage
    assert covered < 0.5
    factor = intervals.spread_factor(narrow[:, :10000], truth[:10000])
    mean, spread = narrow[:, 10000:].mean(0), narrow[:, 10000:].std(0, ddof=1)
    assert np.mean(np.abs(truth[10000:] - mean) <= factor * spread) == pytest.approx(0.9, abs=0.012)


def test_rank_histogram_is_flat_when_honest_and_u_shaped_when_narrow():
    members, truth = honest(9)
    np.testing.assert_allclose(intervals.rank_histogram(members, truth), 0.1, atol=0.01)
    narrow = intervals.rank_histogram(members.mean(0) + 0.2 * (members - members.mean(0)), truth)
    assert narrow[0] + narrow[-1] > 0.5


def test_pooling_weights_pixels():
    members, truth = honest(19, 300)
    wide = intervals.coverage(members[:, :100].reshape(19, 10, 10), truth[:100].reshape(10, 10), align="none")
    rest = intervals.coverage(members[:, 100:].reshape(19, 10, 20), truth[100:].reshape(10, 20), align="none")
    whole = intervals.coverage(members.reshape(19, 15, 20), truth.reshape(15, 20), align="none")
    both = intervals.pooled([wide, rest])
    assert (both.coverage, both.mean_width) == pytest.approx((whole.coverage, whole.mean_width))


def test_small_calibration_sets_promise_nothing():
    members, truth = honest(5, 5)
    assert intervals.spread_factor(members, truth) == math.inf


@pytest.mark.parametrize(
    "members, settings, message",
    [
        (np.zeros((18, 3)), {}, "needs at least 19 members, got 18"),
        (np.zeros((1, 3)), {"method": "gaussian"}, "needs at least 2 members"),
        (np.full((19, 3), np.nan), {}, "among the members"),
        (np.zeros((19, 3)), {"level": 1.0}, "strictly between"),
        (np.zeros((19, 3)), {"method": "bootstrap"}, "known: quantile, gaussian"),
    ],
)
def test_bad_ensembles_are_named(members, settings, message):
    with pytest.raises(ValueError, match=message):
        intervals.interval(members, **settings)


@pytest.mark.parametrize(
    "truth, mask, align, message",
    [
        (np.ones((2, 3)), None, "mean", r"expected \(M, H, W\) and \(H, W\)"),
        (np.ones((3, 3)), None, "each", "known: mean, none"),
        (np.ones((3, 3)), np.zeros((3, 3), dtype=bool), "mean", "mask is empty"),
    ],
)
def test_bad_coverage_input_is_named(truth, mask, align, message):
    with pytest.raises(ValueError, match=message):
        intervals.coverage(np.zeros((19, 3, 3)), truth, mask, align=align)


def test_identical_members_have_no_spread():
    with pytest.raises(ValueError, match="have no spread"):
        intervals.spread_factor(np.ones((3, 4)), np.ones(4))


def test_student_t_range():
    with pytest.raises(ValueError, match="dof >= 1"):
        intervals.student_t_quantile(0.9, 0)


def test_nothing_to_pool():
    with pytest.raises(ValueError, match="no coverage to pool"):
        intervals.pooled([])


def test_different_ensembles_do_not_pool():
    members, truth = (a.reshape(*a.shape[:-1], 2, 5) for a in honest(20, 10))
    parts = [intervals.coverage(members, truth, method=m) for m in ("quantile", "gaussian")]
    with pytest.raises(ValueError, match="cannot be pooled"):
        intervals.pooled(parts)
