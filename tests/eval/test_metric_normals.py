"""Are angles between normals, and normals of depth, those of geometry?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.normals import (
    Intrinsics,
    angles,
    errors_of,
    normal_errors,
    normals_from_depth,
    over_pictures,
)

CAMERA = Intrinsics(fx=60, fy=50, cx=15.5, cy=11.5)


def turned(degrees):
    """(1, n, 3) vectors at these angles from the z axis."""
    turn = np.radians(np.asarray(degrees, dtype=np.float64))
    return np.stack([np.sin(turn), np.zeros_like(turn), np.cos(turn)], -1)[None]


def test_hand_computed_errors():
    found = normal_errors(turned([0, 6, 10, 40]), turned([0, 0, 0, 0]))
    assert (found.mean, found.median) == pytest.approx((14.0, 8.0))
    assert found.rmse == pytest.approx(np.sqrt((36 + 100 + 1600) / 4))
    assert (found.under_5, found.under_7_5, found.under_11_25) == (0.25, 0.5, 0.75)
    assert (found.under_22_5, found.under_30) == (0.75, 0.75)
    assert (found.num_pixels, found.num_pictures) == (4, 1)


def test_angles_equal_the_arc_cosine_and_ignore_lengths():
    p, g = np.random.default_rng(0).normal(size=(2, 6, 5, 3))
    cosine = (p * g).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(g, axis=-1)
    np.testing.assert_allclose(angles(7 * p, g), np.degrees(np.arccos(cosine)).ravel(), rtol=1e-9)
    assert angles(turned([1e-7]), turned([0]))[0] == pytest.approx(1e-7, rel=1e-6)  # arccos gives 0


def test_only_pixels_with_a_true_direction_count():
    g = turned([0, 0, 0])
    g[0, 1], g[0, 2] = 0, np.nan
    assert angles(turned([3, 50, 50]), g) == pytest.approx([3])
    mask = np.array([[True, False, True]])
    assert len(angles(turned([3, 3, 3]), turned([0, 0, 0]), mask)) == 2


def test_pictures_weigh_the_same_or_by_their_pixels():
    pictures = [np.array([10.0]), np.array([0.0, 0.0, 4.0])]
    assert over_pictures(pictures).mean == pytest.approx((10 + 4 / 3) / 2)
    assert over_pictures(pictures, "pixels").mean == pytest.approx(14 / 4)
    assert over_pictures(pictures, "pixels").median == pytest.approx(2)
    assert over_pictures(pictures).num_pixels == over_pictures(pictures, "pixels").num_pixels == 4


def depth_of_plane(normal, offset, shape=(24, 32)):
    """z of the rays that meet n . X = offset."""
    rows, columns = np.indices(shape)
    rays = np.stack([(columns - CAMERA.cx) / CAMERA.fx, (rows - CAMERA.cy) / CAMERA.fy, np.ones(shape)], -1)
    return offset / (rays @ normal)


@pytest.mark.parametrize("normal", [(0, 0, -1), (0.3, -0.2, -0.9), (0.0, -0.8, -0.6)])
def test_a_planes_normal_is_exact(normal):
    unit = np.array(normal) / np.linalg.norm(normal)
    z = depth_of_plane(unit, -3.0)
    assert (z > 0).all()
    np.testing.assert_allclose(normals_from_depth(z, CAMERA), np.broadcast_to(unit, (24, 32, 3)), atol=1e-9)


def test_a_spheres_normals_point_from_its_centre():
    camera = Intrinsics.from_view(96, 96, 40)
    rows, columns = np.indices((96, 96))
    rays = np.stack(
        [(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones((96, 96))], -1
    )
    centre, radius = np.array([0.1, -0.1, 5.0]), 1.2
    half, square = rays @ centre, (rays**2).sum(-1)
    root = half**2 - square * (centre @ centre - radius**2)
    z = np.where(root > 0, (half - np.sqrt(np.maximum(root, 0))) / square, np.nan)
    found = normals_from_depth(z, camera)
    inner = root > 0.3 * root.max()
    expected = rays * z[..., None] - centre
    assert angles(found, expected, inner).max() < 1.0


def test_what_has_no_depth_has_no_normal():
    z = depth_of_plane(np.array([0, 0, -1.0]), -3.0)
    z[10, 10] = 0
    found = normals_from_depth(z, CAMERA)
    without = np.argwhere(~found.any(-1)).tolist()
    assert sorted(without) == [[9, 10], [10, 9], [10, 10], [10, 11], [11, 10]]


def test_the_angle_of_view_gives_the_focal_length():
    camera = Intrinsics.from_view(10, 20, 90)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((10, 10, 9.5, 4.5))


def test_bad_input_is_refused():
    flat = turned([0, 0])
    with pytest.raises(ValueError, match=r"predicted normals are \(1, 2, 3\), true ones \(1, 1, 3\)"):
        angles(flat, turned([0]))
    with pytest.raises(ValueError, match="no valid pixel"):
        angles(flat, 0 * flat)
    with pytest.raises(ValueError, match="predicted normals are zero or NaN at 2 of 2 valid pixels"):
        angles(0 * flat, flat)
    with pytest.raises(ValueError, match="mask is float64"):
        angles(flat, flat, np.ones((1, 2)))
    with pytest.raises(ValueError, match="no angles"):
        errors_of(np.array([]))
    with pytest.raises(ValueError, match="no pictures"):
        over_pictures([])
    with pytest.raises(ValueError, match="weigh is 'rooms'; known: pictures, pixels"):
        over_pictures([np.ones(2)], "rooms")
    with pytest.raises(ValueError, match="focal lengths must be positive"):
        Intrinsics(fx=0, fy=1, cx=0, cy=0)
    with pytest.raises(ValueError, match="the angle of view is 180"):
        Intrinsics.from_view(4, 4, 180)
    with pytest.raises(ValueError, match=r"depth has shape \(1, 4\)"):
        normals_from_depth(np.ones((1, 4)), CAMERA)
    with pytest.raises(ValueError, match="no depth is finite and positive"):
        normals_from_depth(np.zeros((4, 4)), CAMERA)


def test_a_prediction_without_a_direction_may_count_as_a_guess():
    truth = np.zeros((2, 3, 3))
    truth[..., 2] = 1
    predicted = truth.copy()
    predicted[0, 0] = 0
    with pytest.raises(ValueError, match="zero or NaN at 1 of 6 valid pixels"):
        angles(predicted, truth)
    np.testing.assert_allclose(angles(predicted, truth, guess=True), [90, 0, 0, 0, 0, 0], atol=1e-9)
