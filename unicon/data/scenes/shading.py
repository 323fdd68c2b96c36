"""How bright and which colour is each visible point?

Deferred shading of the samples that ``raycast`` found: textures, Lambert and Blinn-Phong terms, a shadow
map with soft borders, contact darkening and fog. Colours are linear until ``finish``. Leaves out lens and
sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .lights import Light
from .raycast import Camera, Surface, Table, cast
from .shapes import GROUND, Material, length_of, rotation_y
from .surroundings import Surroundings
from .textures import EDGE_CONTRAST, EDGE_PERIOD_PX, PATTERN, noise, surface_coordinates


@dataclass(frozen=True, slots=True)
class Paint:
    """Per hit sample: colour (3, N) of the surface (linear), the same without fine texture, shine, glow."""

    albedo: np.ndarray
    edge_albedo: np.ndarray
    specular: np.ndarray
    gloss: np.ndarray
    emission: np.ndarray


def paint(
    table: Table, materials: list[Material], hit: Surface, camera: Camera, photos: np.ndarray | None
) -> Paint:
    """Evaluate the materials at the hit samples."""
    albedo, edge = np.empty_like(hit.world), np.empty_like(hit.world)
    for i, part in hit.parts:
        material = materials[table.material[i]]
        u, v = surface_coordinates(
            int(table.kind[i]), hit.local[:, part], hit.local_normal[:, part], table.size[i]
        )
        period_px = np.float32(material.scale_m * camera.focal_px) / hit.z[part]
        albedo[:, part], edge[:, part] = _colours(material, u, v, period_px, photos)
    shine = np.array([(m.specular, m.gloss, m.emission) for m in materials], np.float32)
    specular, gloss, emission = (shine[table.material, k][hit.index] for k in range(3))
    return Paint(np.clip(albedo, 0.004, 1), edge, specular, gloss, emission)


def _colours(material: Material, u, v, period_px, photos: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Linear colours (3, N) of one material, with and without fine texture."""
    scale = np.float32(material.scale_m)
    if material.texture == "photo":
        colour = _photo(photos, material.photo, u / scale, v / scale)
        return colour, colour
    q, r = u / scale + np.float32(7.3 * material.offset[0]), v / scale + np.float32(5.1 * material.offset[1])
    fade = np.clip(period_px / 1.6 - 0.8, 0, 1)
    mix, shade, cell = PATTERN[material.texture](q, r, fade)
    a, b = (np.array(c, np.float32)[:, None] ** np.float32(2.2) for c in (material.colour, material.second))
    colour = (a + (b - a) * mix.astype(np.float32)) * np.clip(shade, 0.3, 1.7)
    return colour, _edge_colour(material.texture, a, b, mix, cell, period_px)


def _edge_colour(texture: str, a, b, mix, cell, period_px) -> np.ndarray:
    """Colours whose borders count as edges; fine patterns are left out."""
    if texture not in EDGE_PERIOD_PX:
        return a + (b - a) * (mix if texture == "gradient" else np.full_like(period_px, 0.4))
    if texture in EDGE_CONTRAST:
        bright = a * (1 - np.float32(EDGE_CONTRAST[texture] * 1.6) * cell)
    else:
        bright = a + (b - a) * cell
    return np.where(period_px > EDGE_PERIOD_PX[texture], bright, 0.5 * (a + b))


def _photo(photos: np.ndarray | None, which: int, u, v) -> np.ndarray:
    assert photos is not None
    side = photos.shape[1]
    column = (((u + 0.5) % 1.0) * (side - 1)).astype(int)
    line = (((0.5 - v) % 1.0) * (side - 1)).astype(int)
    return (photos[which, line, column].T.astype(np.float32) / 255) ** np.float32(2.2)


def look_at(
    position: np.ndarray, target: np.ndarray, focal_px: float, size: int, roll: float = 0.0
) -> Camera:
    """A camera at ``position`` that looks at ``target``, y up."""
    forward = (target - position) / np.linalg.norm(target - position)
    helper = np.array([0.0, 1.0, 0.0]) if abs(forward[1]) < 0.99 else np.array([0.0, 0.0, 1.0])
    right = np.cross(forward, helper)
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    turned = np.cos(roll) * right + np.sin(roll) * down
    return Camera(position, np.stack([turned, np.cross(forward, turned), forward], axis=1), focal_px, size)


