"""Which materials do walls and floors have, and which words?"""

from __future__ import annotations

import numpy as np

from .colours import NAMED, Rgb, jitter, wooden
from .shapes import Material

Rng = np.random.Generator

_WALL_COLOURS = (
    "white",
    "grey",
    "yellow",
    "green",
    "blue",
    "pink",
    "orange",
    "teal",
    "brown",
    "purple",
    "red",
)
_WALL_SHARE = (0.30, 0.12, 0.11, 0.08, 0.11, 0.06, 0.05, 0.06, 0.06, 0.03, 0.02)


def _washed(rng: Rng, name: str) -> Rgb:
    """A wall paint of a named colour: paler than the colour itself."""
    pale = rng.uniform(0.25, 0.75)
    base = np.array(NAMED[name]) * (1 - pale) + np.array((0.88, 0.86, 0.82)) * pale
    return jitter(rng, tuple(base), 0.05)


def wall_material(rng: Rng, photos: int) -> tuple[Material, str]:
    """A wall and its words."""
    name = str(rng.choice(_WALL_COLOURS, p=_WALL_SHARE))
    colour = _washed(rng, name)
    offset = float(rng.random()), float(rng.random())
    draw = rng.random()
    if photos and draw < 0.08:
        return Material(
            "photo",
            colour,
            colour,
            float(rng.uniform(1.0, 2.5)),
            0.0,
            offset=offset,
            photo=int(rng.integers(photos)),
        ), "patterned wall"
    if draw < 0.52:
        return Material("plain", colour, colour, 0.6, 0.02, offset=offset), f"{name} wall"
    if draw < 0.64:
        brick = jitter(rng, ((0.62, 0.30, 0.22), (0.72, 0.66, 0.60), (0.50, 0.36, 0.30))[rng.integers(3)])
        return Material(
            "bricks",
            brick,
            jitter(rng, (0.80, 0.77, 0.72)),
            float(rng.uniform(0.24, 0.5)),
            0.02,
            offset=offset,
        ), "brick wall"
    if draw < 0.74:
        return Material(
            "stripes", colour, jitter(rng, colour, 0.18), float(rng.uniform(0.12, 0.4)), 0.02, offset=offset
        ), "striped wall"
    if draw < 0.84:
        return Material(
            "mottled", colour, jitter(rng, tuple(0.8 * c for c in colour), 0.05), 0.9, 0.02, offset=offset
        ), "plaster wall"
    if draw < 0.91:
        return Material(
            "tiles", colour, (0.85, 0.85, 0.83), float(rng.uniform(0.2, 0.45)), 0.3, 30.0, offset=offset
        ), "tiled wall"
    return wooden_large(rng), "wooden wall"


def wooden_large(rng: Rng) -> Material:
    material = wooden(rng)
    return Material(
        "wood",
        material.colour,
        material.second,
        float(rng.uniform(0.12, 0.25)),
        0.15,
        25.0,
        offset=material.offset,
    )


def floor_material(rng: Rng) -> tuple[Material, str]:
    """An indoor floor and its words."""
    offset = float(rng.random()), float(rng.random())
    draw = rng.random()
    if draw < 0.38:
        return wooden_large(rng), "wooden floor"
    if draw < 0.54:
        base = jitter(rng, ((0.8, 0.78, 0.72), (0.6, 0.62, 0.63), (0.7, 0.55, 0.42))[rng.integers(3)])
        return Material(
            "tiles",
            base,
            tuple(0.7 * c for c in base),
            float(rng.uniform(0.25, 0.6)),
            0.35,
            40.0,
            offset=offset,
        ), "tiled floor"
    if draw < 0.66:
        first, second = (
            NAMED["white"],
            NAMED[str(rng.choice(["black", "grey", "brown", "blue", "green", "red"]))],
        )
        return Material(
            "checks",
            jitter(rng, first),
            jitter(rng, second),
            float(rng.uniform(0.25, 0.6)),
            0.3,
            40.0,
            offset=offset,
        ), "checked floor"
    if draw < 0.88:
        base = _washed(rng, str(rng.choice(_WALL_COLOURS)))
        base = tuple(0.8 * c for c in base)
        return Material(
            "fabric", base, jitter(rng, tuple(0.75 * c for c in base)), 0.25, 0.0, offset=offset
        ), "carpet"
    base = jitter(rng, (0.55, 0.54, 0.52))
    return Material("mottled", base, tuple(0.8 * c for c in base), 0.9, 0.08, offset=offset), "stone floor"
