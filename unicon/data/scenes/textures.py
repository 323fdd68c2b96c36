"""What colour has a surface point before light falls on it?

Textures are functions of two surface coordinates in metres; each returns a mix between the material's two
colours and a brightness. Leaves out light. Fine patterns fade into their mean where a sample covers a whole
period.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .shapes import CAPSULE, ELLIPSOID, FRUSTUM, GROUND, TORUS

_NOISE_SIDE = 512


@lru_cache(maxsize=1)
def noise_tiles() -> np.ndarray:
    """Two tiling noises (2, 512, 512) float32, mean 0, deviation 1: smooth and fine."""
    rng = np.random.Generator(np.random.PCG64(20240229))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(_NOISE_SIDE), np.fft.fftfreq(_NOISE_SIDE))) * _NOISE_SIDE
    tiles = []
    for power, cut in ((1.6, 60.0), (0.7, 160.0)):
        spectrum = np.fft.fft2(rng.standard_normal((_NOISE_SIDE, _NOISE_SIDE)))
        spectrum *= (frequency >= 3) / np.maximum(frequency, 1) ** power * np.exp(-((frequency / cut) ** 2))
        tile = np.fft.ifft2(spectrum).real
        tiles.append((tile - tile.mean()) / tile.std())
    return np.array(tiles, np.float32)


def noise(u: np.ndarray, v: np.ndarray, layer: int = 0) -> np.ndarray:
    """Noise at (u, v); one tile per unit."""
    column = (u * _NOISE_SIDE).astype(np.int32) & (_NOISE_SIDE - 1)
    row = (v * _NOISE_SIDE).astype(np.int32) & (_NOISE_SIDE - 1)
    return noise_tiles()[layer, row, column]


def cell_hash(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A fixed pseudo-random number in [0, 1) per integer cell."""
    mixed = a.astype(np.int32) * np.int32(73856093) ^ b.astype(np.int32) * np.int32(19349663)
    mixed = (mixed ^ (mixed >> 13)) * np.int32(1274126177)
    return ((mixed >> 8) & 1023).astype(np.float32) / 1024


def surface_coordinates(
    kind: int, local: np.ndarray, normal: np.ndarray, size
) -> tuple[np.ndarray, np.ndarray]:
    """Two coordinates in metres on the surface of one primitive from local points and normals (3, N)."""
    x, y, z = local
    if kind in (ELLIPSOID, FRUSTUM, CAPSULE, TORUS):
        return np.arctan2(x, z) * np.float32(size[0]), y
    if kind == GROUND:
        return x, z
    axis = np.argmax(np.abs(normal), axis=0)
    return np.where(axis == 0, z, x), np.where(axis == 1, z, y)


def _plain(q, r, fade):
    return np.zeros_like(q), 1 + np.float32(0.015) * noise(q * 0.31, r * 0.31), np.zeros_like(q)


def _checks(q, r, fade):
    cell = ((np.floor(q) + np.floor(r)).astype(np.int32) & 1).astype(np.float32)
    return 0.5 + (cell - 0.5) * fade, 1 + 0.02 * noise(q * 0.2, r * 0.2, 1), cell


def _stripes(q, r, fade):
    cell = (np.floor(r).astype(np.int32) & 1).astype(np.float32)
    return 0.5 + (cell - 0.5) * fade, 1 + 0.02 * noise(q * 0.2, r * 0.2, 1), cell


def _bricks(q, r, fade):
    row = np.floor(r * 2.2)
    shifted = q + 0.5 * (row.astype(np.int32) & 1)
    column = np.floor(shifted)
    joint = (shifted - column < 0.05) | (r * 2.2 - row < 0.10)
    shade = 1 + (0.30 * (cell_hash(row, column) - 0.5) + 0.06 * noise(q * 0.3, r * 0.3, 1)) * fade
    parity = ((row + column).astype(np.int32) & 1).astype(np.float32)
    return np.where(joint, fade, 0.0) + 0.12 * (1 - fade), shade, parity


def _tiles(q, r, fade):
    row, column = np.floor(r), np.floor(q)
    joint = (q - column < 0.045) | (r - row < 0.045)
    shade = 1 + (0.10 * (cell_hash(row, column) - 0.5) + 0.03 * noise(q * 0.4, r * 0.4)) * fade
    parity = ((row + column).astype(np.int32) & 1).astype(np.float32)
    return np.where(joint, fade, 0.0) + 0.08 * (1 - fade), shade, parity


def _wood(q, r, fade):
    row = np.floor(r)
    board = cell_hash(row, np.floor(q * 0.12 + cell_hash(row, row * 0) * 3))
    grain = noise(q * 0.05 + board, r * 0.6 + board * 3.1) * 0.16 + noise(q * 0.02, r * 1.3, 1) * 0.05
    joint = np.where(r - row < 0.05, 0.6, 0.0)
    return (
        np.clip(0.35 + grain * 1.4 * fade + 0.35 * (board - 0.5) + joint * fade, 0, 1),
        np.ones_like(q),
        np.zeros_like(q),
    )


def _mottled(q, r, fade):
    blend = 0.5 + 0.28 * noise(q * 0.11, r * 0.11)
    return np.clip(blend, 0, 1), 1 + 0.04 * fade * noise(q * 0.5, r * 0.5, 1), np.zeros_like(q)


def _spots(q, r, fade):
    cell_q, cell_r = np.floor(q), np.floor(r)
    gap = np.hypot(q - cell_q - 0.5, r - cell_r - 0.5)
    spot = (gap < 0.30).astype(np.float32)
    return 0.28 + (spot - 0.28) * fade, np.ones_like(q), spot


def _gradient(q, r, fade):
    return np.clip(0.5 + 0.25 * r, 0, 1), np.ones_like(q), np.zeros_like(q)


def _grass(q, r, fade):
    patch = 0.5 + 0.22 * noise(q * 0.06, r * 0.06)
    blades = noise(q * 0.9, r * 0.9, 1) * 0.13 * np.maximum(fade, 0.25)
    return np.clip(patch, 0, 1), 1 + blades + 0.06 * noise(q * 0.3, r * 0.3), np.zeros_like(q)


def _fabric(q, r, fade):
    weave = (np.sin(q * 40) + np.sin(r * 40)) * 0.025 * fade
    return np.clip(0.25 + 0.2 * noise(q * 0.2, r * 0.2), 0, 1), 1 + weave, np.zeros_like(q)


PATTERN = {
    "plain": _plain,
    "checks": _checks,
    "stripes": _stripes,
    "bricks": _bricks,
    "tiles": _tiles,
    "wood": _wood,
    "mottled": _mottled,
    "spots": _spots,
    "gradient": _gradient,
    "grass": _grass,
    "fabric": _fabric,
}
# Periods, in pixels, above which the borders of a pattern count as edges.
EDGE_PERIOD_PX = {"checks": 9.0, "stripes": 7.0, "spots": 12.0, "bricks": 18.0, "tiles": 16.0}
EDGE_CONTRAST = {"bricks": 0.30, "tiles": 0.30}
