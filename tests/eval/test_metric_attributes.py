"""Are shares, their amplification and errors by stratum what counting gives?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.attributes import amplification, shares, stratified

KNOWN = ("woman", "man")


def test_shares_by_hand():
    found = shares(["man", "man", None, "woman", "dog", "man"], KNOWN)
    assert found.shares == {"woman": 0.25, "man": 0.75}
    assert (found.num, found.num_unknown) == (4, 2)


def test_amplification_is_the_difference_of_shares_with_the_normal_laws_interval():
    generated = ["man"] * 800 + ["woman"] * 200
    reference = ["man"] * 600 + ["woman"] * 400
    found = amplification(generated, reference, KNOWN)
    man = found.differences["man"]
    assert man.mean == pytest.approx(0.2)
    deviation = np.sqrt(0.8 * 0.2 / 1000 + 0.6 * 0.4 / 1000)
    assert man.low == pytest.approx(0.2 - 1.96 * deviation, abs=0.004)
    assert man.high == pytest.approx(0.2 + 1.96 * deviation, abs=0.004)
    assert found.differences["woman"].mean == pytest.approx(-0.2)
    # Of two shares that sum to 1 it is the difference of either.
    distance = found.distance
    assert (distance.mean, distance.low, distance.high) == pytest.approx((0.2, man.low, man.high))


def test_equal_shares_are_not_amplified():
    found = amplification(["man", "woman"] * 50, ["woman", "man"] * 50, KNOWN)
    assert found.differences["man"].low < 0 < found.differences["man"].high
    assert found.distance.mean == 0


def test_errors_by_stratum():
    values = [1.0, 2.0, 5.0, 7.0, 9.0, 100.0]
    found = stratified(values, ["a", "a", "b", "b", "c", None])
    assert found.strata["a"].mean == 1.5
    assert found.strata["b"].mean == 6
    assert found.strata["c"] == 9  # alone: no interval, and not in the gap
    assert found.nums == {"a": 2, "b": 2, "c": 1}
    assert found.gap == 4.5
    # two resampled means lie between 5 - 2 and 7 - 1 apart
    assert found.gap_interval == (3, 6)
    assert found.num_unknown == 1


def test_the_interval_of_a_gap_is_the_normal_laws():
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 1, 200), rng.normal(3, 1, 300)
    found = stratified([*near, *far], ["near"] * 200 + ["far"] * 300, num_resamples=20_000)
    half = 1.96 * np.sqrt(near.var() / 200 + far.var() / 300)
    gap = far.mean() - near.mean()
    assert found.gap == pytest.approx(gap)
    assert found.gap_interval == pytest.approx((gap - half, gap + half), abs=0.01)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(ValueError, match="none of 2 items shows one of woman, man"):
        shares([None, "dog"], KNOWN)
    with pytest.raises(ValueError, match="values are man; expected two or more"):
        amplification(["man"], ["man"], ["man"])
    with pytest.raises(ValueError, match="level is 1"):
        amplification(["man"], ["man"], KNOWN, level=1)
    with pytest.raises(ValueError, match="got 2 values for 2 strata, 1 of them NaN"):
        stratified([1.0, np.nan], ["a", "b"])
    with pytest.raises(ValueError, match="1 of 2 strata have at least 2 members"):
        stratified([1.0, 2.0, 3.0], ["a", "a", "b"])
