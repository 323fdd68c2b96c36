"""Do the depth benchmarks score the pixels that the published evaluation scores?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.metrics.depth import align, depth_errors, nearest_places
from eval.metrics.depth_benchmarks import (
    BENCHMARKS,
    benchmark_errors,
    find_benchmark,
    kitti_crop,
    scored_area,
)
from eval.metrics.depth_ensemble import ensemble_depth


def pair(shape, seed=0, holes=True):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.7, 9.0, shape)
    if holes:
        truth[rng.random(shape) < 0.3] = 0
    return truth + rng.normal(0, 0.3, shape), truth


def published(p, g, mask, low, high, disparity=False):
    """A second implementation: the published script's steps on all pixels, zeros outside of the mask."""
    target = np.divide(1, g, out=np.zeros_like(g), where=g > 0) if disparity else g
    fitted = mask & (p > 0) if disparity else mask
    scale, shift = np.linalg.lstsq(
        np.stack([p[fitted], np.ones(fitted.sum())], 1), target[fitted], rcond=None
    )[0]
    p = scale * p + shift
    p = np.clip(1 / np.clip(p, 1e-3, None) if disparity else p, low, high)
    p, g, m = (torch.from_numpy(x) for x in (np.clip(p, 1e-6, None), np.where(mask, g, 1.0), mask))
    n, log = m.sum(), torch.where(m, p.log() - g.log(), 0.0)
    return {
        "abs_rel": float((torch.where(m, (p - g).abs() / g, 0.0)).sum() / n),
        "rmse": float((torch.where(m, p - g, 0.0) ** 2).sum().div(n).sqrt()),
        "silog": 100 * float(((log**2).sum() / n - log.sum() ** 2 / n**2).sqrt()),
        "delta1": int((torch.where(m, torch.maximum(p / g, g / p), torch.inf) < 1.25).sum()) / int(n),
    }


def kitti_masks(shape, rows, columns):
    mask = np.zeros(shape, dtype=bool)
    mask[rows, columns] = True
    return mask


CASES = {
    "nyu": ((480, 640), (slice(45, 471), slice(41, 601)), 1e-3, 10.0),
    # .3324324 * 352 = 117.02, .91351351 * 352 = 321.56; .0359477 * 1216 = 43.71, .96405229 * 1216 = 1172.29
    "kitti": ((352, 1216), (slice(117, 321), slice(43, 1172)), 1e-5, 80.0),
    # .40810811 * 352 = 143.65, .99189189 * 352 = 349.15
    "kitti_garg": ((352, 1216), (slice(143, 349), slice(43, 1172)), 1e-5, 80.0),
    "scannet": ((48, 64), (slice(None), slice(None)), 1e-3, 10.0),
    "eth3d": ((40, 60), (slice(None), slice(None)), 1e-5, np.inf),
}


@pytest.mark.parametrize("alignment", ["scale_shift", "disparity"])
@pytest.mark.parametrize("name", CASES)
def test_errors_equal_a_second_implementation(name, alignment):
    shape, (rows, columns), low, high = CASES[name]
    p, g = pair(shape)
    p = np.divide(1, np.maximum(p, 0.3)) if alignment == "disparity" else p
    mask = kitti_masks(shape, rows, columns) & (g > low) & (g < high)
    found = benchmark_errors(p, g, name, alignment=alignment)
    expected = published(p, g, mask, low, high, alignment == "disparity")
    assert found.num_pixels == mask.sum()
    assert {k: getattr(found, k) for k in expected} == pytest.approx(expected, rel=1e-9)


def test_whole_kitti_maps_are_cropped_at_the_bottom_and_the_middle():
    rows, columns = np.indices((375, 1242))
    assert kitti_crop(rows)[[0, -1], 0].tolist() == [23, 374]
    assert kitti_crop(columns)[0, [0, -1]].tolist() == [13, 1228]
    p, g = pair((375, 1242))
    assert benchmark_errors(p, g, "kitti") == benchmark_errors(kitti_crop(p), g, "kitti")


def test_diode_scores_what_its_own_mask_says():
    p, g = pair((12, 9), holes=False)
    g[0, 0] = 0.3  # nearer than the range, but in the mask
    mask = np.ones(g.shape, dtype=bool)
    mask[:, 5:] = False
    found = benchmark_errors(p, g, "diode", mask)
    assert found.num_pixels == 12 * 5
    assert found == depth_errors(p, g, mask, low=0.6, high=350.0)
    with pytest.raises(ValueError, match="diode brings its own masks: give the picture's mask"):
        benchmark_errors(p, g, "diode")


def test_a_given_mask_only_takes_pixels_away():
    p, g = pair((10, 10))
    mask = np.zeros(g.shape, dtype=bool)
    mask[2:8] = True
    assert benchmark_errors(p, g, "scannet", mask).num_pixels == (g[2:8] > 0).sum()
    with pytest.raises(ValueError, match=r"mask is int64 of shape \(10, 10\); expected bool"):
        benchmark_errors(p, g, "scannet", mask.astype(int))


