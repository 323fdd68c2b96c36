"""Do rays meet primitives where the formulas of solid geometry say?"""

from __future__ import annotations

import numpy as np
import pytest

from unicon.data.scenes.raycast import Camera, build_table, cast, sample_axis, surface
from unicon.data.scenes.shading import look_at
from unicon.data.scenes.shapes import (
    BOX,
    CAPSULE,
    ELLIPSOID,
    FRUSTUM,
    GROUND,
    PYRAMID,
    TORUS,
    WEDGE,
    Material,
    Primitive,
    frame_along,
    rotation_x,
)


def view(primitive: Primitive, camera: Camera):
    table = build_table([primitive], [0], [0], [0])
    hits = cast(table, camera, fine=False)
    return table, hits, surface(table, camera, hits)


def test_the_depth_of_the_ground_is_that_of_a_plane():
    height, pitch = 1.5, 0.4
    camera = look_at(np.array([0, height, 0]), np.array([0, height - np.sin(pitch), np.cos(pitch)]), 40.0, 64)
    _, hits, _ = view(Primitive(GROUND, np.eye(3), np.zeros(3), (1, 1, 1), Material()), camera)
    v = sample_axis(camera, fine=False)[:, None] * np.ones((1, 64))
    down = np.sin(pitch) + v * np.cos(pitch)  # of the ray with z = 1 in camera axes
    expected = np.where(down > 0, height / np.where(down > 0, down, 1), np.inf)
    near = expected < 50
    np.testing.assert_allclose(hits.z[near], expected[near], rtol=2e-4)


def test_the_depth_of_a_sphere_is_analytic_and_stays_so_far_away():
    for distance in (2.0, 30.0):
        camera = Camera(np.zeros(3), np.eye(3), 40.0 * distance, 65)
        _, hits, _ = view(
            Primitive(ELLIPSOID, np.eye(3), np.array([0, 0, distance]), (0.5,) * 3, Material()), camera
        )
        u, v = np.meshgrid(*[sample_axis(camera, fine=False).astype(float)] * 2)
        a, b, c = u * u + v * v + 1, -distance, distance**2 - 0.25
        inside = b * b - a * c > 1e-4 * distance
        expected = (-b - np.sqrt(np.maximum(b * b - a * c, 0))) / a
        np.testing.assert_allclose(hits.z[inside], expected[inside], atol=2e-4)


def box_gap(p, size):
    return np.abs(np.abs(p) / np.array(size)[:, None]).max(0) - 1


def ellipsoid_gap(p, size):
    return np.linalg.norm(p / np.array(size)[:, None], axis=0) - 1


def torus_gap(p, size):
    return np.hypot(np.hypot(p[0], p[2]) - size[0], p[1]) - size[1]


def capsule_gap(p, size):
    return np.linalg.norm([p[0], p[1] - np.clip(p[1], 0, size[2]), p[2]], axis=0) - size[0]


def frustum_gap(p, size):
    return np.maximum(np.abs(p[1]) - size[2], np.hypot(p[0], p[2]) - (0.3 - p[1] / 3))


def wedge_gap(p, size):
    return np.maximum.reduce([-p[1], np.abs(p[2]) - size[2], np.abs(p[0]) / size[0] + p[1] / size[1] - 1])


def pyramid_gap(p, size):
    return np.maximum(-p[1], np.maximum(np.abs(p[0]), np.abs(p[2])) / size[0] + p[1] / size[1] - 1)


# Size, and a function of local points (3, N) that is 0 on the surface and positive outside.
GAPS = {
    BOX: ((0.4, 0.3, 0.5), box_gap),
    ELLIPSOID: ((0.5, 0.3, 0.4), ellipsoid_gap),
    TORUS: ((0.4, 0.12, 1.0), torus_gap),
    CAPSULE: ((0.2, 0.2, 0.5), capsule_gap),
    FRUSTUM: ((0.4, 0.2, 0.3), frustum_gap),
    WEDGE: ((0.4, 0.5, 0.3), wedge_gap),
    PYRAMID: ((0.4, 0.5, 0.4), pyramid_gap),
}


@pytest.mark.parametrize("kind", list(GAPS))
def test_hit_points_lie_on_the_surface_and_normals_point_out(kind):
    size, gap = GAPS[kind]
    turn = rotation_x(0.7) @ frame_along(np.array([0.3, 1.0, -0.4]))
    camera = Camera(np.zeros(3), np.eye(3), 60.0, 64)
    _, hits, hit = view(Primitive(kind, turn, np.array([0.1, -0.2, 2.0]), size, Material()), camera)
    assert len(hit.z) > 150
    assert np.abs(gap(hit.local.astype(float), size)).max() < 5e-3
    towards = -(hit.world * hit.normal).sum(0)  # the camera is at the origin
    assert np.quantile(towards, 0.01) > -0.02
    np.testing.assert_allclose(np.linalg.norm(hit.normal, axis=0), 1, atol=1e-4)
    outside = hit.local + 0.02 * hit.local_normal
    assert (gap(outside.astype(float), size) > 0).mean() > 0.98


def test_projection_is_the_inverse_of_the_rays():
    camera = look_at(np.array([1.0, 2, 3]), np.array([0.0, 0, 0]), 50.0, 32, roll=0.1)
    point = np.array([[0.2, 0.1, -0.3]])
    (pixel,), (z,) = camera.project(point)
    tangent = (pixel - 15.5) / 50.0
    back = camera.position + camera.rotation @ np.array([*tangent, 1.0]) * z
    np.testing.assert_allclose(back, point[0], atol=1e-9)
    assert np.linalg.det(camera.rotation) == pytest.approx(1)
