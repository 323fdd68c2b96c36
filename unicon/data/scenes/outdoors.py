"""How are trees, houses, cars, animals and mushrooms put together?

Builders return a `Subject` at natural size.
"""

from __future__ import annotations

import numpy as np

from .colours import article, jitter, painted, pick_name, plain
from .shapes import (
    BOX,
    ELLIPSOID,
    FRUSTUM,
    WEDGE,
    Assembly,
    Material,
    rotation_z,
)
from .subject import Subject

Rng = np.random.Generator


def tree(rng: Rng) -> Subject:
    """A tree."""
    trunk = Material("mottled", (0.38, 0.26, 0.17), (0.25, 0.16, 0.1), 0.3, 0.0, 5.0)
    leaf, word = (((0.22, 0.47, 0.16), "green"), ((0.78, 0.42, 0.12), "orange"), ((0.85, 0.5, 0.6), "pink"))[
        rng.choice(3, p=(0.7, 0.18, 0.12))
    ]
    dark = tuple(0.62 * c for c in leaf)
    crown = Material("grass", jitter(rng, leaf, 0.1), jitter(rng, dark, 0.1), 0.35, 0.0, 5.0)
    h = rng.uniform(1.8, 3.2)
    parts = Assembly()
    if rng.random() < 0.35:
        parts.limb((0, 0, 0), (0, h * 0.4, 0), 0.12, 0.1, trunk)
        for k in range(3):
            parts.add(
                FRUSTUM,
                (0, h * (0.38 + 0.22 * k), 0),
                (h * (0.3 - 0.07 * k), h * 0.04 * (2 - k), h * 0.16),
                crown,
            )
        return Subject("tree", f"{word} pine tree", parts, 0.6, h, {"colour": word})
    parts.limb((0, 0, 0), (rng.normal(0, 0.08), h * 0.6, rng.normal(0, 0.08)), 0.16, 0.09, trunk)
    for _ in range(5):
        place = np.array([rng.normal(0, 0.26), 0.72 + rng.normal(0, 0.09), rng.normal(0, 0.26)]) * (
            h / 2,
            h,
            h / 2,
        )
        parts.add(ELLIPSOID, place, rng.uniform(0.17, 0.26) * h * np.array([1.1, 0.9, 1.1]), crown)
    return Subject("tree", f"{word} tree", parts, 0.7, h, {"colour": word})


def house(rng: Rng) -> Subject:
    """A house."""
    name, roof_name = pick_name(rng, ("black",)), str(rng.choice(["red", "brown", "grey", "blue"]))
    wall = painted(rng, name, pattern_chance=0)[0]
    if rng.random() < 0.3:
        wall = Material("bricks", wall.colour, (0.85, 0.83, 0.8), 0.5, 0.02, 5.0)
    roof = Material(
        "bricks", painted(rng, roof_name, pattern_chance=0)[0].colour, (0.2, 0.15, 0.13), 0.5, 0.05, 8.0
    )
    a, h, c = rng.uniform(1.1, 1.6), rng.uniform(0.8, 1.2), rng.uniform(1.0, 1.5)
    glass, door = (
        Material("plain", (0.35, 0.5, 0.62), (1, 1, 1), 0.3, 0.8, 60.0),
        plain(rng, (0.35, 0.2, 0.12)),
    )
    parts = Assembly()
    parts.add(BOX, (0, h, 0), (a, h, c), wall)
    parts.add(WEDGE, (0, 2 * h, 0), (a * 1.12, rng.uniform(0.7, 1.2), c * 1.08), roof)
    parts.add(BOX, (a * 0.1, 0.65, c), (0.28, 0.65, 0.03), door)
    for x in (-0.6, 0.65):
        parts.add(BOX, (a * x, h * 1.3, c), (0.26, 0.26, 0.03), glass)
        parts.add(BOX, (a, h * 1.2, c * x), (0.03, 0.26, 0.26), glass)
    parts.add(BOX, (-a * 0.5, 2 * h + 0.75, -c * 0.3), (0.14, 0.5, 0.14), plain(rng, (0.5, 0.25, 0.2)))
    return Subject(
        "house",
        f"{name} house with {article(roof_name)} roof",
        parts,
        1.9,
        2 * h + 1,
        {"colour": name, "roof": roof_name},
    )


