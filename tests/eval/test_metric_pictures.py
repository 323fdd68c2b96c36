"""Do PSNR and SSIM give the values their formulas have in closed form?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.pictures import ms_ssim, psnr, ssim
from tests.fixtures.maps.inputs import pictures
from tests.fixtures.maps.oracles import oracles


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.8, (24, 30, 3))


def test_psnr_of_a_constant_difference(picture):
    assert psnr(picture, picture + 0.1) == pytest.approx(20)
    assert psnr(picture, picture) == 100


def test_ssim_of_equal_pictures_is_one_and_it_is_symmetric(picture):
    other = np.clip(picture + np.random.default_rng(1).normal(0, 0.1, picture.shape), 0, 1)
    assert ssim(picture, picture) == pytest.approx(1)
    assert ssim(picture, other) == pytest.approx(ssim(other, picture))
    assert ssim(picture, other) < 0.99


def test_ssim_of_flat_pictures_is_its_luminance_term():
    p, g = np.full((16, 16), 0.3), np.full((16, 16), 0.5)
    assert ssim(p, g) == pytest.approx((2 * 0.3 * 0.5 + 1e-4) / (0.3**2 + 0.5**2 + 1e-4))


def test_ssim_of_one_window_by_hand():
    rng = np.random.default_rng(2)
    p, g = rng.uniform(size=(2, 11, 11))
    line = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    w = np.outer(line, line) / line.sum() ** 2
    mp, mg = (w * p).sum(), (w * g).sum()
    vp, vg, both = (w * p * p).sum() - mp**2, (w * g * g).sum() - mg**2, (w * p * g).sum() - mp * mg
    expected = (2 * mp * mg + 1e-4) * (2 * both + 9e-4) / ((mp**2 + mg**2 + 1e-4) * (vp + vg + 9e-4))
    assert ssim(p, g) == pytest.approx(expected)


@pytest.mark.parametrize(
    "p, g, match",
    [
        (np.zeros((12, 12)), np.zeros((12, 13)), "expected one shape"),
        (np.zeros((8, 12)), np.zeros((8, 12)), "sides of at least 11"),
        (np.full((12, 12), 2.0), np.zeros((12, 12)), r"picture has values from 2.0 to 2.0"),
        (np.zeros((12, 12)), np.full((12, 12), np.nan), "truth has values from nan"),
    ],
)
def test_wrong_input_is_refused(p, g, match):
    with pytest.raises(ValueError, match=match):
        ssim(p, g)


def test_ssim_and_its_scales_equal_other_implementations():
    known = oracles()
    assert ssim(*pictures()) == pytest.approx(float(known["ssim"]), rel=1e-6)  # scikit-image
    # torchmetrics' last scale counts a reflected border, too
    assert ms_ssim(*pictures()) == pytest.approx(float(known["ms_ssim"]), rel=2e-5)


def test_five_scales_of_flat_pictures_are_the_luminance_of_the_last():
    p, g = np.full((176, 176), 0.3), np.full((176, 176), 0.5)
    luminance = (2 * 0.3 * 0.5 + 1e-4) / (0.3**2 + 0.5**2 + 1e-4)
    assert ms_ssim(p, g) == pytest.approx(luminance**0.1333)
    assert ms_ssim(p, p) == pytest.approx(1)
    with pytest.raises(
        ValueError, match=r"pictures are \(175, 200\); five scales need sides of at least 176"
    ):
        ms_ssim(np.zeros((175, 200)), np.zeros((175, 200)))
