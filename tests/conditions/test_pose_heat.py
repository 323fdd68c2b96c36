"""Are people found again in the heat of their own joints and limbs?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.pose import pck
from unicon.conditions.pose_heat import heat_of, read_heat
from unicon.data.scenes.figures import ACTIVITIES, draw_limbs, openpose_joints, skeleton

SIDE = 64


def person(seed: int, left: float, height: float) -> np.ndarray:
    """Joints (18, 3) of a figure seen from the front, in cells; `left` of its middle, feet at the bottom."""
    rng = np.random.default_rng(seed)
    activity = sorted(ACTIVITIES)[seed % len(ACTIVITIES)]
    places = openpose_joints(skeleton(draw_limbs(rng, activity), woman=False))
    x, y = left + height * places[:, 0], SIDE - 6 - height * places[:, 1]
    return np.stack([x, y, np.ones(18)], axis=1)


@pytest.mark.parametrize("seed", range(6))
def test_a_person_is_found_again(seed):
    truth = person(seed, 32, 45)[None]
    found = read_heat(*heat_of(truth, (SIDE, SIDE)))
    assert len(found) == 1
    assert pck(np.array(found), truth, alpha=0.05) >= 16 / 18


def test_two_people_are_told_apart():
    truth = np.stack([person(1, 18, 40), person(4, 46, 44)])
    found = np.array(read_heat(*heat_of(truth, (SIDE, SIDE))))
    assert len(found) == 2
    assert pck(found, truth, alpha=0.05) > 0.85
    shifts = np.abs(found[:, None, :, 0] - truth[None, :, :, 0]).mean(-1)
    assert (shifts.min(0) < 3).all()  # each is somebody: no one has the other's limbs


def test_hidden_joints_leave_no_heat_and_are_not_invented():
    truth = person(0, 32, 45)
    truth[[4, 7, 10], 2] = 0
    joints, limbs = heat_of(truth[None], (SIDE, SIDE))
    assert (joints[[4, 7, 10]] == 0).all()
    assert (limbs[3] == 0).all()  # right elbow to right wrist
    (found,) = read_heat(joints, limbs)
    assert (found[[4, 7, 10], 2] == 0).all()


def test_heat_is_one_at_a_joint_and_along_a_limb():
    truth = np.zeros((1, 18, 3))
    truth[0, 2], truth[0, 3] = (10, 20, 1), (30, 20, 1)
    joints, limbs = heat_of(truth, (40, 48))
    assert joints.shape == (18, 40, 48)
    assert joints[2, 20, 10] == joints[3, 20, 30] == 1
    np.testing.assert_allclose(limbs[2, 20, 10:31], 1, rtol=1e-6)
    assert limbs[2, 23, 20] < 0.05
    assert joints.sum() == pytest.approx(2 * 2 * np.pi * 1.2**2, rel=1e-3)


def test_nobody_is_seen_in_faint_heat():
    joints, limbs = heat_of(person(2, 32, 45)[None], (SIDE, SIDE))
    assert read_heat(0.05 * joints, 0.05 * limbs) == []
    assert read_heat(np.zeros_like(joints), np.zeros_like(limbs)) == []


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"heat has shapes \(18, 4, 4\) and \(18, 4, 4\); expected"):
        read_heat(np.zeros((18, 4, 4)), np.zeros((18, 4, 4)))
