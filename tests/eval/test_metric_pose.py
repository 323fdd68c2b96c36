"""Does PCK count the joints it says it counts?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from eval.metrics import pose
from eval.metrics.assignment import assign


def figure(x: float = 0.0, y: float = 0.0) -> np.ndarray:
    """18 visible joints in a box 100 px high and 60 px wide."""
    joints = np.ones((18, 3))
    rng = np.random.default_rng(5)
    joints[:, 0], joints[:, 1] = rng.uniform(0, 60, 18), rng.uniform(0, 100, 18)
    joints[0, :2], joints[1, :2] = (0, 0), (60, 100)
    joints[:, :2] += x, y
    return joints


def test_joints_within_a_tenth_of_the_box_are_right():
    truth, predicted = figure(), figure()
    predicted[4, 0] += 10.0  # the boundary itself: 0.1 of the longer side, 100 px
    predicted[5, 0] += 10.1
    assert pose.pck([predicted], [truth]) == pytest.approx(17 / 18)
    assert pose.pose_counts([predicted], [truth]).pck_per_joint["left_shoulder"] == 0


def test_torso_length_is_shoulder_to_opposite_hip():
    truth = figure()
    truth[pose.RIGHT_SHOULDER, :2], truth[pose.LEFT_HIP, :2] = (10, 10), (40, 50)
    assert pose.reference_length(truth, "torso") == 50
    predicted = truth.copy()
    predicted[:9, 1] += 5.1
    assert pose.pck([predicted], [truth], normaliser="torso") == 0.5
    assert pose.pck([predicted], [truth], normaliser="bbox") == 1


def test_scaling_and_moving_both_changes_nothing():
    truth, predicted = figure(), figure()
    predicted[:, :2] += np.random.default_rng(0).normal(0, 8, (18, 2))
    expected = pose.pck([predicted], [truth])
    for array in (truth, predicted):
        array[:, :2] = 3 * array[:, :2] + 40
    assert 0 < expected < 1
    assert pose.pck([predicted], [truth]) == expected


def test_hidden_true_joints_are_not_asked_for_and_missing_predictions_are_wrong():
    truth, predicted = figure(), figure()
    truth[14:] = [np.nan, np.nan, 0]
    predicted[10] = 0
    counts = pose.pose_counts([predicted], [truth])
    assert counts.labelled.sum() == 14
    assert counts.pck == 13 / 14
    assert "left_ear" not in counts.pck_per_joint


def test_figures_are_paired_whatever_their_order():
    people = [figure(), figure(300, 10), figure(20, 400)]
    for order in itertools.permutations(people):
        assert pose.pck(list(order), people) == 1


def test_pairing_maximises_right_joints_where_the_greedy_one_does_not():
    # B can stand for either truth, A only for the first: taking the best pair first would strand A
    first, second = figure(), figure(500)
    a, b = first.copy(), first.copy()
    a[6:, :2] += 1000  # 6 right for the first truth
    b[6:] = second[6:]  # 6 for the first, 12 for the second
    assert pose.pose_counts([b, a], [first, second]).correct.sum() == 18


def test_of_equally_right_figures_the_nearer_one_is_taken():
    """Each of two shows one joint in its place and all others too far off, the second less so."""
    far, near = figure(400, 0), figure(30, 0)
    far[4], near[7] = figure()[4], figure()[7]
    for predicted in ([far, near], [near, far]):
        found = pose.pose_counts(predicted, [figure()])
        assert found.correct.sum() == 1
        assert found.correct[7] == 1


def test_unmatched_figures():
    both = pose.pose_counts([figure()], [figure(), figure(300)])
    assert (both.pck, both.num_true, both.num_predicted) == (0.5, 2, 1)
    extra = pose.pose_counts([figure(), figure(300)], [figure()])
    assert (extra.pck, extra.num_predicted) == (1, 2)
    assert pose.pose_counts([], [figure()]).pck == 0


def test_figures_without_a_reference_length_are_counted_apart():
    dot = np.zeros((18, 3))
    dot[3] = 5, 5, 1
    counts = pose.pose_counts([figure()], [figure(), dot])
    assert (counts.num_true, counts.num_skipped, counts.pck) == (1, 1, 1)
    hipless = figure()
    hipless[pose.LEFT_HIP, 2] = 0
    assert pose.pose_counts([figure()], [hipless], normaliser="torso").num_skipped == 1


def test_pictures_pool_by_joint():
    right, wrong = pose.pose_counts([figure()], [figure()]), pose.pose_counts([], [figure(), figure(200)])
    assert (right + wrong).pck == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "predicted, truth, settings, message",
    [
        (np.zeros((1, 17, 3)), [figure()], {}, r"predicted joints have shape \(1, 17, 3\)"),
        (figure(), [figure()], {}, r"expected \(figures, 18, 3\)"),
        ([np.full((18, 3), np.nan)], [figure()], {}, "NaN or infinite where visible"),
        ([figure()], [figure()], {"alpha": 0}, "must be positive"),
        ([figure()], [figure()], {"normaliser": "neck"}, "known: bbox, torso, head"),
    ],
)
def test_bad_poses_are_named(predicted, truth, settings, message):
    with pytest.raises(ValueError, match=message):
        pose.pose_counts(predicted, truth, **settings)


def test_no_labelled_joint():
    counts = pose.pose_counts([figure()], [])
    with pytest.raises(ValueError, match="no labelled joint"):
        _ = counts.pck


def test_different_protocols_do_not_pool():
    one, two = (pose.pose_counts([figure()], [figure()], alpha=a) for a in (0.1, 0.2))
    with pytest.raises(ValueError, match="cannot be pooled"):
        _ = one + two


@pytest.mark.parametrize("rows, columns", [(1, 1), (3, 3), (2, 5), (5, 2), (4, 4), (0, 3)])
def test_assignment_equals_brute_force(rows, columns):
    rng = np.random.default_rng(rows + 10 * columns)
    for _ in range(20):
        costs = rng.normal(size=(rows, columns)).round(1)
        pairs = assign(costs)
        short, long = sorted((rows, columns))
        wide = costs if rows <= columns else costs.T
        best = min(
            sum(wide[i, j] for i, j in enumerate(p)) for p in itertools.permutations(range(long), short)
        )
        assert len(pairs) == len({i for i, _ in pairs}) == len({j for _, j in pairs}) == short
        assert sum(costs[i, j] for i, j in pairs) == pytest.approx(best)


def test_assignment_wants_finite_costs():
    with pytest.raises(ValueError, match="expected a finite"):
        assign(np.array([[np.nan]]))


def test_pckh_is_measured_in_the_data_sets_heads():
    truth, predicted = figure(), figure()
    predicted[4, 0] += 20
    predicted[5, 0] += 21
    head = pose.mpii_head_length((0, 0, 40, 160 / 3))
    assert head == pytest.approx(40)  # 0.6 times the diagonal, 66.7
    counts = pose.pose_counts([predicted], [truth], alpha=0.5, normaliser="head", head_px=[head])
    assert counts.pck == pytest.approx(17 / 18)
    skipped = pose.pose_counts([predicted], [truth], alpha=0.5, normaliser="head", head_px=[0])
    assert (skipped.num_true, skipped.num_skipped) == (0, 1)


def test_heads_are_given_where_they_are_needed_and_only_there():
    with pytest.raises(ValueError, match="head_px not given"):
        pose.pose_counts([figure()], [figure()], normaliser="head")
    with pytest.raises(ValueError, match="normaliser is 'bbox' and head_px given"):
        pose.pose_counts([figure()], [figure()], head_px=[3.0])
    with pytest.raises(ValueError, match=r"expected 1 finite lengths of 0 or more"):
        pose.pose_counts([figure()], [figure()], normaliser="head", head_px=[-1.0])
    with pytest.raises(ValueError, match="give head_px"):
        pose.reference_length(figure(), "head")
