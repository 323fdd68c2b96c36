"""Is a mirrored pose that of the mirrored person?"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.conditions.test_drawings import person
from unicon.conditions.pose import JOINT_NAMES, draw_pose
from unicon.conditions.pose_reading import read_pose
from unicon.conditions.pose_sides import MIRRORED_JOINT, MIRRORED_LIMB, mirror_joints, swap_sides


def bent(seed: int, scale: float) -> np.ndarray:
    """A person that is not symmetric, with a few joints hidden."""
    rng = np.random.default_rng(seed)
    joints = person(scale=scale)
    joints[:, :2] += rng.normal(0, 5 * scale, (18, 2))
    joints[rng.integers(0, 18, 3), 2] = 0
    return joints


def test_partners_are_each_others():
    for partners in (MIRRORED_JOINT, MIRRORED_LIMB):
        assert [partners[partner] for partner in partners] == list(range(len(partners)))
    assert JOINT_NAMES[MIRRORED_JOINT[JOINT_NAMES.index("left_ear")]] == "right_ear"
    assert MIRRORED_JOINT[0] == 0


def test_mirrored_joints_are_mirrored_twice_the_same():
    joints = bent(0, 1.0)
    once = mirror_joints(joints, 128)
    assert np.allclose(mirror_joints(once, 128), joints)
    left, right = JOINT_NAMES.index("left_wrist"), JOINT_NAMES.index("right_wrist")
    assert np.allclose(once[left], [127 - joints[right, 0], *joints[right, 1:]])


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_mirrored_drawing_is_the_drawing_of_mirrored_joints(size):
    """But for single pixels where discs and limbs of one hue blend into each other."""
    for seed in range(5):
        people = [bent(seed, size / 128)]
        drawn = swap_sides(draw_pose(people, size))[:, ::-1].astype(int)
        wanted = draw_pose([mirror_joints(joints, size) for joints in people], size).astype(int)
        lit = wanted.max(-1) > 0
        wrong = np.abs(drawn - wanted).max(-1) > 64
        flipped_alone = np.abs(draw_pose(people, size)[:, ::-1].astype(int) - wanted).max(-1) > 64
        assert wrong.sum() < 0.06 * lit.sum()
        assert flipped_alone.sum() > 0.3 * lit.sum()


def test_it_is_read_as_the_mirrored_person():
    joints = person()
    joints[:, 0] += np.linspace(-6, 6, 18)  # not symmetric
    (read,) = read_pose(swap_sides(draw_pose([joints], 128))[:, ::-1])
    seen = read[:, 2] > 0
    assert seen.sum() >= 17
    assert np.hypot(*(read - mirror_joints(joints, 128))[seen, :2].T).max() < 2


def test_drawings_that_were_compressed_or_blurred_are_swapped_too():
    joints = bent(1, 2.0)
    drawn = draw_pose([joints], 256)
    wanted = draw_pose([mirror_joints(joints, 256)], 256)[:, ::-1].astype(float)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 90])[1], cv2.IMREAD_COLOR)
    for seen in (jpeg, cv2.GaussianBlur(drawn, (0, 0), 0.7)):
        before, after = (np.abs(picture - wanted).mean() for picture in (seen, swap_sides(seen)))
        assert after < 0.5 * before


def test_what_is_not_of_the_pose_stays():
    drawn = draw_pose([person()], 128)
    drawn[2:6, 2:6] = 255  # as faces are drawn
    assert (swap_sides(drawn)[2:6, 2:6] == 255).all()
    assert not swap_sides(np.zeros((64, 64, 3), np.uint8)).any()


def test_a_drawing_of_another_kind():
    with pytest.raises(ValueError, match="0% of this drawing has OpenPose's colours"):
        swap_sides(np.full((64, 64, 3), 200, np.uint8))
    with pytest.raises(ValueError, match="expected \\(18, 3\\)"):
        mirror_joints(np.zeros((17, 3)), 64)
