"""Do calibration errors vanish for honest ensembles, and have the values that a formula gives otherwise?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from eval.metrics import intervals
from eval.metrics.calibration import LEVELS, calibration, crps, pooled_calibration, sparsification


def ensemble(count, spread, pixels=(100, 200), seed=0):
    """Members with `spread` times the deviation that the truth has."""
    rng = np.random.default_rng(seed)
    centre = rng.uniform(2, 5, pixels)
    return centre + spread * rng.normal(size=(count, *pixels)), centre + rng.normal(size=pixels)


@pytest.mark.parametrize("method, count", [("gaussian", 5), ("quantile", 19)])
def test_an_honest_ensemble_has_no_calibration_error(method, count):
    found = calibration(*ensemble(count, 1.0), method=method, align="none")
    assert found.error < 0.006
    assert found.squared < 9 * 0.006**2
    assert (found.num_members, found.num_pixels) == (count, 20000)


def test_a_narrow_ensembles_error_is_that_of_the_normal_law():
    found = calibration(*ensemble(400, 0.5, (50, 80)), align="none")
    # the interval is half as wide as it should be: it covers erf(z / 2 / sqrt 2), z of the level
    z = [0.125661, 0.253347, 0.385320, 0.524401, 0.674490, 0.841621, 1.036433, 1.281552, 1.644854]
    expected = [math.erf(0.5 * v / math.sqrt(2)) for v in z]
    np.testing.assert_allclose(found.coverages, expected, atol=0.02)
    gap = np.abs(np.subtract(expected, found.levels))
    assert found.error == pytest.approx(gap.mean(), abs=0.015)
    assert found.squared == pytest.approx((gap**2).sum(), rel=0.1)
    assert found.bias == pytest.approx(-found.error)


def test_pictures_are_pooled_by_their_pixels():
    (a, b), (c, d) = ensemble(6, 1.0, (10, 10)), ensemble(6, 0.3, (20, 15), seed=1)
    parts = [calibration(a, b, align="none"), calibration(c, d, align="none")]
    found = pooled_calibration(parts)
    expected = (np.multiply(parts[0].coverages, 100) + np.multiply(parts[1].coverages, 300)) / 400
    np.testing.assert_allclose(found.coverages, expected)
    assert found.num_pixels == 400


def test_only_the_pixels_of_the_mask_count():
    members, truth = ensemble(6, 0.5, (10, 10))
    mask = np.zeros((10, 10), bool)
    mask[:3] = True
    found = calibration(members, truth, mask, align="none")
    assert found.num_pixels == 30
    assert found == calibration(members[:, :3], truth[:3], align="none")


def test_scale_and_shift_are_fitted_once_for_all_levels(monkeypatch):
    fits, fit = [], intervals.fit
    monkeypatch.setattr(intervals, "fit", lambda *both: (fits.append(both), fit(*both))[1])
    members, truth = ensemble(6, 0.5, (20, 30))
    found = calibration(0.5 * members - 1, truth)
    assert len(fits) == 1
    at = [intervals.coverage(0.5 * members - 1, truth, level=level, method="gaussian") for level in LEVELS]
    assert found.coverages == tuple(each.coverage for each in at)
    assert found.mean_widths == tuple(each.mean_width for each in at)


def test_crps_by_hand():
    # mean |x - y| = (1 + 3) / 2, mean |x - x'| over different members 2, over all pairs 1
    members = np.array([[1.0], [3.0]])
    assert crps(members, np.array([0.0]))[0] == pytest.approx(2 - 1)
    assert crps(members, np.array([0.0]), fair=False)[0] == pytest.approx(2 - 0.5)
    assert crps(members[:1], np.array([0.0]), fair=False)[0] == pytest.approx(1)


def test_crps_equals_all_pairs_and_the_normal_laws_closed_form():
    members, truth = ensemble(7, 1.0, (4, 5))
    pairs = np.abs(members[:, None] - members[None]).sum((0, 1)) / (7 * 6)
    np.testing.assert_allclose(crps(members, truth), np.abs(members - truth).mean(0) - pairs / 2)
    many, at = np.random.default_rng(0).normal(size=(8, 40000)), np.zeros(40000)
    # Gneiting and Raftery 2007, eq. 21, at the mean: sigma (2 phi(0) - 1 / sqrt pi)
    assert crps(many, at).mean() == pytest.approx(
        2 / math.sqrt(2 * math.pi) - 1 / math.sqrt(math.pi), abs=0.005
    )


def test_sparsification_by_hand():
    found = sparsification(np.array([1.0, 2.0, 3.0, 6.0]), np.array([4.0, 3.0, 2.0, 1.0]), num_steps=4)
    assert found.fractions == (0, 0.25, 0.5, 0.75)
    assert found.by_error == pytest.approx((1, 2 / 3, 1.5 / 3, 1 / 3))
    assert found.by_uncertainty == pytest.approx((1, 11 / 9, 1.5, 2))
    assert found.ause == pytest.approx(np.mean([0, 11 / 9 - 2 / 3, 1, 5 / 3]))


def test_an_uncertainty_that_ranks_as_the_errors_has_no_ause():
    errors = np.random.default_rng(0).exponential(size=(30, 40))
    assert sparsification(errors, np.sqrt(errors)).ause == 0
    blind = sparsification(errors, np.random.default_rng(1).random((30, 40)))
    np.testing.assert_allclose(blind.by_uncertainty, 1, atol=0.35)
    assert blind.ause > 0.3


def test_bad_ensembles_are_refused():
    members, truth = ensemble(4, 1.0, (3, 3))
    with pytest.raises(ValueError, match=r"levels are \[0.9, 0.5\]; expected rising"):
        calibration(members, truth, levels=[0.9, 0.5])
    with pytest.raises(ValueError, match="level 0.7 needs at least 6 members, got 4"):
        calibration(members, truth, method="quantile", align="none")
    with pytest.raises(ValueError, match="no calibration to pool"):
        pooled_calibration([])
    parts = [calibration(members, truth, levels=[x], align="none") for x in (0.5, 0.6)]
    with pytest.raises(ValueError, match="different levels cannot be pooled"):
        pooled_calibration(parts)
    with pytest.raises(ValueError, match="M at least 2"):
        crps(members[:1], truth)
    with pytest.raises(ValueError, match="NaN or infinity among members or truth"):
        crps(members, np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="got 9 errors and 8 uncertainties"):
        sparsification(np.ones(9), np.ones(8), num_steps=2)
    with pytest.raises(ValueError, match="errors must be finite and 0 or more"):
        sparsification(-np.ones(9), np.ones(9), num_steps=2)
    with pytest.raises(ValueError, match="all errors are 0"):
        sparsification(np.zeros(9), np.ones(9), num_steps=2)


def test_equal_uncertainties_tell_nothing_whatever_the_order_of_pixels():
    errors = np.linspace(0.1, 1, 200)
    for ordered in (errors, errors[::-1]):
        found = sparsification(ordered, np.ones(200))
        np.testing.assert_allclose(found.by_uncertainty, 1.0)
