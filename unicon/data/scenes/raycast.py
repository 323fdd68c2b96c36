"""Which primitive does a camera see in each sample, how far away, and with which normal?

A sample grid is twice as fine as the picture and has a sample exactly at every pixel centre (odd rows and
columns), so depth, normals and edges are exact while the colours are averaged over neighbours. Leaves out
shading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .shapes import BOX, GROUND, HIT, INF, ROOM, Primitive, half_extent, local_normal


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole; `rotation` is world from camera (x right, y down, z forward), focal length in pixels."""

    position: np.ndarray
    rotation: np.ndarray
    focal_px: float
    size: int

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (N, 3) -> pixel positions (N, 2), pixel centres at integers, and planar depth (N,)."""
        local = (np.asarray(points) - self.position) @ self.rotation
        z = local[:, 2]
        safe = np.where(np.abs(z) < 1e-6, 1e-6, z)
        return local[:, :2] / safe[:, None] * self.focal_px + (self.size - 1) / 2, z


@dataclass(frozen=True, slots=True)
class Table:
    """The primitives of a scene as arrays (n first)."""

    kind: np.ndarray
    rotation: np.ndarray
    centre: np.ndarray
    size: np.ndarray
    owner: np.ndarray  # index of the subject, or -1 for surroundings
    thing: np.ndarray  # every assembly has its own number, for edges between things
    material: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, slots=True)
class Hits:
    """Per sample: planar depth (inf for sky) and index of the primitive (-1 for sky)."""

    z: np.ndarray
    index: np.ndarray


@dataclass(frozen=True, slots=True)
class Surface:
    """Hit samples (N), by primitive: place in the grid, primitive, depth; points and normals are (3, N).

    ``parts`` lists ``(primitive, slice)`` of the samples of each visible primitive.
    """

    rows: np.ndarray
    index: np.ndarray
    z: np.ndarray
    world: np.ndarray
    local: np.ndarray
    normal: np.ndarray
    local_normal: np.ndarray
    parts: list[tuple[int, slice]]


def build_table(
    primitives: list[Primitive], owners: list[int], things: list[int], materials: list[int]
) -> Table:
    """Primitives with the subject, thing and material number of each."""
    corners = [half_extent(p.kind, p.size) for p in primitives]
    return Table(
        kind=np.array([p.kind for p in primitives]),
        rotation=np.array([p.rotation for p in primitives]),
        centre=np.array([p.centre for p in primitives]),
        size=np.array([p.size for p in primitives]),
        owner=np.array(owners), thing=np.array(things), material=np.array(materials),
        lower=np.array([c[0] for c in corners]), upper=np.array([c[1] for c in corners]),
    )  # fmt: skip


_BITS = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)], float)
_EDGE_ENDS = np.array([(i, i | bit) for bit in (1, 2, 4) for i in range(8) if not i & bit]).T
_NEAR_M = 0.03


def _screen_boxes(table: Table, camera: Camera, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sample ranges (n, 4) as x0, x1, y0, y1 that cover each primitive, and whether it can be seen at all."""
    corners = table.lower[:, None] * (1 - _BITS) + table.upper[:, None] * _BITS
    world = np.einsum("nij,nkj->nki", table.rotation, corners) + table.centre[:, None]
    local = (world - camera.position) @ camera.rotation
    low, high = _extent(local)
    first = np.searchsorted(axis, low.ravel()).reshape(-1, 2)
    last = np.searchsorted(axis, high.ravel(), side="right").reshape(-1, 2)
    box = np.stack([first[:, 0], last[:, 0], first[:, 1], last[:, 1]], axis=1)
    endless = np.isin(table.kind, (ROOM, GROUND))
    box[endless] = (0, len(axis), 0, len(axis))
    seen = (box[:, 0] < box[:, 1]) & (box[:, 2] < box[:, 3]) & (local[..., 2].max(axis=1) > _NEAR_M)
    return box, seen | endless


