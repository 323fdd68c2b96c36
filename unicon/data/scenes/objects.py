"""How is each kind of object put together from primitives?

A builder returns parts in metres at natural size, standing on y = 0 and facing +z, and the words that name it.
People are in ``figures``. Leaves out where an object stands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .colours import Rgb, article, jitter, painted, pick_name, plain, wooden
from .shapes import (
    BOX, CAPSULE, ELLIPSOID, FRUSTUM, PYRAMID, TORUS, WEDGE, Assembly, Material, rotation_x, rotation_y, rotation_z,
)  # fmt: skip

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Subject:
    """One nameable thing: its parts, its words, its room on the floor and, for people, its joints."""

    kind: str
    words: str
    assembly: Assembly
    radius_m: float
    height_m: float
    attributes: dict[str, str] = field(default_factory=dict)
    joints: np.ndarray | None = None  # (18, 3) metres in the subject's frame
    wardrobe: object | None = None  # what a person wears, so that a later moment shows the same person


def _solid(rng: Rng, kind: str, noun: str, shape: int, size, centre, turn=None, radius=0.3, height=0.6) -> Subject:
    name = pick_name(rng)
    material, words = painted(rng, name, pattern_chance=0.35, scale_m=0.22 * max(radius, 0.2) / 0.3)
    parts = Assembly()
    parts.add(shape, centre, size, material, turn)
    return Subject(kind, f"{words} {noun}", parts, radius, height, {"colour": name})


def _ball(rng: Rng) -> Subject:
    r = rng.uniform(0.22, 0.42)
    tilt = rotation_x(rng.uniform(-1, 1)) @ rotation_z(rng.uniform(-1, 1))
    return _solid(rng, "ball", "ball", ELLIPSOID, (r, r, r), (0, r, 0), tilt, r, 2 * r)


def _box(rng: Rng) -> Subject:
    a, b, c = rng.uniform(0.18, 0.42, 3)
    if rng.random() < 0.4:
        b = c = a
    noun = "cube" if a == b == c else "box"
    return _solid(rng, "box", noun, BOX, (a, b, c), (0, b, 0), None, float(np.hypot(a, c)), 2 * b)


def _cylinder(rng: Rng) -> Subject:
    r, h = rng.uniform(0.14, 0.34), rng.uniform(0.18, 0.5)
    return _solid(rng, "cylinder", "cylinder", FRUSTUM, (r, r, h), (0, h, 0), None, r, 2 * h)


def _cone(rng: Rng) -> Subject:
    r, h = rng.uniform(0.22, 0.4), rng.uniform(0.3, 0.5)
    return _solid(rng, "cone", "cone", FRUSTUM, (r, 0.0, h), (0, h, 0), None, r, 2 * h)


def _capsule(rng: Rng) -> Subject:
    r, h = rng.uniform(0.14, 0.24), rng.uniform(0.3, 0.6)
    if rng.random() < 0.5:
        return _solid(rng, "capsule", "capsule", CAPSULE, (r, r, h), (-h / 2, r, 0), rotation_z(-np.pi / 2), h / 2 + r, 2 * r)
    return _solid(rng, "capsule", "capsule", CAPSULE, (r, r, h), (0, r, 0), None, r, h + 2 * r)


def _ring(rng: Rng) -> Subject:
    major, minor = rng.uniform(0.24, 0.38), rng.uniform(0.07, 0.12)
    if rng.random() < 0.6:
        return _solid(rng, "ring", "ring", TORUS, (major, minor, 1), (0, major + minor, 0), rotation_x(np.pi / 2), major + minor, 2 * (major + minor))
    return _solid(rng, "ring", "ring", TORUS, (major, minor, 1), (0, minor, 0), None, major + minor, 2 * minor)


def _pyramid(rng: Rng) -> Subject:
    a, h = rng.uniform(0.25, 0.42), rng.uniform(0.4, 0.8)
    return _solid(rng, "pyramid", "pyramid", PYRAMID, (a, h, a), (0, 0, 0), None, a * 1.3, h)


def _mug(rng: Rng) -> Subject:
    name = pick_name(rng)
    material, words = painted(rng, name, scale_m=0.1)
    r, h = rng.uniform(0.2, 0.26), rng.uniform(0.22, 0.3)
    parts = Assembly()
    parts.add(FRUSTUM, (0, h, 0), (r * 0.92, r, h), material)
    parts.add(FRUSTUM, (0, 2 * h, 0), (r * 0.86, r * 0.86, 0.006), plain(rng, (0.22, 0.12, 0.07)))
    parts.add(TORUS, (r + 0.05, h, 0), (h * 0.55, 0.04, 1), material, rotation_x(np.pi / 2))
    return Subject("mug", f"{words} mug", parts, r + 0.2, 2 * h, {"colour": name})


def _bottle(rng: Rng) -> Subject:
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


def _vase(rng: Rng) -> Subject:
    name = pick_name(rng)
    material, words = painted(rng, name, scale_m=0.12)
    r = rng.uniform(0.15, 0.22)
    parts = Assembly()
    parts.add(ELLIPSOID, (0, r * 1.25, 0), (r, r * 1.25, r), material)
    parts.add(FRUSTUM, (0, r * 2.5, 0), (r * 0.45, r * 0.7, r * 0.45), material)
    if rng.random() < 0.6:
        petal = plain(rng, jitter(rng, ((0.9, 0.3, 0.4), (0.95, 0.8, 0.2), (0.8, 0.5, 0.9))[rng.integers(3)], 0.1))
        for _ in range(4):
            tip = np.array([rng.normal(0, r * 0.7), r * rng.uniform(4.2, 5.5), rng.normal(0, r * 0.7)])
            parts.limb((0, r * 2.6, 0), tip, 0.012, 0.012, plain(rng, (0.2, 0.5, 0.2)))
            parts.add(ELLIPSOID, tip, (r * 0.38, r * 0.3, r * 0.38), petal)
        return Subject("vase", f"{words} vase with flowers", parts, r, r * 5.5, {"colour": name})
    return Subject("vase", f"{words} vase", parts, r, r * 3, {"colour": name})


def _furniture(rng: Rng) -> tuple[Material, str, str]:
    if rng.random() < 0.5:
        return wooden(rng), "wooden", "brown"
    name = pick_name(rng)
    return painted(rng, name, pattern_chance=0)[0], name, name


def _legs(parts: Assembly, rng: Rng, hx: float, hz: float, height: float, thick: float, material: Material) -> None:
    round_legs = rng.random() < 0.4
    for x in (-hx, hx):
        for z in (-hz, hz):
            if round_legs:
                parts.add(FRUSTUM, (x, height / 2, z), (thick * 0.8, thick, height / 2), material)
            else:
                parts.add(BOX, (x, height / 2, z), (thick, height / 2, thick), material)


def _table(rng: Rng) -> Subject:
    material, words, colour = _furniture(rng)
    hx, hz, h = rng.uniform(0.45, 0.85), rng.uniform(0.35, 0.5), rng.uniform(0.5, 0.76)
    parts = Assembly()
    if rng.random() < 0.25:
        parts.add(FRUSTUM, (0, h - 0.02, 0), (hz * 1.2, hz * 1.2, 0.025), material)
        parts.add(FRUSTUM, (0, h / 2, 0), (0.05, 0.05, h / 2), material)
        parts.add(FRUSTUM, (0, 0.02, 0), (0.26, 0.2, 0.02), material)
        return Subject("table", f"round {words} table", parts, hz * 1.25, h, {"colour": colour})
    parts.add(BOX, (0, h - 0.025, 0), (hx, 0.028, hz), material)
    _legs(parts, rng, hx * 0.9, hz * 0.88, h - 0.05, 0.03, material)
    return Subject("table", f"{words} table", parts, float(np.hypot(hx, hz)) * 0.9, h, {"colour": colour})


def _chair(rng: Rng) -> Subject:
    material, words, colour = _furniture(rng)
    w, h, top = rng.uniform(0.2, 0.25), rng.uniform(0.42, 0.48), rng.uniform(0.85, 1.05)
    parts = Assembly()
    parts.add(BOX, (0, h, 0), (w, 0.025, w), material)
    _legs(parts, rng, w * 0.86, w * 0.86, h, 0.022, material)
    if rng.random() < 0.5:
        parts.add(BOX, (0, (h + top) / 2 + 0.06, -w * 0.92), (w, (top - h) / 2 - 0.06, 0.018), material, rotation_x(-0.08))
    else:
        for x in (-w * 0.86, w * 0.86):
            parts.add(BOX, (x, (h + top) / 2, -w * 0.9), (0.022, (top - h) / 2, 0.022), material)
        for y in (0.45, 0.92):
            parts.add(BOX, (0, h + (top - h) * y, -w * 0.9), (w * 0.86, 0.05, 0.014), material)
    return Subject("chair", f"{words} chair", parts, w * 1.35, top, {"colour": colour})


def _stool(rng: Rng) -> Subject:
    material, words, colour = _furniture(rng)
    r, h = rng.uniform(0.17, 0.22), rng.uniform(0.42, 0.65)
    parts = Assembly()
    parts.add(FRUSTUM, (0, h, 0), (r, r, 0.03), material)
    for k in range(3):
        turn = rotation_y(k * 2.094 + 0.4)
        parts.limb(turn @ (0, h, r * 0.6), turn @ (0, 0.02, r * 1.05), 0.022, 0.02, material)
    return Subject("stool", f"{words} stool", parts, r * 1.1, h, {"colour": colour})


def _sofa(rng: Rng) -> Subject:
    name = pick_name(rng)
    material, words = painted(rng, name, pattern_chance=0.2, scale_m=0.14)
    w, d = rng.uniform(0.7, 1.0), rng.uniform(0.4, 0.46)
    parts = Assembly()
    parts.add(BOX, (0, 0.2, 0), (w, 0.17, d), material)
    parts.add(BOX, (0, 0.46, 0.06), (w * 0.86, 0.08, d * 0.86), material)
    parts.add(BOX, (0, 0.58, -d * 0.85), (w, 0.27, 0.11), material, rotation_x(-0.1))
    for x in (-w * 0.93, w * 0.93):
        parts.add(BOX, (x, 0.36, 0), (w * 0.09, 0.27, d * 1.03), material)
    if rng.random() < 0.6:
        cushion = painted(rng, pick_name(rng, (name,)), scale_m=0.08)[0]
        parts.add(BOX, (rng.uniform(-0.5, 0.5) * w, 0.66, -d * 0.45), (0.18, 0.16, 0.06), cushion, rotation_x(-0.35))
    return Subject("sofa", f"{words} sofa", parts, w, 0.85, {"colour": name})


def _bed(rng: Rng) -> Subject:
    name = pick_name(rng, ("black",))
    cover, words = painted(rng, name, pattern_chance=0.35, scale_m=0.22)
    frame = wooden(rng)
    w, d = rng.uniform(0.5, 0.8), 1.0
    parts = Assembly()
    parts.add(BOX, (0, 0.17, 0), (w, 0.12, d), frame)
    parts.add(BOX, (0, 0.38, 0), (w * 0.97, 0.11, d * 0.98), plain(rng, (0.92, 0.91, 0.88)))
    parts.add(BOX, (0, 0.42, 0.22 * d), (w * 1.02, 0.10, d * 0.8), cover)
    parts.add(BOX, (0, 0.45, -d), (w, 0.45, 0.04), frame)
    parts.add(BOX, (0, 0.54, -d * 0.8), (w * 0.6, 0.08, 0.17), plain(rng, (0.95, 0.95, 0.93)), rotation_x(-0.2))
    return Subject("bed", f"{words} bed", parts, 0.95, 0.9, {"colour": name})


def _shelf(rng: Rng) -> Subject:
    material, words, colour = _furniture(rng)
    w, h, d = rng.uniform(0.35, 0.6), rng.uniform(0.5, 1.0), 0.16
    parts = Assembly()
    for x in (-w, w):
        parts.add(BOX, (x, h, 0), (0.02, h, d), material)
    parts.add(BOX, (0, h, -d), (w, h, 0.012), material)
    levels = int(rng.integers(3, 6))
    for k in range(levels):
        y = 0.06 + (2 * h - 0.08) * k / (levels - 1)
        parts.add(BOX, (0, y, 0), (w, 0.018, d), material)
        if k < levels - 1:
            _books(parts, rng, w, y, (2 * h - 0.08) / (levels - 1), d)
    return Subject("shelf", f"{words} shelf with books", parts, max(w, 0.35), 2 * h, {"colour": colour})


def _books(parts: Assembly, rng: Rng, w: float, y: float, room: float, d: float) -> None:
    x = -w + 0.05
    for _ in range(4):
        thick, height = rng.uniform(0.02, 0.09), room * rng.uniform(0.4, 0.75)
        if x + 2 * thick > w - 0.04:
            return
        cover = painted(rng, pick_name(rng), pattern_chance=0)[0]
        parts.add(BOX, (x + thick, y + 0.018 + height / 2, -0.02), (thick, height / 2, d * 0.75), cover)
        x += 2 * thick + rng.uniform(0.0, 0.15)


def _lamp(rng: Rng) -> Subject:
    name = pick_name(rng, ("black", "brown"))
    base = jitter(rng, ((0.15, 0.15, 0.16), (0.6, 0.5, 0.3), (0.8, 0.8, 0.8))[rng.integers(3)])
    shade = Material("plain", jitter(rng, _light_of(name)), (1, 1, 1), 0.3, 0.0, 10.0, emission=float(rng.uniform(0.25, 0.8)))
    h = rng.uniform(0.55, 1.4)
    parts = Assembly()
    parts.add(FRUSTUM, (0, 0.02, 0), (0.16, 0.13, 0.02), plain(rng, base, 0.4))
    parts.add(FRUSTUM, (0, h / 2, 0), (0.02, 0.02, h / 2), plain(rng, base, 0.4))
    parts.add(FRUSTUM, (0, h + 0.1, 0), (0.23, 0.14, 0.14), shade)
    return Subject("lamp", f"{name} lamp", parts, 0.24, h + 0.25, {"colour": name})


def _light_of(name: str) -> Rgb:
    from .colours import NAMED

    r, g, b = NAMED[name]
    return 0.3 + 0.7 * r, 0.3 + 0.7 * g, 0.3 + 0.7 * b


def _plant(rng: Rng) -> Subject:
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


def _tree(rng: Rng) -> Subject:
    trunk = Material("mottled", (0.38, 0.26, 0.17), (0.25, 0.16, 0.1), 0.3, 0.0, 5.0)
    leaf, word = (((0.22, 0.47, 0.16), "green"), ((0.78, 0.42, 0.12), "orange"), ((0.85, 0.5, 0.6), "pink"))[rng.choice(3, p=(0.7, 0.18, 0.12))]
    dark = tuple(0.62 * c for c in leaf)
    crown = Material("grass", jitter(rng, leaf, 0.1), jitter(rng, dark, 0.1), 0.35, 0.0, 5.0)
    h = rng.uniform(1.8, 3.2)
    parts = Assembly()
    if rng.random() < 0.35:
        parts.limb((0, 0, 0), (0, h * 0.4, 0), 0.12, 0.1, trunk)
        for k in range(3):
            parts.add(FRUSTUM, (0, h * (0.38 + 0.22 * k), 0), (h * (0.3 - 0.07 * k), h * 0.04 * (2 - k), h * 0.16), crown)
        return Subject("tree", f"{word} pine tree", parts, 0.6, h, {"colour": word})
    parts.limb((0, 0, 0), (rng.normal(0, 0.08), h * 0.6, rng.normal(0, 0.08)), 0.16, 0.09, trunk)
    for _ in range(5):
        place = np.array([rng.normal(0, 0.26), 0.72 + rng.normal(0, 0.09), rng.normal(0, 0.26)]) * (h / 2, h, h / 2)
        parts.add(ELLIPSOID, place, rng.uniform(0.17, 0.26) * h * np.array([1.1, 0.9, 1.1]), crown)
    return Subject("tree", f"{word} tree", parts, 0.7, h, {"colour": word})


def _house(rng: Rng) -> Subject:
    name, roof_name = pick_name(rng, ("black",)), str(rng.choice(["red", "brown", "grey", "blue"]))
    wall = painted(rng, name, pattern_chance=0)[0]
    if rng.random() < 0.3:
        wall = Material("bricks", wall.colour, (0.85, 0.83, 0.8), 0.5, 0.02, 5.0)
    roof = Material("bricks", painted(rng, roof_name, pattern_chance=0)[0].colour, (0.2, 0.15, 0.13), 0.5, 0.05, 8.0)
    a, h, c = rng.uniform(1.1, 1.6), rng.uniform(0.8, 1.2), rng.uniform(1.0, 1.5)
    glass, door = Material("plain", (0.35, 0.5, 0.62), (1, 1, 1), 0.3, 0.8, 60.0), plain(rng, (0.35, 0.2, 0.12))
    parts = Assembly()
    parts.add(BOX, (0, h, 0), (a, h, c), wall)
    parts.add(WEDGE, (0, 2 * h, 0), (a * 1.12, rng.uniform(0.7, 1.2), c * 1.08), roof)
    parts.add(BOX, (a * 0.1, 0.65, c), (0.28, 0.65, 0.03), door)
    for x in (-0.6, 0.65):
        parts.add(BOX, (a * x, h * 1.3, c), (0.26, 0.26, 0.03), glass)
        parts.add(BOX, (a, h * 1.2, c * x), (0.03, 0.26, 0.26), glass)
    parts.add(BOX, (-a * 0.5, 2 * h + 0.75, -c * 0.3), (0.14, 0.5, 0.14), plain(rng, (0.5, 0.25, 0.2)))
    return Subject("house", f"{name} house with {article(roof_name)} roof", parts, 1.9, 2 * h + 1, {"colour": name, "roof": roof_name})


def _car(rng: Rng) -> Subject:
    name = pick_name(rng, ("brown",))
    paint = Material("plain", painted(rng, name, pattern_chance=0)[0].colour, (1, 1, 1), 0.3, 0.7, 50.0)
    glass, tyre = Material("plain", (0.2, 0.27, 0.33), (1, 1, 1), 0.3, 0.9, 70.0), plain(rng, (0.07, 0.07, 0.08))
    parts = Assembly()
    parts.add(BOX, (0, 0.42, 0), (0.62, 0.22, 1.35), paint)
    cabin = float(rng.uniform(0.6, 0.9))
    parts.add(FRUSTUM, (0, 0.84, -0.15), (cabin * 1.02, cabin * 0.72, 0.21), glass)
    parts.add(BOX, (0, 1.05, -0.15), (0.46, 0.03, cabin * 0.62), paint)
    for x in (-0.6, 0.6):
        for z in (-0.85, 0.85):
            parts.add(FRUSTUM, (x, 0.28, z), (0.28, 0.28, 0.1), tyre, rotation_z(np.pi / 2))
            parts.add(FRUSTUM, (x * 1.02, 0.28, z), (0.15, 0.15, 0.1), plain(rng, (0.7, 0.7, 0.72)), rotation_z(np.pi / 2))
        parts.add(ELLIPSOID, (x * 0.72, 0.46, 1.34), (0.1, 0.08, 0.05), Material("plain", (1, 0.95, 0.75), emission=0.4))
    return Subject("car", f"{name} car", parts, 1.3, 1.1, {"colour": name})


_FUR = {"brown": (0.45, 0.28, 0.15), "white": (0.9, 0.88, 0.84), "black": (0.1, 0.09, 0.09), "grey": (0.5, 0.5, 0.5), "orange": (0.8, 0.5, 0.2)}


def _animal(rng: Rng, kind: str, scale: float, neck: float, snout: float) -> Subject:
    """A four-legged animal in mid-step; lengths are for a shoulder height of about 0.75 at scale 1."""
    name = str(rng.choice(list(_FUR)))
    fur = Material("mottled", jitter(rng, _FUR[name]), jitter(rng, tuple(0.75 * c for c in _FUR[name])), 0.5, 0.05, 10.0)
    dark = plain(rng, (0.08, 0.07, 0.07))
    parts = Assembly()
    parts.limb((0, 0.7, 0.34), (0, 0.68, -0.36), 0.19, 0.165, fur)
    head = np.array([rng.normal(0, 0.05), 0.78 + 0.42 * neck, 0.42 + 0.3 * neck])
    parts.limb((0, 0.74, 0.38), head, 0.12, 0.09, fur)
    parts.limb(head, head + (0, -0.06, snout), 0.105, 0.06, fur)
    parts.add(ELLIPSOID, head + (0, -0.05, snout + 0.05), (0.035, 0.03, 0.03), dark)
    for side in (-1, 1):
        parts.add(ELLIPSOID, head + (side * 0.08, 0.1, -0.02), (0.035, 0.09, 0.03), fur, rotation_z(-0.3 * side))
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


def _mushroom(rng: Rng) -> Subject:
    name = pick_name(rng)
    cap = Material("spots", painted(rng, name, pattern_chance=0)[0].colour, (0.95, 0.93, 0.88), 0.16, 0.2, 30.0)
    h, r = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.36)
    parts = Assembly()
    parts.add(FRUSTUM, (0, h / 2, 0), (0.12, 0.09, h / 2), plain(rng, (0.92, 0.88, 0.78)))
    parts.add(ELLIPSOID, (0, h + r * 0.15, 0), (r, r * 0.6, r), cap)
    return Subject("mushroom", f"{name} mushroom", parts, r, h + r * 0.7, {"colour": name})


BUILDERS: dict[str, Callable[[Rng], Subject]] = {
    "ball": _ball, "box": _box, "cylinder": _cylinder, "cone": _cone, "ring": _ring, "pyramid": _pyramid,
    "capsule": _capsule, "mug": _mug, "bottle": _bottle, "vase": _vase, "table": _table, "chair": _chair,
    "stool": _stool, "sofa": _sofa, "bed": _bed, "shelf": _shelf, "lamp": _lamp, "plant": _plant, "tree": _tree,
    "house": _house, "car": _car, "mushroom": _mushroom,
    "dog": lambda rng: _animal(rng, "dog", float(rng.uniform(0.75, 1.05)), 0.35, 0.16),
    "horse": lambda rng: _animal(rng, "horse", float(rng.uniform(1.6, 2.0)), 1.0, 0.26),
}  # fmt: skip