@pytest.mark.parametrize("shape, most", [((403, 605), 128), ((37, 61), 40), ((30, 20), 64), ((61, 37), 7)])
def test_the_reduction_for_the_fit_is_torchs_nearest(shape, most):
    values = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    factor = float(np.min(most / np.array(shape)))
    expected = values
    if factor < 1:
        up = torch.nn.Upsample(scale_factor=factor, mode="nearest")
        expected = up(torch.from_numpy(values)[None, None])[0, 0].numpy()
    found = values[np.ix_(*(nearest_places(side, shape, most) for side in (0, 1)))]
    np.testing.assert_array_equal(found, expected)


def test_a_reduced_fit_is_the_fit_of_what_is_left():
    p, g = pair((64, 96), holes=False)
    rows, columns = (nearest_places(side, g.shape, 24) for side in (0, 1))
    few_p, few_g = p[np.ix_(rows, columns)], g[np.ix_(rows, columns)]
    scale, shift = np.polyfit(few_p.ravel(), few_g.ravel(), 1)
    np.testing.assert_allclose(align(p, g, fit_max_px=24), scale * p + shift)
    with pytest.raises(ValueError, match="fit_max_px is 0"):
        align(p, g, fit_max_px=0)
    hidden = np.zeros(g.shape, dtype=bool)
    hidden[1, 1] = True
    with pytest.raises(ValueError, match="no valid pixel is left to fit at 24 px"):
        align(p, g, hidden, fit_max_px=24)


def test_numbers_of_pictures_and_ranges_are_the_published_ones():
    known = {name: (b.low, b.high, b.num_pictures) for name, b in BENCHMARKS.items()}
    assert known == {
        "nyu": (1e-3, 10, 654), "kitti": (1e-5, 80, 652), "kitti_garg": (1e-5, 80, 652),
        "eth3d": (1e-5, np.inf, 454), "scannet": (1e-3, 10, 800), "diode": (0.6, 350, 771),
    }  # fmt: skip


def test_what_no_benchmark_knows_is_refused():
    with pytest.raises(ValueError, match="depth protocol is 'nyu2'; known: nyu, kitti"):
        find_benchmark("nyu2")
    with pytest.raises(ValueError, match="an NYU map is 426 x 560; Eigen's crop is defined on 480 x 640"):
        benchmark_errors(*pair((426, 560)), "nyu")
    with pytest.raises(ValueError, match="a KITTI map is 300 x 1216; expected at least 352 x 1216"):
        benchmark_errors(*pair((300, 1216)), "kitti")
    with pytest.raises(ValueError, match="crop is 'garg'; known: none, nyu_eigen, kitti_eigen"):
        scored_area((10, 10), "garg")
    with pytest.raises(ValueError, match="no valid pixel"):
        benchmark_errors(np.ones((5, 5)), np.zeros((5, 5)), "scannet")


def smooth(side=24):
    rows, columns = np.indices((side, side)) / side
    return np.sin(3 * rows) + columns**2


def test_members_that_differ_by_scale_and_shift_alone_agree_exactly():
    true = smooth()
    found = ensemble_depth([2 * true + 1, 0.3 * true, 5 * true - 4])
    np.testing.assert_allclose(found.depth, (true - true.min()) / np.ptp(true), atol=1e-5)
    np.testing.assert_allclose(found.uncertainty, 0, atol=1e-5)
    assert found.num_members == 3


def test_fitted_members_beat_their_plain_median_and_show_where_they_disagree():
    rng, true = np.random.default_rng(0), smooth()
    noise = np.where(np.indices(true.shape)[1] < 12, 0.02, 0.2)
    members = [rng.uniform(0.5, 3) * (true + noise * rng.normal(size=true.shape)) for _ in range(5)]
    found = ensemble_depth(members)
    plain = depth_errors(np.median(members, axis=0), true + 1).rmse
    assert depth_errors(found.depth, true + 1).rmse < plain
    assert found.uncertainty[:, 12:].mean() > 3 * found.uncertainty[:, :12].mean()
    assert found.depth.min() == 0
    assert found.depth.max() == 1


def test_an_ensemble_of_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match=r"got 1 members of shapes \(24, 24\); expected at least 2"):
        ensemble_depth([smooth()])
    with pytest.raises(ValueError, match="expected at least 2 of one shape"):
        ensemble_depth([smooth(), smooth(12)])
    with pytest.raises(ValueError, match="member 1 is constant"):
        ensemble_depth([smooth(), np.ones((24, 24))])
    with pytest.raises(ValueError, match="NaN or infinity among the members"):
        ensemble_depth([smooth(), np.where(smooth() > 1, np.nan, smooth())])
    with pytest.raises(ValueError, match="reduction is 'mode'; known: median, mean"):
        ensemble_depth([smooth(), smooth()], reduction="mode")
    with pytest.raises(ValueError, match="max_iterations is 0"):
        ensemble_depth([smooth(), smooth()], max_iterations=0)
