"""How are simple bodies and small household things put together?

Builders return a `Subject` at natural size. Leaves out furniture (`furniture`) and the outdoors (`outdoors`).
"""

from __future__ import annotations

import numpy as np

from .colours import NAMED, Rgb, article, jitter, painted, pick_name, plain
from .shapes import (
    BOX,
    CAPSULE,
    ELLIPSOID,
    FRUSTUM,
    PYRAMID,
    TORUS,
    Assembly,
    Material,
    rotation_x,
    rotation_y,
    rotation_z,
)
from .subject import Subject

Rng = np.random.Generator


def _solid(
    rng: Rng, kind: str, noun: str, shape: int, size, centre, turn=None, radius=0.3, height=0.6
) -> Subject:
    name = pick_name(rng)
    material, words = painted(rng, name, pattern_chance=0.35, scale_m=0.22 * max(radius, 0.2) / 0.3)
    parts = Assembly()
    parts.add(shape, centre, size, material, turn)
    return Subject(kind, f"{words} {noun}", parts, radius, height, {"colour": name})


def ball(rng: Rng) -> Subject:
    """A ball."""
    r = rng.uniform(0.22, 0.42)
    tilt = rotation_x(rng.uniform(-1, 1)) @ rotation_z(rng.uniform(-1, 1))
    return _solid(rng, "ball", "ball", ELLIPSOID, (r, r, r), (0, r, 0), tilt, r, 2 * r)


def box(rng: Rng) -> Subject:
    """A box or a cube."""
    a, b, c = rng.uniform(0.18, 0.42, 3)
    if rng.random() < 0.4:
        b = c = a
    noun = "cube" if a == b == c else "box"
    return _solid(rng, "box", noun, BOX, (a, b, c), (0, b, 0), None, float(np.hypot(a, c)), 2 * b)


def cylinder(rng: Rng) -> Subject:
    """A standing cylinder."""
    r, h = rng.uniform(0.14, 0.34), rng.uniform(0.18, 0.5)
    return _solid(rng, "cylinder", "cylinder", FRUSTUM, (r, r, h), (0, h, 0), None, r, 2 * h)


def cone(rng: Rng) -> Subject:
    """A cone."""
    r, h = rng.uniform(0.22, 0.4), rng.uniform(0.3, 0.5)
    return _solid(rng, "cone", "cone", FRUSTUM, (r, 0.0, h), (0, h, 0), None, r, 2 * h)


def capsule(rng: Rng) -> Subject:
    """A capsule, standing or lying."""
    r, h = rng.uniform(0.14, 0.24), rng.uniform(0.3, 0.6)
    if rng.random() < 0.5:
        return _solid(
            rng,
            "capsule",
            "capsule",
            CAPSULE,
            (r, r, h),
            (-h / 2, r, 0),
            rotation_z(-np.pi / 2),
            h / 2 + r,
            2 * r,
        )
    return _solid(rng, "capsule", "capsule", CAPSULE, (r, r, h), (0, r, 0), None, r, h + 2 * r)


def ring(rng: Rng) -> Subject:
    """A ring, standing or lying."""
    major, minor = rng.uniform(0.24, 0.38), rng.uniform(0.07, 0.12)
    if rng.random() < 0.6:
        return _solid(
            rng,
            "ring",
            "ring",
            TORUS,
            (major, minor, 1),
            (0, major + minor, 0),
            rotation_x(np.pi / 2),
            major + minor,
            2 * (major + minor),
        )
    return _solid(
        rng, "ring", "ring", TORUS, (major, minor, 1), (0, minor, 0), None, major + minor, 2 * minor
    )


def pyramid(rng: Rng) -> Subject:
    """A pyramid."""
    a, h = rng.uniform(0.25, 0.42), rng.uniform(0.4, 0.8)
    return _solid(rng, "pyramid", "pyramid", PYRAMID, (a, h, a), (0, 0, 0), None, a * 1.3, h)


def mug(rng: Rng) -> Subject:
    """A mug with its handle."""
    name = pick_name(rng)
    material, words = painted(rng, name, scale_m=0.1)
    r, h = rng.uniform(0.2, 0.26), rng.uniform(0.22, 0.3)
    parts = Assembly()
    parts.add(FRUSTUM, (0, h, 0), (r * 0.92, r, h), material)
    parts.add(FRUSTUM, (0, 2 * h, 0), (r * 0.86, r * 0.86, 0.006), plain(rng, (0.22, 0.12, 0.07)))
    parts.add(TORUS, (r + 0.05, h, 0), (h * 0.55, 0.04, 1), material, rotation_x(np.pi / 2))
    return Subject("mug", f"{words} mug", parts, r + 0.2, 2 * h, {"colour": name})