_TAPS = (
    (0, 0),
    (1, 0.3),
    (-1, -0.3),
    (0.3, -1),
    (-0.3, 1),
    (0.7, 0.7),
    (-0.7, -0.7),
    (0.55, -0.5),
    (-0.55, 0.5),
)
_SHADOW_SIDE = 176


def shadow(table: Table, light: Light, world: np.ndarray, reach_m: float) -> np.ndarray:
    """Share of the key light (N,) that reaches world points (3, N), by a shadow map round the subjects."""
    side = _SHADOW_SIDE
    distance = float(np.linalg.norm(light.position - light.target))
    focal = 0.5 * side / max(np.tan(np.arctan2(reach_m * 1.15, distance)), 1e-3)
    focal = max(focal, 0.5 * side / 1.6)
    eye = look_at(light.position, light.target, focal, side)
    big = (table.thing == 0) | (table.kind == GROUND) | (table.upper.max(axis=1) > 4.0)
    found = cast(table, eye, fine=False, skip=big).z
    # The border is unshadowed, and every point outside of the map is clamped onto it.
    framed = np.pad(
        np.where(np.isfinite(found), found, 1e6).astype(np.float32), 1, constant_values=1e6
    ).ravel()
    local = eye.rotation.T.astype(np.float32) @ (world - light.position.astype(np.float32)[:, None])
    z = np.maximum(local[2], np.float32(0.05))
    x, y = np.clip(local[:2] / z, -99, 99) * np.float32(focal) + np.float32((side - 1) / 2 + 1.5)
    limit = z - (np.float32(0.02) + np.float32(1.5 / focal) * z)
    radius = np.float32(light.softness * focal) / z + np.float32(0.5)
    lit = np.zeros(len(z), np.float32)
    for dx, dy in _TAPS:
        column = np.clip(x + np.float32(dx) * radius, 0, side + 1).astype(np.int32)
        line = np.clip(y + np.float32(dy) * radius, 0, side + 1).astype(np.int32)
        lit += framed.take(line * np.int32(side + 2) + column) > limit
    return np.where(local[2] > 0.05, lit / np.float32(len(_TAPS)), np.float32(1))


def contact(hit: Surface, spots: np.ndarray, around: Surroundings) -> np.ndarray:
    """Ambient occlusion (N,): dark under subjects (x, z, radius rows) and in the corners of a room."""
    x, y, z = hit.world
    low = np.clip(1 - (y - np.float32(around.floor_y)) / 0.5, 0, 1) * np.clip(hit.normal[1], 0, 1)
    rows = np.flatnonzero(low > 0.05)
    dark = np.zeros(len(rows), np.float32)
    for spot_x, spot_z, radius in spots.astype(np.float32):
        gap = np.hypot(x[rows] - spot_x, z[rows] - spot_z) / radius
        dark = np.maximum(dark, 0.55 * np.exp(gap * gap * gap * np.float32(-0.7)))
    open_share = np.ones(len(hit.z), np.float32)
    open_share[rows] -= dark * low[rows]
    if around.room_half is not None and around.room_centre is not None:
        open_share *= _corners(hit.world, around.room_half, around.room_centre, around.room_yaw)
    return open_share


def _corners(world: np.ndarray, half: np.ndarray, centre: np.ndarray, yaw: float) -> np.ndarray:
    """Darkening (N,) by the distance to the second nearest wall, floor or ceiling."""
    local = rotation_y(yaw).T.astype(np.float32) @ (world - centre.astype(np.float32)[:, None])
    a, b, c = np.abs(half.astype(np.float32)[:, None] - np.abs(local))
    second = np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))
    return 1 - np.float32(0.38) * np.exp(second * np.float32(-1 / 0.28))


