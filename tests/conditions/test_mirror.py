"""Does the estimate of a mirror image, seen in a mirror, say what an estimate of the picture says?"""

from __future__ import annotations

import numpy as np

from tests.conditions.test_drawings import person
from unicon.conditions.mirror import seen_in_a_mirror
from unicon.conditions.normals import mirrored, normal_to_map
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_reading import read_pose
from unicon.conditions.pose_sides import mirror_joints


def test_values_are_turned_round():
    maps = np.random.default_rng(0).random((2, 3, 4, 5, 3), dtype=np.float32)
    assert np.array_equal(seen_in_a_mirror(maps, "depth"), maps[:, :, :, ::-1])


def test_normals_look_the_other_way():
    one, other = (normal_to_map(np.broadcast_to(np.float32((x, 0, 0.8)), (4, 5, 3))) for x in (0.6, -0.6))
    np.testing.assert_allclose(seen_in_a_mirror(one[None], "normal")[0], other, atol=1e-6)


def test_where_there_is_no_surface_there_is_none_in_a_mirror():
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[0] = (200, 10, 0)
    assert mirrored(picture).tolist() == [[[55, 10, 0]] * 3, [[0, 0, 0]] * 3]


def test_poses_exchange_left_and_right():
    joints = person()
    drawn = draw_pose([joints], (128, 128)).astype(np.float32) / 255
    (found,) = read_pose(seen_in_a_mirror(drawn[None], "pose")[0])
    expected = mirror_joints(joints, 128)
    seen = (found[:, 2] > 0) & (expected[:, 2] > 0)
    assert seen.sum() >= 14
    assert np.abs(found - expected)[seen, :2].max() < 3
