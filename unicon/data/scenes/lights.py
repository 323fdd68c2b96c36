"""Which light falls on a scene, and with which words?

A light is one key light that casts shadows, a fill without shadows and an ambient of two colours (from
above and from below). Leaves out the shading itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .colours import Rgb, jitter


@dataclass(frozen=True, slots=True)
class Light:
    """Position in metres (far away for the sun), colours, softness of the shadow border in metres at 1 m."""

    kind: str
    words: str
    position: np.ndarray
    target: np.ndarray
    colour: np.ndarray
    above: np.ndarray
    below: np.ndarray
    softness: float
    distant: bool
    fill: np.ndarray
    fill_position: np.ndarray
    cone_cos: float = -1.0


WORDS = {
    "sun": "bright sunlight",
    "overcast": "soft grey light",
    "lamp": "warm lamp light",
    "window": "cool window light",
    "sunset": "golden evening light",
    "spot": "a spotlight in the dark",
    "two_colour": "pink and blue light",
}
# key colour, key strength, ambient above, ambient below, ambient strength, softness
_RECIPES: dict[str, tuple[Rgb, float, Rgb, Rgb, float, float]] = {
    "sun": ((1.0, 0.95, 0.85), 1.0, (0.62, 0.75, 1.0), (0.55, 0.50, 0.42), 0.42, 0.02),
    "overcast": ((0.95, 0.97, 1.0), 0.35, (0.92, 0.95, 1.0), (0.60, 0.58, 0.55), 0.68, 0.12),
    "lamp": ((1.0, 0.80, 0.55), 1.0, (0.95, 0.82, 0.66), (0.70, 0.55, 0.42), 0.38, 0.05),
    "window": ((0.88, 0.94, 1.0), 0.85, (0.85, 0.90, 1.0), (0.60, 0.57, 0.55), 0.46, 0.08),
    "sunset": ((1.0, 0.66, 0.34), 1.0, (0.72, 0.62, 0.72), (0.60, 0.42, 0.34), 0.42, 0.03),
    "spot": ((1.0, 0.95, 0.85), 1.5, (0.5, 0.55, 0.7), (0.3, 0.3, 0.35), 0.13, 0.03),
    "two_colour": ((1.0, 0.35, 0.65), 0.95, (0.45, 0.4, 0.75), (0.35, 0.3, 0.45), 0.25, 0.05),
}


def draw_light(
    rng: np.random.Generator, kind: str, setting: str, target: np.ndarray, reach_m: float
) -> Light:
    """A light of a kind for subjects around ``target`` that spread ``reach_m`` metres."""
    key, strength, above, below, ambient, softness = _RECIPES[kind]
    azimuth = (
        rng.uniform(-np.pi, np.pi)
        if rng.random() < 0.35
        else rng.choice([-1, 1]) * rng.uniform(0.5, 1.9) + np.pi
    )
    height = {
        "sunset": rng.uniform(0.22, 0.45),
        "window": rng.uniform(0.4, 0.8),
        "spot": rng.uniform(0.9, 1.3),
    }.get(kind, rng.uniform(0.6, 1.25))
    direction = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    near = kind in ("lamp", "spot") or (kind == "two_colour" and setting != "field")
    distance = (reach_m + rng.uniform(1.0, 2.0) * max(reach_m, 0.6)) if near else 14.0 + 4 * reach_m
    if near and setting == "room":
        direction = np.array([direction[0] * 0.5, 1.0, direction[2] * 0.5])
        distance = min(distance, 1.9)
    fill = (
        np.array((0.25, 0.45, 1.0)) * 0.7
        if kind == "two_colour"
        else np.array(jitter(rng, above)) * rng.uniform(0.05, 0.22)
    )
    return Light(
        kind, WORDS[kind], target + direction / np.linalg.norm(direction) * distance, target,
        np.array(jitter(rng, key, 0.04)) * strength * rng.uniform(0.85, 1.15),
        np.array(jitter(rng, above, 0.04)) * ambient, np.array(jitter(rng, below, 0.04)) * ambient * 0.8,
        softness * float(rng.uniform(0.6, 1.6)), not near, fill,
        target + np.array([-direction[0], 0.6, -abs(direction[2]) - 0.4]) * (2 + 2 * reach_m),
        cone_cos=float(np.cos(rng.uniform(0.38, 0.55))) if kind == "spot" else -1.0,
    )  # fmt: skip