def bottle(rng: Rng) -> Subject:
    """A bottle with a label."""
    name = pick_name(rng, ("white",))
    material, _ = painted(rng, name, pattern_chance=0)
    r, h = rng.uniform(0.11, 0.16), rng.uniform(0.24, 0.34)
    parts = Assembly()
    parts.add(FRUSTUM, (0, h, 0), (r, r, h), material)
    parts.add(FRUSTUM, (0, 2 * h + 0.08, 0), (r, 0.05, 0.08), material)
    parts.add(FRUSTUM, (0, 2 * h + 0.24, 0), (0.05, 0.05, 0.09), material)
    parts.add(FRUSTUM, (0, h, 0), (r * 1.02, r * 1.02, h * 0.45), plain(rng, (0.93, 0.92, 0.86)))
    parts.add(FRUSTUM, (0, 2 * h + 0.35, 0), (0.06, 0.06, 0.03), plain(rng, (0.2, 0.2, 0.2)))
    return Subject("bottle", f"{name} bottle", parts, r, 2 * h + 0.38, {"colour": name})


def vase(rng: Rng) -> Subject:
    """A vase, with or without flowers."""
    name = pick_name(rng)
    material, words = painted(rng, name, scale_m=0.12)
    r = rng.uniform(0.15, 0.22)
    parts = Assembly()
    parts.add(ELLIPSOID, (0, r * 1.25, 0), (r, r * 1.25, r), material)
    parts.add(FRUSTUM, (0, r * 2.5, 0), (r * 0.45, r * 0.7, r * 0.45), material)
    if rng.random() < 0.6:
        petal = plain(
            rng, jitter(rng, ((0.9, 0.3, 0.4), (0.95, 0.8, 0.2), (0.8, 0.5, 0.9))[rng.integers(3)], 0.1)
        )
        for _ in range(4):
            tip = np.array([rng.normal(0, r * 0.7), r * rng.uniform(4.2, 5.5), rng.normal(0, r * 0.7)])
            parts.limb((0, r * 2.6, 0), tip, 0.012, 0.012, plain(rng, (0.2, 0.5, 0.2)))
            parts.add(ELLIPSOID, tip, (r * 0.38, r * 0.3, r * 0.38), petal)
        return Subject("vase", f"{words} vase with flowers", parts, r, r * 5.5, {"colour": name})
    return Subject("vase", f"{words} vase", parts, r, r * 3, {"colour": name})


def lamp(rng: Rng) -> Subject:
    """A lamp with a glowing shade."""
    name = pick_name(rng, ("black", "brown"))
    base = jitter(rng, ((0.15, 0.15, 0.16), (0.6, 0.5, 0.3), (0.8, 0.8, 0.8))[rng.integers(3)])
    shade = Material(
        "plain",
        jitter(rng, _light_of(name)),
        (1, 1, 1),
        0.3,
        0.0,
        10.0,
        emission=float(rng.uniform(0.25, 0.8)),
    )
    h = rng.uniform(0.55, 1.4)
    parts = Assembly()
    parts.add(FRUSTUM, (0, 0.02, 0), (0.16, 0.13, 0.02), plain(rng, base, 0.4))
    parts.add(FRUSTUM, (0, h / 2, 0), (0.02, 0.02, h / 2), plain(rng, base, 0.4))
    parts.add(FRUSTUM, (0, h + 0.1, 0), (0.23, 0.14, 0.14), shade)
    return Subject("lamp", f"{name} lamp", parts, 0.24, h + 0.25, {"colour": name})


def _light_of(name: str) -> Rgb:
    r, g, b = NAMED[name]
    return 0.3 + 0.7 * r, 0.3 + 0.7 * g, 0.3 + 0.7 * b


def plant(rng: Rng) -> Subject:
    """A plant in a pot."""
    name = pick_name(rng, ("green",))
    pot, words = painted(rng, name, scale_m=0.1)
    leaf = jitter(rng, (0.2, 0.5, 0.18), 0.15)
    r, h = rng.uniform(0.14, 0.2), rng.uniform(0.5, 0.95)
    parts = Assembly()
    parts.add(FRUSTUM, (0, r, 0), (r * 0.75, r, r), pot)
    material = Material("mottled", leaf, jitter(rng, (0.12, 0.32, 0.1), 0.1), 0.2, 0.1, 15.0)
    for k in range(8):
        turn = rotation_y(k * 2.4 + rng.uniform(0, 0.6)) @ rotation_x(rng.uniform(0.2, 0.95))
        length = h * rng.uniform(0.35, 0.55)
        parts.add(ELLIPSOID, (0, 2 * r, 0) + turn @ (0, length, 0), (0.07, length, 0.02), material, turn)
    return Subject("plant", f"plant in {article(words)} pot", parts, 0.32, h, {"colour": name})
