"""Where does a ray meet a primitive, and what is the surface normal there?

Every primitive lives in its own frame (axis y up, centre at 0). Rays come as ``q + t d`` with ``q`` already
moved close to the primitive, which keeps float32 exact enough at any distance. Leaves out cameras and
materials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

ELLIPSOID, BOX, FRUSTUM, CAPSULE, TORUS, WEDGE, PYRAMID, ROOM, GROUND = range(9)
INF = np.float32(np.inf)
Rays = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, slots=True)
class Material:
    """How a surface looks: a texture between two colours, and its shine."""

    texture: str = "plain"
    colour: tuple[float, ...] = (0.7, 0.7, 0.7)
    second: tuple[float, ...] = (0.5, 0.5, 0.5)
    scale_m: float = 0.2
    specular: float = 0.1
    gloss: float = 20.0
    emission: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)
    photo: int = -1


@dataclass(frozen=True, slots=True)
class Primitive:
    """One shape: its kind, place (rotation is world from local), size and material."""

    kind: int
    rotation: np.ndarray
    centre: np.ndarray
    size: tuple[float, ...]
    material: Material


@dataclass(slots=True)
class Assembly:
    """Primitives that make up one thing, in the frame of that thing (y up, standing on y = 0, front +z)."""

    parts: list[Primitive] = field(default_factory=list)

    def add(self, kind: int, centre, size, material: Material, rotation: np.ndarray | None = None) -> None:
        """Append one primitive."""
        turn = np.eye(3) if rotation is None else rotation
        self.parts.append(Primitive(kind, turn, np.asarray(centre, float), tuple(map(float, size)), material))

    def limb(self, start, end, radius: float, radius_end: float, material: Material) -> None:
        """A capsule from ``start`` to ``end``, tapering from one radius to the other."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        if radius_end > radius:  # the solver assumes that the first end is the thick one
            start, end, radius, radius_end = end, start, radius_end, radius
        length = max(float(np.linalg.norm(end - start)), 1e-4)
        length = max(length, (radius - radius_end) * 1.05)
        self.add(CAPSULE, start, (radius, radius_end, length), material, frame_along(end - start))

    def placed(self, position, yaw: float, scale: float = 1.0) -> list[Primitive]:
        """The parts scaled, turned about y and moved into the world."""
        turn, shift = rotation_y(yaw), np.asarray(position, float)
        return [
            Primitive(p.kind, turn @ p.rotation, turn @ (p.centre * scale) + shift,
                      tuple(s * scale for s in p.size), p.material)
            for p in self.parts
        ]  # fmt: skip


def rotation_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])


def rotation_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def frame_along(axis: np.ndarray) -> np.ndarray:
    """A rotation whose y axis is ``axis``."""
    norm = float(np.linalg.norm(axis))
    y = axis / norm if norm > 1e-9 else np.array([0.0, 1.0, 0.0])
    helper = np.array([1.0, 0, 0]) if abs(y[0]) < 0.9 else np.array([0, 0, 1.0])
    z = np.cross(helper, y)
    z /= np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z], axis=1)


