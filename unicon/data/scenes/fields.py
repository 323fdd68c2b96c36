"""What does open ground under a sky look like?

Leaves out the subjects and the drawing of the sky (``shading``).
"""

from __future__ import annotations

import numpy as np

from .colours import Rgb, jitter
from .objects import prop
from .shapes import BOX, ELLIPSOID, GROUND, Assembly, Material, Primitive
from .surroundings import Surroundings
from .walls import wall_material

Rng = np.random.Generator

_GROUNDS = (
    ("grass", (0.36, 0.50, 0.20), (0.24, 0.38, 0.13), 0.9, "grass"),
    ("grass", (0.62, 0.56, 0.30), (0.50, 0.44, 0.22), 0.9, "dry grass"),
    ("mottled", (0.85, 0.74, 0.53), (0.74, 0.62, 0.42), 1.6, "sand"),
    ("mottled", (0.92, 0.94, 0.97), (0.80, 0.85, 0.92), 1.6, "snow"),
    ("tiles", (0.68, 0.66, 0.62), (0.50, 0.48, 0.45), 0.9, "paving"),
    ("mottled", (0.42, 0.42, 0.43), (0.34, 0.34, 0.35), 1.0, "a grey road"),
    ("mottled", (0.50, 0.36, 0.24), (0.38, 0.26, 0.17), 1.2, "brown soil"),
)


def outdoor_field(rng: Rng, light: str, exclude: tuple[str, ...] = ()) -> Surroundings:
    """Open ground with hills, far trees and a sky."""
    texture, first, second, scale, name = _GROUNDS[
        rng.choice(len(_GROUNDS), p=(0.36, 0.1, 0.14, 0.1, 0.12, 0.1, 0.08))
    ]
    ground = Material(
        texture,
        jitter(rng, first),
        jitter(rng, second),
        scale,
        0.02,
        offset=(float(rng.random()), float(rng.random())),
    )
    horizon, zenith, sky_words = _sky(rng, light)
    around = Surroundings("field", f"on {name} under a {sky_words} sky", sky=(horizon, zenith))
    around.groups.append([Primitive(GROUND, np.eye(3), np.zeros(3), (1.0, 1.0, 1.0), ground)])
    around.groups += _hills(rng, ground if name in ("grass", "dry grass", "sand", "snow") else None, horizon)
    if rng.random() < 0.45:
        around.groups += _far_things(rng, exclude)
    if rng.random() < 0.15:
        wall = wall_material(rng, 0)[0]
        back = Assembly()
        back.add(BOX, (0, 0.9, 0), (9, rng.uniform(0.7, 1.3), 0.15), wall)
        around.groups.append(back.placed((rng.normal(0, 2), 0, rng.uniform(7, 11)), rng.normal(0, 0.2)))
    around.fog = float(rng.choice([0.0, rng.uniform(0.01, 0.05)], p=(0.8, 0.2)))
    return around


def _sky(rng: Rng, light: str) -> tuple[Rgb, Rgb, str]:
    if light == "overcast":
        tone = rng.uniform(0.68, 0.85)
        return (tone, tone * 1.01, tone * 1.02), (tone * 0.85, tone * 0.88, tone * 0.92), "grey"
    if light == "sunset":
        return (
            jitter(rng, (0.98, 0.68, 0.42)),
            jitter(rng, ((0.45, 0.42, 0.68), (0.75, 0.45, 0.55))[rng.integers(2)]),
            "golden",
        )
    if light in ("spot", "two_colour"):
        return (0.12, 0.14, 0.25), (0.03, 0.04, 0.10), "dark"
    return jitter(rng, (0.80, 0.90, 0.97)), jitter(rng, (0.30, 0.55, 0.88)), "blue"


def _hills(rng: Rng, ground: Material | None, horizon: Rgb) -> list[list[Primitive]]:
    groups: list[list[Primitive]] = []
    for _ in range(int(rng.integers(0, 6))):
        distance = rng.uniform(14, 60)
        width = rng.uniform(0.25, 0.7) * distance
        haze = min(0.75, distance / 70)
        base = np.array(
            ground.colour if ground and rng.random() < 0.6 else jitter(rng, (0.3, 0.38, 0.28), 0.15)
        )
        near = tuple(base * (1 - haze) + np.array(horizon) * 0.8 * haze)
        material = Material("mottled", near, tuple(0.85 * c for c in near), distance * 0.1, 0.0)
        centre = (rng.uniform(-0.8, 0.8) * distance, -0.02 * width, distance)
        height = rng.uniform(0.06, 0.26) * distance
        groups.append(
            [Primitive(ELLIPSOID, np.eye(3), np.array(centre), (width, height, width * 0.6), material)]
        )
    return groups


def _far_things(rng: Rng, exclude: tuple[str, ...]) -> list[list[Primitive]]:
    groups = []
    for _ in range(int(rng.integers(1, 6))):
        kind = "tree" if rng.random() < 0.8 else "house"
        z = rng.uniform(10, 20)
        thing = prop(rng, kind, exclude)
        groups.append(thing.placed((rng.uniform(-0.7, 0.7) * z, 0, z), rng.uniform(0, 6)))
    return groups
