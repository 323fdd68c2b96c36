"""Do several estimates of one map become the map, and the doubt, that they have together?"""

from __future__ import annotations

import numpy as np
import pytest

from tests.conditions.test_drawings import person
from unicon.conditions.ensembles import combined
from unicon.conditions.normals import map_to_normal, normal_to_map
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_ensembles import agreed_people
from unicon.conditions.pose_reading import read_pose


def drawn(people, size=128):
    return draw_pose(people, size).astype(np.float32) / 255


def moved(joints, number, right):
    joints = joints.copy()
    joints[number, 0] += right
    return joints


def test_values_become_their_median_or_of_edges_their_mean_and_their_deviation():
    members = np.stack([np.full((2, 2, 3), value, np.float32) for value in (0.1, 0.2, 0.9)])
    both = combined(members, "depth")
    assert both.map == pytest.approx(0.2)
    assert both.uncertainty == pytest.approx(np.std([0.1, 0.2, 0.9], ddof=1))
    members[0, ..., 0] = 0.5  # of grey maps the grey counts: 0.233 is then the middle one
    assert combined(members, "depth").map == pytest.approx((0.5 + 0.1 + 0.1) / 3)
    assert combined(members, "appearance").map[0, 0] == pytest.approx([0.5, 0.2, 0.2])
    assert combined(members, "edge").map == pytest.approx(members.mean())
    one = combined(members[:1], "appearance")
    assert np.array_equal(one.map, members[0])
    assert not one.uncertainty.any()


def test_normals_stay_unit_vectors():
    vectors = np.array([(1, 0, 0), (0, 1, 0), (0, 0.6, 0.8)], np.float32)
    members = np.stack([normal_to_map(v[None, None]) for v in vectors])
    found = map_to_normal(combined(members, "normal").map)[0, 0]
    np.testing.assert_allclose(found, (0, 1, 0), atol=1e-6)
    split = np.stack([normal_to_map(v[None, None]) for v in np.array([(0, 0, 1), (0.6, 0, 0.8)], np.float32)])
    assert np.linalg.norm(map_to_normal(combined(split, "normal").map)) == pytest.approx(1, abs=1e-5)


def test_a_pose_keeps_limbs_that_lie_elsewhere_in_every_estimate():
    """The median of the drawings loses the wrist that is never twice in one place."""
    estimates = [moved(person(), 4, 7.0 * step) for step in (-1, 0, 1)]
    members = np.stack([drawn([joints]) for joints in estimates])
    (lost,) = read_pose(np.median(members, axis=0))
    assert lost[4, 2] == 0
    both = combined(members, "pose")
    (agreed,), (read,) = both.people, read_pose(both.map)
    assert np.hypot(*(read - person())[4, :2]) < 2
    assert agreed.joints[:, 2] == pytest.approx(1)
    assert agreed.spread_px[4] == pytest.approx(7 * np.sqrt(2 / 3), abs=1.5)
    assert agreed.spread_px[13] < 1
    assert both.uncertainty.shape == (128, 128)


def test_a_joint_is_there_in_half_of_the_estimates_and_nobody_is_invented():
    estimates = [
        [person(hidden=(4, 7))],
        [person(hidden=(7,))],
        [person()],
        [person(hidden=(4, 7)), person(40, 0.5)],
    ]
    (agreed,) = agreed_people(estimates)
    assert agreed.joints[4] == pytest.approx([38, 66, 0.5])
    assert agreed.joints[7] == pytest.approx([0, 0, 0])
    assert agreed_people([[], []]) == agreed_people([[person()], [], []]) == []


def test_people_are_matched_whatever_their_order():
    left, right = person(-30, 0.8), person(38, 0.8)
    found = agreed_people([[left, right], [right, moved(left, 4, 3)], [right], [left]])
    assert [round(each.joints[1, 0]) for each in found] in ([21, 89], [89, 21])
    assert all(each.joints[:, 2] == pytest.approx(0.75) for each in found)


def test_a_large_drawing_is_read_smaller():
    joints = person(scale=10.0)
    (read,) = read_pose(draw_pose([joints], (1280, 1300)))
    assert np.hypot(*(read - joints)[:, :2].T).max() < 20  # 2 of 128
    read, none = combined(np.stack([drawn([joints], 1280)] * 2), "pose").people or [], np.zeros((2, 9, 9, 3))
    assert len(read) == 1
    assert not combined(none, "pose").map.any()
