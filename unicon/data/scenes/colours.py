"""Which named colours and materials do things have?

Leaves out textures themselves. Names here are the only colour words of captions.
"""

from __future__ import annotations

import colorsys

import numpy as np

from .shapes import Material

Rgb = tuple[float, ...]  # three numbers, gamma-coded
NAMED: dict[str, Rgb] = {
    "red": (0.80, 0.13, 0.12),
    "orange": (0.93, 0.48, 0.10),
    "yellow": (0.95, 0.80, 0.18),
    "green": (0.20, 0.55, 0.22),
    "teal": (0.12, 0.58, 0.58),
    "blue": (0.16, 0.33, 0.78),
    "purple": (0.47, 0.22, 0.62),
    "pink": (0.94, 0.55, 0.68),
    "brown": (0.45, 0.28, 0.16),
    "white": (0.92, 0.92, 0.90),
    "grey": (0.52, 0.53, 0.55),
    "black": (0.10, 0.10, 0.11),
}
PATTERN_WORD = {"stripes": "striped", "checks": "checked", "spots": "spotted"}
SKINS: tuple[Rgb, ...] = (
    (0.93, 0.76, 0.65),
    (0.85, 0.65, 0.50),
    (0.68, 0.47, 0.34),
    (0.45, 0.29, 0.20),
    (0.95, 0.80, 0.70),
)
HAIRS: tuple[Rgb, ...] = (
    (0.10, 0.08, 0.07),
    (0.28, 0.17, 0.09),
    (0.45, 0.28, 0.13),
    (0.80, 0.65, 0.35),
    (0.55, 0.22, 0.10),
    (0.6, 0.6, 0.6),
)
WOODS: tuple[tuple[Rgb, Rgb], ...] = (
    ((0.66, 0.45, 0.27), (0.48, 0.30, 0.16)), ((0.82, 0.65, 0.43), (0.66, 0.47, 0.28)),
    ((0.42, 0.26, 0.16), (0.28, 0.16, 0.10)), ((0.75, 0.70, 0.62), (0.60, 0.54, 0.46)),
)  # fmt: skip


def article(words: str) -> str:
    """The words with "a" or "an"."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def jitter(rng: np.random.Generator, colour: Rgb, amount: float = 0.06) -> Rgb:
    """A colour near the given one."""
    h, s, v = colorsys.rgb_to_hsv(*colour)
    h = (h + rng.normal(0, amount * 0.15)) % 1.0
    s = float(np.clip(s * (1 + rng.normal(0, amount)), 0, 1))
    v = float(np.clip(v * (1 + rng.normal(0, amount)), 0.05, 0.97))
    return colorsys.hsv_to_rgb(h, s, v)


def pick_name(rng: np.random.Generator, avoid: tuple[str, ...] = ()) -> str:
    """A colour word."""
    names = [name for name in NAMED if name not in avoid]
    return str(rng.choice(names))


def contrast_with(rng: np.random.Generator, name: str) -> Rgb:
    """A second colour that differs visibly from the named one."""
    first = np.array(NAMED[name])
    others = [c for c in NAMED.values() if np.abs(np.array(c) - first).sum() > 0.7]
    light = [c for c in others if sum(c) > 2.2]
    pool = light if light and rng.random() < 0.6 else others
    return jitter(rng, pool[rng.integers(len(pool))])


def painted(
    rng: np.random.Generator, name: str, *, pattern_chance: float = 0.25, scale_m: float = 0.2
) -> tuple[Material, str]:
    """A material of the named colour and the words for it ("red", "striped red")."""
    shine = float(rng.uniform(0.05, 0.5)), float(rng.uniform(10, 60))
    offset = float(rng.random()), float(rng.random())
    base = jitter(rng, NAMED[name])
    if rng.random() < pattern_chance:
        texture = str(rng.choice(list(PATTERN_WORD)))
        material = Material(texture, base, contrast_with(rng, name), scale_m, *shine, offset=offset)
        return material, f"{PATTERN_WORD[texture]} {name}"
    return Material("plain", base, base, scale_m, *shine, offset=offset), name


def plain(rng: np.random.Generator, colour: Rgb, specular: float = 0.08) -> Material:
    """A plain material near a colour."""
    near = jitter(rng, colour)
    return Material("plain", near, near, 0.3, specular, 20.0)


def wooden(rng: np.random.Generator) -> Material:
    """A wood."""
    first, second = WOODS[rng.integers(len(WOODS))]
    offset = float(rng.random()), float(rng.random())
    return Material(
        "wood",
        jitter(rng, first),
        jitter(rng, second),
        float(rng.uniform(0.06, 0.14)),
        0.12,
        25.0,
        offset=offset,
    )
