"""Is a small picture what it says, and its map always the same?"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from unicon.conditions.lowres import MOST_SCALE, Degradation, degraded, degraded_anyhow, enlarged


def picture(width: int = 48, height: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def detail(values: np.ndarray) -> float:
    return float(np.abs(np.diff(values.astype(float), axis=1)).mean())


def test_each_part_takes_detail_away_or_adds_its_own_error():
    rng = np.random.default_rng(0)
    plain = degraded(picture(), Degradation(scale=2), rng)
    assert plain.shape == picture().shape
    assert detail(plain) < 0.5 * detail(picture())
    assert detail(degraded(picture(), Degradation(scale=4), rng)) < detail(plain)
    assert detail(degraded(picture(), Degradation(scale=2, blur=1.0), rng)) < 0.6 * detail(plain)
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert degraded(grey, Degradation(scale=1, noise=0.1), rng).std() == pytest.approx(25.5, rel=0.1)
    assert np.array_equal(degraded(grey, Degradation(scale=3), rng), grey)
    stored = degraded(picture(), Degradation(scale=1, quality=10), rng)
    assert np.abs(stored.astype(int) - picture()).mean() > 5


def test_blur_is_in_pixels_of_the_small_picture():
    rng = np.random.default_rng(0)
    blurred = cv2.GaussianBlur(picture(), (0, 0), 2.0)
    made = degraded(picture(), Degradation(scale=4, blur=0.5), rng)
    assert np.array_equal(made, degraded(blurred, Degradation(scale=4), rng))


def test_what_is_only_made_smaller_keeps_its_place_and_its_brightness():
    """The map of a ramp is the ramp: neither resizing shifts it."""
    ramp = np.linspace(40, 210, 64)[None, :, None].repeat(64, 0).repeat(3, 2).astype(np.uint8)
    for scale in (2.0, 2.7, MOST_SCALE):
        made = degraded(ramp, Degradation(scale=scale), np.random.default_rng(0))
        assert np.abs(made.astype(int) - ramp)[:, 8:-8].max() <= 3


def test_a_picture_has_one_map_and_other_pictures_have_others():
    assert np.array_equal(degraded_anyhow(picture()), degraded_anyhow(picture().copy()))
    drawn = [Degradation.drawn(np.random.default_rng(seed)) for seed in range(300)]
    assert all(2**0.5 <= each.scale <= MOST_SCALE for each in drawn)
    plain = [each for each in drawn if (each.blur, each.noise, each.quality) == (0, 0, 100)]
    assert 60 < len(plain) < 140
    assert {each.quality < 100 for each in drawn if each not in plain} == {True, False}


def test_enlarging_is_to_the_size_asked_for():
    assert enlarged(picture(10, 7), 33, 20).shape == (20, 33, 3)


@pytest.mark.parametrize("wrong", [{"scale": 0.5}, {"noise": -1.0}, {"quality": 0}, {"blur": float("nan")}])
def test_impossible_degradations_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} of a degradation must be a .*number .*, got"):
        Degradation(**wrong)
