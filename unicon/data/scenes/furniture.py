"""How is furniture put together?

Builders return a `Subject` at natural size, with its front towards +z.
"""

from __future__ import annotations

import numpy as np

from .colours import painted, pick_name, plain, wooden
from .shapes import BOX, FRUSTUM, Assembly, Material, rotation_x, rotation_y
from .subject import Subject

Rng = np.random.Generator


def _furniture(rng: Rng) -> tuple[Material, str, str]:
    if rng.random() < 0.5:
        return wooden(rng), "wooden", "brown"
    name = pick_name(rng)
    return painted(rng, name, pattern_chance=0)[0], name, name


def _legs(
    parts: Assembly, rng: Rng, hx: float, hz: float, height: float, thick: float, material: Material
) -> None:
    round_legs = rng.random() < 0.4
    for x in (-hx, hx):
        for z in (-hz, hz):
            if round_legs:
                parts.add(FRUSTUM, (x, height / 2, z), (thick * 0.8, thick, height / 2), material)
            else:
                parts.add(BOX, (x, height / 2, z), (thick, height / 2, thick), material)


def table(rng: Rng) -> Subject:
    """A table, square or round."""
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


def chair(rng: Rng) -> Subject:
    """A chair."""
    material, words, colour = _furniture(rng)
    w, h, top = rng.uniform(0.2, 0.25), rng.uniform(0.42, 0.48), rng.uniform(0.85, 1.05)
    parts = Assembly()
    parts.add(BOX, (0, h, 0), (w, 0.025, w), material)
    _legs(parts, rng, w * 0.86, w * 0.86, h, 0.022, material)
    if rng.random() < 0.5:
        parts.add(
            BOX,
            (0, (h + top) / 2 + 0.06, -w * 0.92),
            (w, (top - h) / 2 - 0.06, 0.018),
            material,
            rotation_x(-0.08),
        )
    else:
        for x in (-w * 0.86, w * 0.86):
            parts.add(BOX, (x, (h + top) / 2, -w * 0.9), (0.022, (top - h) / 2, 0.022), material)
        for y in (0.45, 0.92):
            parts.add(BOX, (0, h + (top - h) * y, -w * 0.9), (w * 0.86, 0.05, 0.014), material)
    return Subject("chair", f"{words} chair", parts, w * 1.35, top, {"colour": colour})


def stool(rng: Rng) -> Subject:
    """A stool on three legs."""
    material, words, colour = _furniture(rng)
    r, h = rng.uniform(0.17, 0.22), rng.uniform(0.42, 0.65)
    parts = Assembly()
    parts.add(FRUSTUM, (0, h, 0), (r, r, 0.03), material)
    for k in range(3):
        turn = rotation_y(k * 2.094 + 0.4)
        parts.limb(turn @ (0, h, r * 0.6), turn @ (0, 0.02, r * 1.05), 0.022, 0.02, material)
    return Subject("stool", f"{words} stool", parts, r * 1.1, h, {"colour": colour})


def sofa(rng: Rng) -> Subject:
    """A sofa."""
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
        parts.add(
            BOX, (rng.uniform(-0.5, 0.5) * w, 0.66, -d * 0.45), (0.18, 0.16, 0.06), cushion, rotation_x(-0.35)
        )
    return Subject("sofa", f"{words} sofa", parts, w, 0.85, {"colour": name})


def bed(rng: Rng) -> Subject:
    """A bed."""
    name = pick_name(rng, ("black",))
    cover, words = painted(rng, name, pattern_chance=0.35, scale_m=0.22)
    frame = wooden(rng)
    w, d = rng.uniform(0.5, 0.8), 1.0
    parts = Assembly()
    parts.add(BOX, (0, 0.17, 0), (w, 0.12, d), frame)
    parts.add(BOX, (0, 0.38, 0), (w * 0.97, 0.11, d * 0.98), plain(rng, (0.92, 0.91, 0.88)))
    parts.add(BOX, (0, 0.42, 0.22 * d), (w * 1.02, 0.10, d * 0.8), cover)
    parts.add(BOX, (0, 0.45, -d), (w, 0.45, 0.04), frame)
    parts.add(
        BOX, (0, 0.54, -d * 0.8), (w * 0.6, 0.08, 0.17), plain(rng, (0.95, 0.95, 0.93)), rotation_x(-0.2)
    )
    return Subject("bed", f"{words} bed", parts, 0.95, 0.9, {"colour": name})


def shelf(rng: Rng) -> Subject:
    """A shelf with books."""
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
