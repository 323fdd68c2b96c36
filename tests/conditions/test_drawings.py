"""Do maps and what they stand for turn into each other and back?"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from unicon.conditions.edges import canny, canny_strength, edges_to_map, map_to_edges, strength_to_map
from unicon.conditions.normals import map_to_normal, normal_to_map
from unicon.conditions.palettes import depth_in_colour, depth_to_map, map_to_depth, unclipped
from unicon.conditions.pose import LIMBS, draw_pose
from unicon.conditions.pose_reading import read_pose

STANDING = np.array([
    (64, 26), (64, 38), (52, 38), (44, 52), (38, 66), (76, 38), (84, 52), (90, 66), (57, 68),
    (55, 90), (53, 112), (71, 68), (73, 90), (75, 112), (60, 22), (68, 22), (55, 25), (73, 25),
], float)  # fmt: skip


def person(shift: float = 0.0, scale: float = 1.0, hidden: tuple[int, ...] = ()) -> np.ndarray:
    joints = np.concatenate([STANDING * scale + (shift, 0), np.ones((18, 1))], axis=1)
    joints[list(hidden), 2] = 0
    return joints


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 0.02, picture.shape)
    return np.clip(cv2.GaussianBlur(picture.astype(np.float32) / 255, (0, 0), sigma) + noise, 0, 1)


@pytest.mark.parametrize("sigma", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("hidden", [(), (3, 4), (0, 14, 15, 16, 17)])
def test_a_drawn_person_is_read_back_within_two_pixels(sigma, hidden):
    joints = person(hidden=hidden)
    picture = draw_pose([joints], 128)
    (read,) = read_pose(blurred(picture, sigma) if sigma else picture)
    seen = joints[:, 2] > 0
    assert (read[seen, 2] > 0).mean() >= 0.94
    both = seen & (read[:, 2] > 0)
    assert np.hypot(*(read - joints)[both, :2].T).max() < 2
    assert not read[~seen, 2].any()


def test_two_people_are_kept_apart():
    people = [person(-30, 0.8), person(38, 0.8)]
    found = read_pose(draw_pose(people, 128))
    assert len(found) == 2
    for true in people:
        gaps = [np.hypot(*(read - true)[read[:, 2] > 0, :2].T).max() for read in found]
        assert min(gaps) < 2


def test_other_sizes_and_an_empty_drawing():
    joints = person(scale=2.0)
    (read,) = read_pose(draw_pose([joints], (256, 300)))
    assert np.hypot(*(read - joints)[:, :2].T).max() < 2
    assert read_pose(draw_pose([], 64)) == []
    assert draw_pose([], 64).max() == 0


def test_hidden_joints_take_their_limbs_with_them():
    wrist = draw_pose([person()], 128).astype(int) - draw_pose([person(hidden=(4,))], 128)
    rows, columns = np.nonzero(np.abs(wrist).sum(-1))
    assert len(LIMBS) == 17
    assert columns.max() < 50
    assert rows.min() > 48


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: draw_pose([np.zeros((17, 3))], 64), r"joints have shape \(17, 3\); expected \(18, 3\)"),
        (lambda: draw_pose([np.full((18, 3), np.nan)], 64), "joints hold values that are not finite"),
        (lambda: draw_pose([], 4), "expected at least 8 x 8 pixels"),
        (lambda: read_pose(np.zeros((8, 8))), r"pose map has shape \(8, 8\)"),
        (lambda: depth_to_map(np.zeros((4, 4, 3))), r"depth has shape \(4, 4, 3\)"),
        (lambda: depth_to_map(np.full((4, 4), np.inf)), "depth holds NaN or infinite values"),
        (
            lambda: map_to_depth(np.full((4, 4, 3), 2.0)),
            "depth map holds values from 2 to 2; expected 0 to 1",
        ),
        (lambda: map_to_depth(np.zeros((4, 4, 3), int)), "depth map has values of type int64"),
        (lambda: edges_to_map(np.zeros((4, 4))), "edges are float64"),
        (lambda: map_to_edges(np.zeros((4, 4, 3)), threshold=1.0), "threshold is 1.0; expected between"),
        (lambda: canny(np.zeros((4, 4, 3)), low=200, high=100), "expected 0 <= low <= high"),
    ],
)
def test_bad_input_says_what_is_wrong(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_a_depth_map_is_linear_in_depth_near_is_bright_and_comes_back():
    depth = np.linspace(1, 5, 400).reshape(20, 20)
    picture = depth_to_map(depth)
    assert picture.shape == (20, 20, 3)
    assert picture.dtype == np.float32
    assert picture[0, 0, 0] == 1
    assert picture[-1, -1, 0] == 0
    back = map_to_depth(picture)
    inner = (back > 0) & (back < 1)
    scale, shift = np.polyfit(back[inner], depth[inner], 1)
    np.testing.assert_allclose(scale * back[inner] + shift, depth[inner], atol=1e-4)
    np.testing.assert_allclose(map_to_depth(np.round(picture * 255).astype(np.uint8)), back, atol=2e-3)


def test_what_is_not_seen_of_depth_is_black_and_takes_no_range():
    depth = np.linspace(1, 5, 400).reshape(20, 20)
    seen = np.arange(20)[:, None] >= np.full(20, 8)
    drawn = depth_to_map(np.where(seen, depth, np.nan), seen)
    np.testing.assert_array_equal(drawn[8:], depth_to_map(depth[8:]))
    assert not drawn[:8].any()
    assert not depth_to_map(depth, np.zeros((20, 20), bool)).any()
    told_apart = unclipped(np.where(seen, depth, 0), seen)
    np.testing.assert_array_equal(told_apart[8:], unclipped(depth[8:]))
    assert not told_apart[:8].any()


def test_a_flat_depth_is_a_map_without_nan():
    assert np.isfinite(depth_to_map(np.full((8, 8), 3.0))).all()


def test_depth_in_colour_is_bright_where_near():
    colours = depth_in_colour(np.linspace(1, 5, 400).reshape(20, 20)).astype(int)
    assert colours.dtype.kind == "i"
    assert (np.diff(colours.sum(-1)[:, 10]) <= 0).all()


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_lines_are_read_back_thin_and_in_place(sigma):
    edges = np.zeros((64, 64), bool)
    edges[10, 5:60] = edges[5:60, 40] = True
    edges[np.arange(20, 50), np.arange(5, 35)] = True
    picture = edges_to_map(edges)
    read = map_to_edges(cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture)
    far_true = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 3)
    far_read = cv2.distanceTransform((~read).astype(np.uint8), cv2.DIST_L2, 3)
    assert far_true[read].max() <= 1.5
    assert (far_read[edges] <= 1.5).mean() > 0.97
    assert read.sum() < 1.3 * edges.sum()


def test_specks_are_dropped_and_black_stays_black():
    edges = np.zeros((32, 32), bool)
    edges[5, 5] = True
    assert not map_to_edges(edges_to_map(edges)).any()
    assert not map_to_edges(np.zeros((32, 32, 3))).any()


def test_normals_come_back_and_mid_grey_has_none():
    vectors = np.random.default_rng(0).normal(size=(6, 5, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    stored = np.round(normal_to_map(vectors) * 255).astype(np.uint8)
    np.testing.assert_allclose(map_to_normal(stored), vectors, atol=0.01)
    for grey in (127, 128):
        assert not map_to_normal(np.full((4, 4, 3), grey, np.uint8)).any()


def test_a_line_of_two_equal_rows_is_read_as_one():
    for axis in (0, 1):
        line = np.zeros((40, 40, 3), np.float32)
        line[20:22, 5:35] = 1
        read = map_to_edges(line if axis == 0 else line.swapaxes(0, 1))
        assert set(read.sum(axis)[8:32].tolist()) == {1}


def test_canny_reads_red_green_and_blue_in_this_order():
    """Red is bright enough on black, blue is not."""
    for colour, is_seen in (((255, 0, 0), True), ((0, 0, 255), False)):
        picture = np.zeros((40, 40, 3), np.uint8)
        picture[10:30, 10:30] = colour
        assert canny(picture).any() == is_seen


def test_canny_finds_the_border_of_a_square():
    image = np.zeros((32, 32, 3), np.uint8)
    image[8:24, 8:24] = 255
    found = canny(image)
    assert found[8, 10:22].any()
    assert not found[14:18, 14:18].any()
    assert np.array_equal(found, canny(image / 255.0))


def test_canny_at_every_threshold_is_stronger_where_the_step_is_higher():
    picture = np.zeros((60, 90, 3), np.uint8)
    picture[:, 30:60], picture[:, 60:] = 60, 255
    strength = canny_strength(picture, sigma=1.0)
    middle = strength[30]
    low, high = middle[26:34].max(), middle[56:64].max()
    assert high == pytest.approx(1, abs=0.02)
    assert low == pytest.approx(60 / 195, abs=0.03)
    assert np.count_nonzero(middle) == 2  # one pixel wide
    assert strength_to_map(strength).shape == (60, 90, 3)
    assert not canny_strength(np.full((9, 9, 3), 7, np.uint8)).any()