def car(rng: Rng) -> Subject:
    """A car."""
    name = pick_name(rng, ("brown",))
    paint = Material("plain", painted(rng, name, pattern_chance=0)[0].colour, (1, 1, 1), 0.3, 0.7, 50.0)
    glass, tyre = (
        Material("plain", (0.2, 0.27, 0.33), (1, 1, 1), 0.3, 0.9, 70.0),
        plain(rng, (0.07, 0.07, 0.08)),
    )
    parts = Assembly()
    parts.add(BOX, (0, 0.42, 0), (0.62, 0.22, 1.35), paint)
    cabin = float(rng.uniform(0.6, 0.9))
    parts.add(FRUSTUM, (0, 0.84, -0.15), (cabin * 1.02, cabin * 0.72, 0.21), glass)
    parts.add(BOX, (0, 1.05, -0.15), (0.46, 0.03, cabin * 0.62), paint)
    for x in (-0.6, 0.6):
        for z in (-0.85, 0.85):
            parts.add(FRUSTUM, (x, 0.28, z), (0.28, 0.28, 0.1), tyre, rotation_z(np.pi / 2))
            parts.add(
                FRUSTUM,
                (x * 1.02, 0.28, z),
                (0.15, 0.15, 0.1),
                plain(rng, (0.7, 0.7, 0.72)),
                rotation_z(np.pi / 2),
            )
        parts.add(
            ELLIPSOID,
            (x * 0.72, 0.46, 1.34),
            (0.1, 0.08, 0.05),
            Material("plain", (1, 0.95, 0.75), emission=0.4),
        )
    return Subject("car", f"{name} car", parts, 1.3, 1.1, {"colour": name})


_FUR = {
    "brown": (0.45, 0.28, 0.15),
    "white": (0.9, 0.88, 0.84),
    "black": (0.1, 0.09, 0.09),
    "grey": (0.5, 0.5, 0.5),
    "orange": (0.8, 0.5, 0.2),
}


def _animal(rng: Rng, kind: str, scale: float, neck: float, snout: float) -> Subject:
    """A four-legged animal in mid-step; lengths are for a shoulder height of about 0.75 at scale 1."""
    name = str(rng.choice(list(_FUR)))
    fur = Material(
        "mottled", jitter(rng, _FUR[name]), jitter(rng, tuple(0.75 * c for c in _FUR[name])), 0.5, 0.05, 10.0
    )
    dark = plain(rng, (0.08, 0.07, 0.07))
    parts = Assembly()
    parts.limb((0, 0.7, 0.34), (0, 0.68, -0.36), 0.19, 0.165, fur)
    head = np.array([rng.normal(0, 0.05), 0.78 + 0.42 * neck, 0.42 + 0.3 * neck])
    parts.limb((0, 0.74, 0.38), head, 0.12, 0.09, fur)
    parts.limb(head, head + (0, -0.06, snout), 0.105, 0.06, fur)
    parts.add(ELLIPSOID, head + (0, -0.05, snout + 0.05), (0.035, 0.03, 0.03), dark)
    for side in (-1, 1):
        parts.add(
            ELLIPSOID, head + (side * 0.08, 0.1, -0.02), (0.035, 0.09, 0.03), fur, rotation_z(-0.3 * side)
        )
        parts.add(ELLIPSOID, head + (side * 0.07, 0.035, 0.07), (0.018, 0.02, 0.02), dark)
    stride = rng.uniform(0.05, 0.5)
    for side in (-1, 1):
        for z, phase in ((0.32, side), (-0.34, -side)):
            swing = phase * stride
            hip = np.array([side * 0.11, 0.62, z])
            knee = hip + (0, -0.30 * np.cos(swing), 0.30 * np.sin(swing))
            foot = knee + (0, -0.30, 0.05 * phase - 0.12 * max(0.0, -swing))
            foot[1] = max(foot[1], 0.04)
            parts.limb(hip, knee, 0.085, 0.05, fur)
            parts.limb(knee, foot, 0.05, 0.04, fur)
    parts.limb((0, 0.76, -0.48), (rng.normal(0, 0.08), 0.62 + 0.4 * rng.random(), -0.78), 0.045, 0.025, fur)
    grown = Assembly(parts.placed((0, 0, 0), 0.0, scale))
    return Subject(kind, f"{name} {kind}", grown, 0.55 * scale, 1.1 * scale, {"colour": name})


def mushroom(rng: Rng) -> Subject:
    """A mushroom."""
    name = pick_name(rng)
    cap = Material(
        "spots", painted(rng, name, pattern_chance=0)[0].colour, (0.95, 0.93, 0.88), 0.16, 0.2, 30.0
    )
    h, r = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.36)
    parts = Assembly()
    parts.add(FRUSTUM, (0, h / 2, 0), (0.12, 0.09, h / 2), plain(rng, (0.92, 0.88, 0.78)))
    parts.add(ELLIPSOID, (0, h + r * 0.15, 0), (r, r * 0.6, r), cap)
    return Subject("mushroom", f"{name} mushroom", parts, r, h + r * 0.7, {"colour": name})


def dog(rng: Rng) -> Subject:
    """A dog."""
    return _animal(rng, "dog", float(rng.uniform(0.75, 1.05)), 0.35, 0.16)


def horse(rng: Rng) -> Subject:
    """A horse."""
    return _animal(rng, "horse", float(rng.uniform(1.6, 2.0)), 1.0, 0.26)