def _extent(local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest tangents (n, 2) of boxes with corners (n, 8, 3), cut at the near plane."""
    z = local[..., 2]
    start, end = local[:, _EDGE_ENDS[0]], local[:, _EDGE_ENDS[1]]
    rise = end[..., 2] - start[..., 2]
    share = (_NEAR_M - start[..., 2]) / np.where(np.abs(rise) < 1e-9, 1e-9, rise)
    cut = start + np.clip(share, 0, 1)[..., None] * (end - start)
    points = np.concatenate([local, cut], axis=1)
    shown = np.concatenate([z > _NEAR_M, (share > 0) & (share < 1)], axis=1)[..., None]
    plane = points[..., :2] / np.maximum(points[..., 2:], 0.5 * _NEAR_M)
    return np.where(shown, plane, np.inf).min(axis=1), np.where(shown, plane, -np.inf).max(axis=1)


def sample_axis(camera: Camera, fine: bool) -> np.ndarray:
    """Tangents of the view angle along one side of the sample grid (float32)."""
    if fine:
        pixels = (np.arange(2 * camera.size + 1) - 1) / 2
    else:
        pixels = np.arange(camera.size, dtype=float)
    return ((pixels - (camera.size - 1) / 2) / camera.focal_px).astype(np.float32)


def cast(table: Table, camera: Camera, *, fine: bool = True, skip: np.ndarray | None = None) -> Hits:
    """Nearest hit along every ray of the grid; ``skip`` (n,) bool leaves primitives out."""
    axis = sample_axis(camera, fine)
    z = np.full((len(axis), len(axis)), INF, np.float32)
    index = np.full(z.shape, -1, np.int16)
    boxes, seen = _screen_boxes(table, camera, axis)
    to_local = np.einsum("nji,jk->nik", table.rotation, camera.rotation)
    origin = np.einsum("nji,nj->ni", table.rotation, camera.position - table.centre)
    shift = ((table.centre - camera.position) @ camera.rotation)[:, 2]
    shift = np.where(np.isin(table.kind, (ROOM, GROUND)), 0.0, shift)
    start = origin + shift[:, None] * to_local[:, :, 2]
    for i in np.flatnonzero(seen if skip is None else seen & ~skip):
        x0, x1, y0, y1 = boxes[i]
        u, v = axis[None, x0:x1], axis[y0:y1, None]
        turn, along = to_local[i].astype(np.float32), np.float32(shift[i])
        bend = [u * turn[k, 0] + v * turn[k, 1] for k in range(3)]
        d = tuple(bend[k] + turn[k, 2] for k in range(3))
        q = tuple(bend[k] * along + np.float32(start[i, k]) for k in range(3))
        t = HIT[int(table.kind[i])](q, d, tuple(map(np.float32, table.size[i]))) + along
        view = z[y0:y1, x0:x1]
        closer = (t < view) & (t > 0.03)
        view[closer] = t[closer]
        index[y0:y1, x0:x1][closer] = i
    return Hits(z, index)


def surface(table: Table, camera: Camera, hits: Hits) -> Surface:
    """Points and normals of all samples that hit something."""
    axis = sample_axis(camera, fine=len(hits.z) != camera.size)
    flat = hits.index.ravel()
    order = np.argsort(flat, kind="stable")
    counts = np.bincount(flat + 1, minlength=len(table.kind) + 1)
    rows = order[counts[0] :]
    index, z = flat[rows], hits.z.ravel()[rows]
    y, x = np.divmod(rows.astype(np.int32), np.int32(len(axis)))
    world = camera.rotation.astype(np.float32) @ np.stack([axis[x] * z, axis[y] * z, z])
    world += camera.position.astype(np.float32)[:, None]
    local, normal, outward = np.empty_like(world), np.empty_like(world), np.empty_like(world)
    ends = np.cumsum(counts[1:])
    parts = [(int(i), slice(int(ends[i] - counts[i + 1]), int(ends[i]))) for i in np.flatnonzero(counts[1:])]
    for i, part in parts:
        turn = table.rotation[i].astype(np.float32)
        local[:, part] = turn.T @ (world[:, part] - table.centre[i].astype(np.float32)[:, None])
        normal[:, part] = local_normal(int(table.kind[i]), local[:, part], table.size[i])
        outward[:, part] = turn @ normal[:, part]
    return Surface(rows, index, z, world, local, outward, normal, parts)


FLAT_KINDS = (BOX, ROOM, GROUND)