def _towards(point: np.ndarray, world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (3, N) from world points to a point, and the distances."""
    gap = point.astype(np.float32)[:, None] - world
    distance = length_of(gap)
    return gap / distance, distance


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def key_strength(hit: Surface, light: Light, table: Table, reach_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Strength (N,) of the key light with shadows, and unit vectors (3, N) towards it."""
    to_light, distance = _towards(light.position, hit.world)
    strength = np.maximum(_dot(hit.normal, to_light), 0)
    lit = np.flatnonzero(strength > 0)
    strength[lit] *= shadow(table, light, hit.world[:, lit], reach_m)
    if not light.distant:
        reference = np.float32(np.linalg.norm(light.position - light.target))
        strength *= 1.8 / (0.8 + (distance / reference) ** 2)
    if light.cone_cos > -1:
        axis = (light.target - light.position) / np.linalg.norm(light.target - light.position)
        strength *= np.clip((-(axis.astype(np.float32) @ to_light) - np.float32(light.cone_cos)) / 0.04, 0, 1)
    return strength, to_light


def shade(
    hit: Surface, look: Paint, light: Light, key: tuple[np.ndarray, np.ndarray], open_share, camera: Camera
) -> np.ndarray:
    """Linear colour (3, N) of the hit samples."""
    strength, to_light = key
    above, below, colour_key, fill_colour = (
        c.astype(np.float32)[:, None] for c in (light.above, light.below, light.colour, light.fill)
    )
    up = 0.5 + 0.5 * hit.normal[1]
    fill = np.maximum(_dot(hit.normal, _towards(light.fill_position, hit.world)[0]), 0)
    arriving = (below + (above - below) * up + fill_colour * fill) * open_share + colour_key * strength
    colour = look.albedo * arriving
    glowing = np.flatnonzero(look.emission > 0)
    colour[:, glowing] += look.emission[glowing] * look.albedo[:, glowing] ** np.float32(0.7)
    shiny = np.flatnonzero((strength > 0.01) & (look.specular > 0.01))
    half = _towards(camera.position, hit.world[:, shiny])[0] + to_light[:, shiny]
    half /= length_of(half)
    glint = np.maximum(_dot(hit.normal[:, shiny], half), 0) ** look.gloss[shiny]
    colour[:, shiny] += (glint * look.specular[shiny] * strength[shiny]) * colour_key
    return colour


def sky_colour(
    camera: Camera, around: Surroundings, light: Light, axis: np.ndarray, clouds: float
) -> np.ndarray:
    """Linear colour (S, S, 3) of the sky behind everything."""
    horizon, zenith = (
        np.array(c, np.float32) ** 2.2 for c in (around.sky or ((0.6, 0.6, 0.6), (0.5, 0.5, 0.5)))
    )
    view = np.stack(
        [
            np.broadcast_to(axis[None, :], (len(axis),) * 2),
            np.broadcast_to(axis[:, None], (len(axis),) * 2),
            np.ones((len(axis),) * 2, np.float32),
        ],
        axis=-1,
    )
    world = view @ camera.rotation.T.astype(np.float32)
    world /= np.linalg.norm(world, axis=-1, keepdims=True)
    rise = np.clip(world[..., 1:2], 0, 1)
    colour = horizon + (zenith - horizon) * np.clip(rise * 1.9, 0, 1) ** 0.7
    if clouds > 0:
        plane = world[..., [0, 2]] / np.maximum(rise, 0.06) * 0.045
        cover = noise(plane[..., 0] + clouds * 9, plane[..., 1] + clouds * 5)
        white = np.clip(cover * 0.7 - 0.1, 0, 0.9)[..., None] * np.clip(rise * 6, 0, 1)
        colour = colour + (np.clip(horizon * 1.15, 0, 1) - colour) * white
    if light.distant and light.kind in ("sun", "sunset"):
        direction = (light.position - light.target) / np.linalg.norm(light.position - light.target)
        glow = np.maximum(world @ direction.astype(np.float32), 0)[..., None] ** 24
        colour = colour + glow * light.colour.astype(np.float32) * 0.5
    return colour.astype(np.float32)


def average_samples(fine: np.ndarray) -> np.ndarray:
    """Samples (2S+1, 2S+1, 3) -> pixels (S, S, 3) by a 3 x 3 tent around every pixel centre."""
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    return cv2.sepFilter2D(fine, -1, kernel, kernel)[1::2, 1::2]
