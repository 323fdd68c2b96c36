"""How does a person stand, walk or sit, and where are the 18 joints?

A figure is capsules around a jointed skeleton; poses are joint angles with random spread. Frame: y up,
front +z, so the person's right side is at -x. Leaves out drawing the joints (``unicon.conditions.pose``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .colours import HAIRS, PATTERN_WORD, SKINS, article, contrast_with, jitter, painted, pick_name, plain
from .shapes import (
    BOX,
    ELLIPSOID,
    FRUSTUM,
    Assembly,
    Material,
    frame_along,
    rotation_x,
    rotation_y,
    rotation_z,
)
from .subject import Subject

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Limbs:
    """Radians, right then left: forward swing, outward spread, bend of elbow or knee, turn of the arm."""

    arm_swing: tuple[float, float] = (0.0, 0.0)
    arm_spread: tuple[float, float] = (0.12, 0.12)
    elbow: tuple[float, float] = (0.15, 0.15)
    arm_twist: tuple[float, float] = (0.0, 0.0)
    leg_swing: tuple[float, float] = (0.0, 0.0)
    leg_spread: tuple[float, float] = (0.06, 0.06)
    knee: tuple[float, float] = (0.03, 0.03)
    lean: float = 0.0
    sway: float = 0.0
    lift: float = 0.0  # fraction of the stature above the ground


ACTIVITIES: dict[str, tuple[Limbs, ...]] = {
    "standing": (
        Limbs(),
        Limbs(arm_spread=(0.5, 0.5), elbow=(1.5, 1.5), arm_twist=(-1.2, 1.2), arm_swing=(-0.3, -0.3)),
        Limbs(arm_swing=(0.3, 0.3), elbow=(1.6, 1.6), arm_twist=(0.9, -0.9), arm_spread=(0.05, 0.05)),
    ),
    "walking": (
        Limbs(arm_swing=(0.45, -0.4), elbow=(0.4, 0.25), leg_swing=(-0.4, 0.45), knee=(0.35, 0.1), lean=0.05),
    ),
    "running": (
        Limbs(arm_swing=(0.8, -0.7), elbow=(1.5, 1.5), leg_swing=(-0.35, 1.05), knee=(1.2, 1.0), lean=0.25,
              lift=0.03),
    ),
    "waving": (
        Limbs(arm_swing=(0.0, 0.0), arm_spread=(1.9, 0.12), elbow=(0.9, 0.15), arm_twist=(1.57, 0.0)),
        Limbs(arm_spread=(2.6, 0.15), elbow=(0.35, 0.15), arm_twist=(1.57, 0.0)),
    ),
    "with arms up": (
        Limbs(arm_spread=(2.7, 2.7), elbow=(0.2, 0.2), leg_spread=(0.15, 0.15)),
        Limbs(arm_spread=(2.2, 2.2), elbow=(0.6, 0.6), arm_twist=(1.57, -1.57), leg_spread=(0.2, 0.2)),
    ),
    "with arms wide": (Limbs(arm_spread=(1.5, 1.5), elbow=(0.08, 0.08), leg_spread=(0.18, 0.18)),),
    "sitting": (
        Limbs(leg_swing=(1.5, 1.5), knee=(1.5, 1.5), arm_swing=(0.5, 0.5), elbow=(0.6, 0.6),
              leg_spread=(0.14, 0.14)),
        Limbs(leg_swing=(1.45, 1.4), knee=(1.4, 1.2), arm_swing=(0.25, 0.3), elbow=(1.1, 0.9), lean=0.15),
    ),
    "jumping": (
        Limbs(arm_spread=(2.3, 2.3), elbow=(0.3, 0.3), leg_spread=(0.45, 0.45), knee=(0.3, 0.3), lift=0.14),
        Limbs(arm_swing=(2.6, 2.6), leg_swing=(0.6, 0.2), knee=(1.3, 1.1), lift=0.16),
    ),
    "kicking": (
        Limbs(leg_swing=(1.15, -0.1), knee=(0.15, 0.15), arm_swing=(-0.5, 0.6), arm_spread=(0.5, 0.7),
              lean=-0.18),
    ),
    "throwing": (
        Limbs(arm_swing=(2.3, 0.9), arm_spread=(0.5, 0.2), elbow=(1.3, 0.3), leg_swing=(-0.35, 0.4),
              knee=(0.2, 0.25), lean=0.12),
    ),
    "dancing": (
        Limbs(arm_spread=(2.4, 1.1), elbow=(0.7, 1.2), arm_twist=(1.57, -1.57), leg_swing=(0.1, 0.7),
              leg_spread=(0.05, 0.35), knee=(0.1, 1.3), sway=0.15),
    ),
    "pointing": (
        Limbs(arm_swing=(1.5, 0.0), arm_spread=(0.1, 0.15), elbow=(0.06, 0.2)),
        Limbs(arm_spread=(1.5, 0.3), elbow=(0.05, 1.4), arm_twist=(0.0, 1.2)),
    ),
    "crouching": (
        Limbs(leg_swing=(1.7, 1.5), knee=(2.2, 2.1), leg_spread=(0.2, 0.2), arm_swing=(0.9, 0.9),
              elbow=(0.6, 0.6), lean=0.4),
    ),
}  # fmt: skip
_WEIGHTS = {"standing": 2.2, "walking": 2.0, "waving": 1.4, "sitting": 1.6}
_DOWN = np.array([0.0, -1.0, 0.0])


def draw_limbs(rng: Rng, activity: str) -> Limbs:
    """A variant of an activity with random spread, mirrored half of the time."""
    options = ACTIVITIES[activity]
    limbs = options[rng.integers(len(options))]
    changes: dict[str, tuple[float, float] | float] = {}
    flip = rng.random() < 0.5
    for name in ("arm_swing", "arm_spread", "elbow", "arm_twist", "leg_swing", "leg_spread", "knee"):
        right, left = getattr(limbs, name)
        if flip:
            right, left = (-left, -right) if name == "arm_twist" else (left, right)
        spread = 0.16 if name.startswith("arm") or name == "elbow" else 0.07
        right, left = right + rng.normal(0, spread), left + rng.normal(0, spread)
        if name in ("elbow", "knee", "arm_spread", "leg_spread"):
            right, left = max(right, 0.02), max(left, 0.02)
        changes[name] = (float(right), float(left))
    changes["lean"] = limbs.lean + float(rng.normal(0, 0.04))
    changes["sway"] = (-1 if flip else 1) * limbs.sway + float(rng.normal(0, 0.03))
    return replace(limbs, **changes)  # type: ignore[arg-type]


def skeleton(limbs: Limbs, woman: bool) -> dict[str, np.ndarray]:
    """Joint positions of a figure of stature 1, feet (or the lift) on y = 0; names end in 0 right, 1 left."""
    torso = rotation_z(limbs.sway) @ rotation_x(limbs.lean)
    at = {"pelvis": np.array([0.0, 0.53, 0.0])}
    at["neck"] = at["pelvis"] + torso @ (0, 0.295, 0)
    at["head"] = at["neck"] + torso @ (0, 0.105, 0.015)
    half_shoulder, half_hip = (0.095, 0.058) if woman else (0.112, 0.054)
    for i, side in enumerate((-1, 1)):
        shoulder = at["pelvis"] + torso @ (side * half_shoulder, 0.275, 0)
        raise_arm = torso @ rotation_z(side * limbs.arm_spread[i]) @ rotation_x(-limbs.arm_swing[i])
        fore = raise_arm @ rotation_y(limbs.arm_twist[i]) @ rotation_x(-limbs.elbow[i])
        at[f"shoulder{i}"], at[f"elbow{i}"] = shoulder, shoulder + raise_arm @ _DOWN * 0.165
        at[f"wrist{i}"] = at[f"elbow{i}"] + fore @ _DOWN * 0.145
        at[f"hand{i}"] = at[f"wrist{i}"] + fore @ _DOWN * 0.045
        hip = at["pelvis"] + np.array([side * half_hip, -0.015, 0])
        thigh = rotation_z(side * limbs.leg_spread[i]) @ rotation_x(-limbs.leg_swing[i])
        shin = thigh @ rotation_x(limbs.knee[i])
        at[f"hip{i}"], at[f"knee{i}"] = hip, hip + thigh @ _DOWN * 0.245
        at[f"ankle{i}"] = at[f"knee{i}"] + shin @ _DOWN * 0.235
        at[f"toe{i}"] = at[f"ankle{i}"] + shin @ np.array([0, -0.025, 0.085])
    lowest = min(at[f"{part}{i}"][1] for part in ("ankle", "toe", "knee") for i in (0, 1)) - 0.028
    for name in at:
        at[name] = at[name] - (0, lowest - limbs.lift, 0)
    at["up"], at["ahead"], at["across"] = torso @ (0, 1, 0), torso @ (0, 0, 1), torso @ (1, 0, 0)
    return at


def openpose_joints(at: dict[str, np.ndarray]) -> np.ndarray:
    """The 18 joints (18, 3) in OpenPose order from a skeleton."""
    head, up, ahead, across = at["head"], at["up"], at["ahead"], at["across"]
    order = [head + 0.068 * ahead - 0.005 * up, at["neck"]]
    for i in (0, 1):
        order += [at[f"shoulder{i}"], at[f"elbow{i}"], at[f"wrist{i}"]]
    for i in (0, 1):
        order += [at[f"hip{i}"], at[f"knee{i}"], at[f"ankle{i}"]]
    order += [head + side * 0.027 * across + 0.058 * ahead + 0.02 * up for side in (-1, 1)]
    order += [head + side * 0.06 * across + 0.005 * up for side in (-1, 1)]
    return np.array(order)


@dataclass(frozen=True, slots=True)
class Wardrobe:
    """What a person is and wears; kept between the first and the second picture."""

    noun: str
    woman: bool
    stature_m: float
    width: float
    skin: Material
    hair: Material
    long_hair: bool
    shirt: Material
    shirt_words: str
    lower: Material
    lower_words: str
    shoes: Material
    skirt: bool
    long_sleeves: bool
    long_legs: bool


def draw_wardrobe(rng: Rng) -> Wardrobe:
    """A person in clothes."""
    noun = str(rng.choice(["man", "woman", "boy", "girl"], p=(0.36, 0.36, 0.14, 0.14)))
    woman, child = noun in ("woman", "girl"), noun in ("boy", "girl")
    skirt = woman and rng.random() < 0.35
    top = pick_name(rng)
    shirt, shirt_words = painted(rng, top, pattern_chance=0.3, scale_m=0.075)
    if shirt.texture not in ("plain", *PATTERN_WORD):
        shirt = replace(shirt, second=contrast_with(rng, top))
    bottom = pick_name(rng, (top,))
    lower = painted(rng, bottom, pattern_chance=0)[0]
    long_legs = rng.random() < 0.72
    lower_words = f"{bottom} " + ("skirt" if skirt else "trousers" if long_legs else "shorts")
    stature = rng.uniform(1.1, 1.4) if child else rng.uniform(1.55, 1.7) if woman else rng.uniform(1.65, 1.88)
    return Wardrobe(
        noun, woman, float(stature), float(rng.uniform(0.92, 1.15)),
        plain(rng, SKINS[rng.integers(len(SKINS))]),
        plain(rng, HAIRS[rng.integers(len(HAIRS))]), bool(woman and rng.random() < 0.75),
        replace(shirt, specular=0.03), shirt_words, replace(lower, specular=0.03), lower_words,
        plain(rng, jitter(rng, ((0.1, 0.1, 0.1), (0.9, 0.9, 0.9), (0.4, 0.25, 0.15))[rng.integers(3)])),
        skirt, bool(rng.random() < 0.55), bool(long_legs and not skirt),
    )  # fmt: skip


def _dress(parts: Assembly, at: dict[str, np.ndarray], wear: Wardrobe) -> None:
    """Put capsules of clothes and skin around a skeleton."""
    w = wear.width
    pelvis, neck, across, up = at["pelvis"], at["neck"], at["across"], at["up"]
    spine = np.stack([across, up, at["ahead"]], axis=1)
    chest = 0.5 * (at["shoulder0"] + at["shoulder1"]) - 0.085 * up
    parts.add(ELLIPSOID, chest, (0.108 * w, 0.125, 0.072 * w), wear.shirt, spine)
    parts.limb(pelvis + 0.03 * up, chest, 0.075 * w, 0.075 * w, wear.shirt)
    parts.limb(at["shoulder0"] - 0.012 * up, at["shoulder1"] - 0.012 * up, 0.038, 0.038, wear.shirt)
    parts.add(ELLIPSOID, pelvis - 0.01 * up, (0.092 * w, 0.062, 0.074 * w), wear.lower)
    parts.limb(neck - 0.03 * up, neck + 0.06 * up, 0.030, 0.028, wear.skin)
    _head(parts, at, wear)
    for i in (0, 1):
        _arm(parts, at, wear, i)
        _leg(parts, at, wear, i)
    if wear.skirt:
        low = 0.5 * (at["knee0"] + at["knee1"])
        top, length = pelvis + 0.03 * up, 0.0
        axis = 0.8 * (low - top)
        length = float(np.linalg.norm(axis))
        parts.add(FRUSTUM, top + axis / 2, (0.085 * w, 0.15 * w, length / 2), wear.lower, frame_along(axis))


def _head(parts: Assembly, at: dict[str, np.ndarray], wear: Wardrobe) -> None:
    head, up, ahead = at["head"], at["up"], at["ahead"]
    frame = np.stack([at["across"], up, ahead], axis=1)
    parts.add(ELLIPSOID, head, (0.056, 0.074, 0.064), wear.skin, frame)
    parts.add(ELLIPSOID, head + 0.022 * up - 0.016 * ahead, (0.061, 0.067, 0.061), wear.hair, frame)
    if wear.long_hair:
        parts.limb(
            head + 0.01 * up - 0.035 * ahead, head - 0.12 * up - 0.045 * ahead, 0.052, 0.035, wear.hair
        )
    parts.add(ELLIPSOID, head + 0.064 * ahead - 0.008 * up, (0.010, 0.014, 0.012), wear.skin, frame)
    eye = Material("plain", (0.12, 0.09, 0.08), (0.1, 0.1, 0.1))
    for side in (-1, 1):
        parts.add(
            ELLIPSOID,
            head + side * 0.024 * at["across"] + 0.056 * ahead + 0.012 * up,
            (0.009, 0.008, 0.007),
            eye,
            frame,
        )


def _arm(parts: Assembly, at: dict[str, np.ndarray], wear: Wardrobe, i: int) -> None:
    w = 0.5 + 0.5 * wear.width
    fore = wear.shirt if wear.long_sleeves else wear.skin
    parts.limb(at[f"shoulder{i}"], at[f"elbow{i}"], 0.036 * w, 0.029 * w, wear.shirt)
    parts.limb(at[f"elbow{i}"], at[f"wrist{i}"], 0.029 * w, 0.022 * w, fore)
    parts.limb(at[f"wrist{i}"], at[f"hand{i}"], 0.024, 0.020, wear.skin)


def _leg(parts: Assembly, at: dict[str, np.ndarray], wear: Wardrobe, i: int) -> None:
    w = 0.5 + 0.5 * wear.width
    thigh = wear.skin if wear.skirt else wear.lower
    parts.limb(at[f"hip{i}"], at[f"knee{i}"], 0.056 * w, 0.040 * w, thigh)
    parts.limb(
        at[f"knee{i}"], at[f"ankle{i}"], 0.040 * w, 0.026 * w, wear.lower if wear.long_legs else wear.skin
    )
    parts.limb(at[f"ankle{i}"], at[f"toe{i}"], 0.030, 0.024, wear.shoes)


def person(rng: Rng, wear: Wardrobe | None = None) -> Subject:
    """A person in a random pose; ``wear`` keeps someone drawn before."""
    wear = wear or draw_wardrobe(rng)
    names = list(ACTIVITIES)
    weights = np.array([_WEIGHTS.get(name, 1.0) for name in names])
    activity = str(rng.choice(names, p=weights / weights.sum()))
    at = skeleton(draw_limbs(rng, activity), wear.woman)
    parts = Assembly()
    _dress(parts, at, wear)
    if activity == "sitting":
        seat = at["pelvis"][1] - 0.06
        block = painted(rng, pick_name(rng), pattern_chance=0.1)[0]
        parts.add(BOX, (0, seat / 2, -0.02), (0.14, max(seat / 2, 0.02), 0.13), block)
    joints = openpose_joints(at) * wear.stature_m
    grown = Assembly(parts.placed((0, 0, 0), 0.0, wear.stature_m))
    lower = article(wear.lower_words) if wear.skirt else wear.lower_words
    words = f"{wear.noun} in {article(wear.shirt_words)} shirt and {lower} {activity}"
    attributes = {
        "activity": activity,
        "shirt": wear.shirt_words,
        "lower": wear.lower_words,
        "noun": wear.noun,
    }
    return Subject(
        "person", words, grown, 0.42 * wear.stature_m / 1.7, wear.stature_m, attributes, joints, wear
    )
