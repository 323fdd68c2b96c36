"""Is the affine-invariant depth protocol the published one?"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eval.metrics import depth


@pytest.fixture
def truth():
    return np.random.default_rng(0).uniform(0.5, 8.0, (12, 9))


@pytest.fixture
def prediction(truth):
    return truth + np.random.default_rng(1).normal(0, 0.4, truth.shape)


def test_hand_computed_errors():
    e = depth.depth_errors(np.array([[1.0, 3.0]]), np.array([[2.0, 2.0]]), alignment="none")
    assert e.abs_rel == pytest.approx(0.5)
    assert e.sq_rel == pytest.approx(0.5)
    assert e.rmse == pytest.approx(1.0)
    assert e.log10 == pytest.approx((np.log10(2) + np.log10(1.5)) / 2)
    assert e.rmse_log == pytest.approx(np.sqrt((np.log(2) ** 2 + np.log(1.5) ** 2) / 2))
    assert e.irmse == pytest.approx(np.sqrt((0.5**2 + (1 / 6) ** 2) / 2))
    assert e.silog == pytest.approx(100 * (np.log(1.5) + np.log(2)) / 2)
    assert (e.delta1, e.delta2, e.delta3) == (
        0.0,
        0.5,
        0.5,
    )  # ratios 2 and 1.5; 1.25^2 = 1.5625, 1.25^3 = 1.95
    assert (e.num_pixels, e.num_pictures, e.alignment) == (2, 1, "none")


def test_delta_is_strict_at_its_threshold():
    e = depth.depth_errors(np.array([[1.25, 1.0]]), np.ones((1, 2)), alignment="none")
    assert e.delta1 == 0.5


def test_fit_is_least_squares_on_prediction_and_one(truth, prediction):
    columns = np.stack([prediction.ravel(), np.ones(prediction.size)], axis=1)
    expected = np.linalg.lstsq(columns, truth.ravel(), rcond=None)[0]  # the call in Marigold's evaluation
    np.testing.assert_allclose(depth.fit(prediction, truth), expected, rtol=1e-10)


def test_scale_fit_is_least_squares_through_the_origin(truth, prediction):
    expected = np.linalg.lstsq(prediction.reshape(-1, 1), truth.ravel(), rcond=None)[0][0]
    assert depth.fit(prediction, truth, "scale") == pytest.approx((expected, 0.0))


def test_fit_recovers_a_known_map(truth):
    assert depth.fit((truth - 0.3) / -2.5, truth) == pytest.approx((-2.5, 0.3))


@pytest.mark.parametrize("scale, shift", [(3.0, 0.0), (0.01, 5.0), (-1.0, 1.0), (1e4, -1e6)])
def test_scale_and_shift_of_the_prediction_change_nothing(truth, prediction, scale, shift):
    expected = depth.depth_errors(prediction, truth)
    e = depth.depth_errors(scale * prediction + shift, truth)
    for field in dataclasses.fields(e):
        if field.name != "alignment":
            assert getattr(e, field.name) == pytest.approx(getattr(expected, field.name), rel=1e-6)


def test_scale_alignment_sees_a_shift_but_no_scale(truth, prediction):
    def abs_rel(p):
        return depth.depth_errors(p, truth, alignment="scale").abs_rel

    assert abs_rel(7 * prediction) == pytest.approx(abs_rel(prediction))
    assert abs_rel(prediction + 5) > 1.5 * abs_rel(prediction)


def test_disparity_alignment_undoes_an_affine_disparity(truth):
    disparity = 0.2 + 3 / truth
    assert depth.depth_errors(disparity, truth, alignment="disparity").abs_rel == pytest.approx(0, abs=1e-9)
    assert depth.depth_errors(disparity, truth).abs_rel > 0.05  # the alignment space matters


def test_disparity_is_clipped_before_inversion():
    truth = np.array([[1.0, 2.0, 1000.0]])
    aligned = depth.align(np.array([[1.0, 0.5, 1e-9]]), truth, alignment="disparity")
    assert aligned.max() <= 1 / depth.SMALLEST_DISPARITY


def test_fit_and_score_use_the_masked_pixels_only(truth, prediction):
    mask = np.random.default_rng(2).random(truth.shape) < 0.5
    wrong_p, wrong_g = np.where(mask, prediction, np.nan), np.where(mask, truth, -7.0)
    e = depth.depth_errors(wrong_p, wrong_g, mask)
    assert e == depth.depth_errors(prediction, truth, mask)
    assert e.num_pixels == mask.sum()


def test_default_mask_skips_missing_truth(truth, prediction):
    holed = truth.copy()
    holed[0, :3] = 0.0, np.nan, np.inf
    assert depth.depth_errors(prediction, holed).num_pixels == truth.size - 3


def test_range_clips_the_aligned_prediction():
    e = depth.depth_errors(
        np.array([[0.0, 20.0]]), np.array([[1.0, 10.0]]), alignment="none", low=0.5, high=10.0
    )
    assert e.abs_rel == pytest.approx(0.25)


def test_constant_prediction_becomes_the_mean_of_the_truth(truth):
    constant = np.full(truth.shape, 3.7)
    assert depth.fit(constant, truth) == pytest.approx((0.0, truth.mean()))
    assert depth.depth_errors(constant, truth).abs_rel == pytest.approx(
        np.mean(np.abs(truth.mean() - truth) / truth)
    )


def test_batch_scores_pictures_one_by_one_and_averages_over_pictures(truth, prediction):
    masks = np.ones((2, *truth.shape), dtype=bool)
    masks[1, 2:] = False
    errors = depth.batch_depth_errors([prediction] * 2, [truth] * 2, masks)
    mean = depth.mean_errors(errors)
    assert mean.abs_rel == pytest.approx((errors[0].abs_rel + errors[1].abs_rel) / 2)
    assert (mean.num_pictures, mean.num_pixels) == (2, truth.size + 18)
    assert depth.mean_errors([mean, errors[0]]).abs_rel == pytest.approx(
        (2 * errors[0].abs_rel + errors[1].abs_rel) / 3
    )


ONE = np.ones((2, 2))
NAN = np.array([[np.nan, 1], [1, 1]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((NAN, ONE), "NaN or infinite at 1 of 4"),
        ((ONE, ONE, np.zeros((2, 2), dtype=bool)), "no valid pixel"),
        ((ONE, 0 * ONE), "no valid pixel"),
        ((ONE, -ONE, np.ones((2, 2), dtype=bool)), "not finite and positive"),
        ((ONE, ONE, np.ones((2, 2))), "must be bool"),
        ((np.ones((3, 2)), ONE), "resize the prediction"),
        ((np.ones(4), np.ones(4)), "must be the same"),
    ],
)
def test_bad_pictures_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        depth.depth_errors(*arguments)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"alignment": "median"}, "known: scale_shift, scale, disparity, none"),
        ({"low": 3.0, "high": 2.0}, "0 <= low < high"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        depth.depth_errors(ONE, ONE, **settings)


def test_zero_prediction_has_no_scale():
    with pytest.raises(ValueError, match="zero at every valid pixel"):
        depth.depth_errors(0 * ONE, ONE, alignment="scale")


def test_disparity_without_a_positive_pixel():
    with pytest.raises(ValueError, match="grows when nearer"):
        depth.align(-ONE, ONE, alignment="disparity")


def test_fit_refuses_other_alignments():
    with pytest.raises(ValueError, match=r"fit\(\) takes"):
        depth.fit(ONE, ONE, "disparity")


def test_fit_refuses_nan():
    with pytest.raises(ValueError, match="mask those pixels out"):
        depth.fit(NAN, ONE)


def test_fit_refuses_unequal_numbers():
    with pytest.raises(ValueError, match="equal, non-zero numbers"):
        depth.fit(ONE, np.ones(3))


def test_batch_names_the_picture():
    with pytest.raises(ValueError, match="picture 1: the prediction is NaN"):
        depth.batch_depth_errors([ONE, NAN], [ONE, ONE])


def test_batch_needs_equal_numbers():
    with pytest.raises(ValueError, match="numbers must agree"):
        depth.batch_depth_errors([ONE], [ONE, ONE])


def test_nothing_to_average():
    with pytest.raises(ValueError, match="no errors to average"):
        depth.mean_errors([])


def test_alignments_are_not_mixed():
    errors = [depth.depth_errors(ONE, ONE, alignment=a) for a in ("scale", "none")]
    with pytest.raises(ValueError, match="several alignments"):
        depth.mean_errors(errors)