def half_extent(kind: int, size: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner of the box around a primitive in its own frame."""
    a, b, c = size
    if kind == FRUSTUM:
        r = max(a, b)
        return np.array([-r, -c, -r]), np.array([r, c, r])
    if kind == CAPSULE:
        r = max(a, b)
        return np.array([-r, -a, -r]), np.array([r, c + b, r])
    if kind == TORUS:
        return np.array([-a - b, -b, -a - b]), np.array([a + b, b, a + b])
    if kind in (WEDGE, PYRAMID):
        return np.array([-a, 0.0, -c]), np.array([a, b, c])
    return -np.array(size), np.array(size)


def _hit_ellipsoid(q: Rays, d: Rays, size) -> np.ndarray:
    (a, b, c) = size
    qx, qy, qz, dx, dy, dz = q[0] / a, q[1] / b, q[2] / c, d[0] / a, d[1] / b, d[2] / c
    return _hit_unit_sphere(qx, qy, qz, dx, dy, dz, 1.0)


def _hit_unit_sphere(qx, qy, qz, dx, dy, dz, radius2: float) -> np.ndarray:
    aa = dx * dx + dy * dy + dz * dz
    t0 = -(qx * dx + qy * dy + qz * dz) / aa
    ex, ey, ez = qx + t0 * dx, qy + t0 * dy, qz + t0 * dz
    room = radius2 - (ex * ex + ey * ey + ez * ez)
    return np.where(room > 0, t0 - np.sqrt(np.maximum(room, 0) / aa), INF)


def _slabs(q: Rays, d: Rays, size) -> tuple[np.ndarray, np.ndarray]:
    bounds = []
    for axis in range(3):
        inverse = 1.0 / np.where(np.abs(d[axis]) < 1e-7, np.float32(1e-7), d[axis])
        middle, spread = -q[axis] * inverse, np.abs(inverse) * np.float32(size[axis])
        bounds.append((middle - spread, middle + spread))
    (x0, x1), (y0, y1), (z0, z1) = bounds
    return np.maximum(np.maximum(x0, y0), z0), np.minimum(np.minimum(x1, y1), z1)


def _hit_box(q: Rays, d: Rays, size) -> np.ndarray:
    near, far = _slabs(q, d, size)
    return np.where(near < far, near, INF)


def _hit_room(q: Rays, d: Rays, size) -> np.ndarray:
    return _slabs(q, d, size)[1]


def _hit_ground(q: Rays, d: Rays, size) -> np.ndarray:
    return np.where(d[1] < -1e-6, -q[1] / np.minimum(d[1], -1e-6), INF)


def _cone_roots(q: Rays, d: Rays, base: float, slope: float):
    """Both roots of x^2 + z^2 = (base - slope y)^2 along the ray, lower first."""
    radius = base - slope * q[1]
    a = d[0] * d[0] + d[2] * d[2] - (slope * slope) * d[1] * d[1]
    a = np.where(np.abs(a) < 1e-9, np.float32(1e-9), a)
    b = q[0] * d[0] + q[2] * d[2] + slope * radius * d[1]
    c = q[0] * q[0] + q[2] * q[2] - radius * radius
    disc = b * b - a * c
    root = np.sqrt(np.maximum(disc, 0))
    first, second = (-b - root) / a, (-b + root) / a
    return np.minimum(first, second), np.maximum(first, second), disc > 0


def _hit_frustum(q: Rays, d: Rays, size) -> np.ndarray:
    bottom, top, half = size
    base, slope = 0.5 * (bottom + top), (bottom - top) / (2 * half)
    low, high, real = _cone_roots(q, d, base, slope)
    best = np.full(q[0].shape, INF, np.float32)
    for t in (high, low) if slope else (low,):
        y = q[1] + t * d[1]
        best = np.where(real & (np.abs(y) <= half), t, best)
    for y_cap, radius in ((half, top), (-half, bottom)):
        if radius <= 0:
            continue
        t = (y_cap - q[1]) / np.where(np.abs(d[1]) < 1e-7, np.float32(1e-7), d[1])
        x, z = q[0] + t * d[0], q[2] + t * d[2]
        best = np.where((x * x + z * z <= radius * radius) & (t < best), t, best)
    return best


def _hit_capsule(q: Rays, d: Rays, size) -> np.ndarray:
    first, second, length = size
    sine = (first - second) / length
    cosine = np.sqrt(max(1.0 - sine * sine, 1e-6))
    low, _, real = _cone_roots(q, d, first / cosine, sine / cosine)
    y = q[1] + low * d[1]
    best = np.where(real & (y >= first * sine) & (y <= length + second * sine), low, INF)
    best = np.minimum(best, _hit_unit_sphere(*q, *d, first * first))
    return np.minimum(best, _hit_unit_sphere(q[0], q[1] - np.float32(length), q[2], *d, second * second))


def _hit_torus(q: Rays, d: Rays, size) -> np.ndarray:
    """March along the ray by the exact distance to the torus."""
    major, minor, _ = size
    t = _hit_unit_sphere(*q, *d, (major + minor) ** 2)
    length = np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    live = np.isfinite(t)
    t = np.where(live, t, 0)
    gap = np.zeros_like(t)
    for _ in range(28):
        x, y, z = q[0] + t * d[0], q[1] + t * d[1], q[2] + t * d[2]
        ring = np.sqrt(x * x + z * z) - major
        gap = np.sqrt(ring * ring + y * y) - minor
        t = t + gap / length
    return np.where(live & (np.abs(gap) < 0.02 * minor), t, INF)


def convex_planes(kind: int, size) -> list[tuple[tuple[float, float, float], float]]:
    """Outward normals and offsets of the faces of a wedge (ridge along z) or a pyramid; base at y = 0."""
    a, h, c = size
    side = np.hypot(h, a)
    planes = [
        ((0.0, -1.0, 0.0), 0.0),
        ((h / side, a / side, 0.0), h * a / side),
        ((-h / side, a / side, 0.0), h * a / side),
    ]
    if kind == WEDGE:
        return planes + [((0.0, 0.0, 1.0), c), ((0.0, 0.0, -1.0), c)]
    front = np.hypot(h, c)
    return planes + [
        ((0.0, c / front, h / front), h * c / front),
        ((0.0, c / front, -h / front), h * c / front),
    ]


def _hit_convex(kind: int) -> Callable[[Rays, Rays, tuple], np.ndarray]:
    def hit(q: Rays, d: Rays, size) -> np.ndarray:
        near, far = np.float32(-1e9), np.float32(1e9)
        for (nx, ny, nz), offset in convex_planes(kind, size):
            along = nx * d[0] + ny * d[1] + nz * d[2]
            along = np.where(np.abs(along) < 1e-7, np.float32(1e-7), along)
            t = (offset - (nx * q[0] + ny * q[1] + nz * q[2])) / along
            near = np.where(along < 0, np.maximum(near, t), near)
            far = np.where(along > 0, np.minimum(far, t), far)
        return np.where(near < far, near, INF)

    return hit


HIT: dict[int, Callable[[Rays, Rays, tuple], np.ndarray]] = {
    ELLIPSOID: _hit_ellipsoid, BOX: _hit_box, FRUSTUM: _hit_frustum, CAPSULE: _hit_capsule, TORUS: _hit_torus,
    WEDGE: _hit_convex(WEDGE), PYRAMID: _hit_convex(PYRAMID), ROOM: _hit_room, GROUND: _hit_ground,
}  # fmt: skip


def _flat_normal(p: np.ndarray, size) -> np.ndarray:
    axis = np.argmax(np.abs(p) - np.float32(size)[:, None], axis=0)  # the face whose plane is nearest
    normal = np.zeros_like(p)
    for k in range(3):
        np.sign(p[k], out=normal[k], where=axis == k)
    return normal


def _frustum_normal(p: np.ndarray, size) -> np.ndarray:
    bottom, top, half = size
    slope = (bottom - top) / (2 * half)
    rho = np.sqrt(p[0] * p[0] + p[2] * p[2]) + np.float32(1e-9)
    cosine = 1 / np.sqrt(1 + slope * slope)
    side_gap = np.abs(rho - (0.5 * (bottom + top) - slope * p[1])) * cosine
    cap = np.abs(half - np.abs(p[1])) < side_gap
    normal = np.stack([p[0] / rho * cosine, 0 * rho + slope * cosine, p[2] / rho * cosine])
    normal[:, cap] = 0
    normal[1, cap] = np.sign(p[1, cap])
    return normal


def _capsule_normal(p: np.ndarray, size) -> np.ndarray:
    first, second, length = size
    sine = (first - second) / length
    t = np.clip((p[1] - first * sine) / max(length + (second - first) * sine, 1e-6), 0, 1)
    out = p.copy()
    out[1] -= t * length  # the surface normal points from this point of the axis
    return out


def _torus_normal(p: np.ndarray, size) -> np.ndarray:
    pull = 1 - size[0] / (np.sqrt(p[0] * p[0] + p[2] * p[2]) + np.float32(1e-9))
    return np.stack([p[0] * pull, p[1], p[2] * pull])


def _convex_normal(kind: int, p: np.ndarray, size) -> np.ndarray:
    planes = convex_planes(kind, size)
    faces = np.array([face for face, _ in planes], np.float32)
    gaps = faces @ p - np.array([offset for _, offset in planes], np.float32)[:, None]
    return faces.T[:, np.argmax(gaps, axis=0)]


_CURVED = {FRUSTUM: _frustum_normal, CAPSULE: _capsule_normal, TORUS: _torus_normal}


def local_normal(kind: int, p: np.ndarray, size) -> np.ndarray:
    """Unit outward normals (3, N) at surface points ``p`` (3, N) of one primitive of a size (3 numbers)."""
    size = tuple(map(np.float32, size))
    if kind == GROUND:
        return np.repeat(np.array([[0], [1], [0]], np.float32), p.shape[1], axis=1)
    if kind in (BOX, ROOM):
        return _flat_normal(p, size) * np.float32(1 if kind == BOX else -1)
    if kind in (WEDGE, PYRAMID):
        return _convex_normal(kind, p, size)
    raw = p / (np.array(size)[:, None] ** 2) if kind == ELLIPSOID else _CURVED[kind](p, size)
    return raw / np.maximum(length_of(raw), np.float32(1e-9))


def length_of(columns: np.ndarray) -> np.ndarray:
    """Lengths (N,) of the vectors (3, N)."""
    return np.sqrt(columns[0] * columns[0] + columns[1] * columns[1] + columns[2] * columns[2])
