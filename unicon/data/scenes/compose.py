"""Which subjects stand where, and from where are they seen?

Draws a cast of subjects, places them in view without overlap, and aims the camera. Leaves out pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .config import KINDS_OF_SETTING, LIGHTS_OF_SETTING, SceneConfig, usable_settings
from .fields import outdoor_field
from .figures import Wardrobe, draw_wardrobe, person
from .lights import Light, draw_light
from .objects import BUILDERS
from .raycast import Camera
from .rooms import room
from .shading import look_at
from .subject import Subject
from .surroundings import Surroundings
from .tabletops import tabletop

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Placed:
    """A subject in the world."""

    subject: Subject
    position: np.ndarray
    yaw: float
    scale: float


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that the renderer needs."""

    setting: str
    placed: list[Placed]
    around: Surroundings
    camera: Camera
    light: Light
    reach_m: float
    clouds: float


KIND_WEIGHT = {"person": 5.0, "shelf": 0.7, "bed": 0.8, "house": 0.8}
TABLETOP_SCALE = {"lamp": 0.28, "car": 0.2, "dog": 0.32, "horse": 0.16, "house": 0.1, "plant": 0.45}
LIGHT_WEIGHT = {"sun": 2.2, "overcast": 0.8}
SETTING_SHARE = {"room": 0.52, "field": 0.28, "tabletop": 0.20}


def draw_setting(rng: Rng, config: SceneConfig) -> tuple[str, str]:
    """A setting and a light that fit the configuration."""
    settings = usable_settings(config)
    share = np.array([SETTING_SHARE[s] for s in settings])
    setting = str(rng.choice(settings, p=share / share.sum()))
    lights = [light for light in LIGHTS_OF_SETTING[setting] if light in config.lights]
    weight = np.array([LIGHT_WEIGHT.get(light, 1.0) for light in lights])
    return setting, str(rng.choice(lights, p=weight / weight.sum()))


def draw_subjects(rng: Rng, config: SceneConfig, setting: str) -> list[Subject]:
    """Main subjects for a setting; required kinds come first."""
    allowed = [k for k in KINDS_OF_SETTING[setting] if k not in config.exclude_kinds]
    fitting = [k for k in allowed if k in config.kinds]
    forced = [k for k in allowed if k in config.require_kinds]
    share = np.array([0.28, 0.30, 0.22, 0.12, 0.05, 0.03][: config.max_subjects])
    count = 1 + int(rng.choice(len(share), p=share / share.sum()))
    weight = np.array([KIND_WEIGHT.get(k, 1.0) for k in fitting])
    kinds = [str(rng.choice(fitting, p=weight / weight.sum())) for _ in range(count)] if fitting else []
    if forced:
        kinds = [str(rng.choice(forced)), *kinds[: count - 1]]
    return [draw_subject(rng, kind) for kind in kinds]


def draw_subject(rng: Rng, kind: str) -> Subject:
    """One subject of a kind."""
    return person(rng, draw_wardrobe(rng)) if kind == "person" else BUILDERS[kind](rng)


def natural_scale(subject: Subject, setting: str) -> float:
    """How much smaller a thing is as a toy on a table."""
    return TABLETOP_SCALE.get(subject.kind, 0.5) if setting == "tabletop" else 1.0


def build_surroundings(
    rng: Rng, setting: str, light: str, photos: int, exclude: tuple[str, ...]
) -> Surroundings:
    """Surroundings of a setting; `photos` is the number of photographs at hand."""
    if setting == "field":
        return outdoor_field(rng, light, exclude)
    return room(rng, photos, exclude) if setting == "room" else tabletop(rng, photos, exclude)


_EYE_HEIGHT = {"room": (1.0, 1.75), "field": (0.9, 1.8), "tabletop": (0.3, 0.75)}


def compose(
    rng: Rng, config: SceneConfig, setting: str, light: str, subjects: list[Subject], around: Surroundings
) -> Stage:
    """Place subjects, camera and light."""
    fov = np.deg2rad(rng.uniform(45, 75) if setting == "room" else rng.uniform(42, 66))
    focal = 0.5 * config.size / np.tan(fov / 2)
    eye = np.array([0.0, rng.uniform(*_EYE_HEIGHT[setting]), 0.0])
    placed = place(rng, setting, subjects, around, float(np.tan(fov / 2)))
    target, reach = focus(placed)
    low = np.array([p.position[1] + 0.5 * p.subject.height_m * p.scale for p in placed]).mean()
    aim = np.array(
        [target[0] * rng.uniform(0.75, 1.0), 0.75 * low + 0.25 * eye[1] * rng.uniform(0.6, 1.1), target[2]]
    )
    camera = look_at(eye, aim, focal, config.size, float(rng.normal(0, 0.025)))
    camera = back_off(camera, placed, around)
    lamp = draw_light(rng, light, setting, target, reach)
    return Stage(
        setting, placed, around, camera, lamp, reach + 0.4, float(rng.random()) if rng.random() < 0.7 else 0.0
    )


def place(
    rng: Rng, setting: str, subjects: list[Subject], around: Surroundings, half_view: float
) -> list[Placed]:
    """Positions on the floor, in view and apart from each other; what does not fit is dropped."""
    placed: list[Placed] = []
    for subject in sorted(subjects, key=lambda s: -s.radius_m):
        scale = natural_scale(subject, setting) * float(rng.uniform(0.9, 1.12))
        radius = subject.radius_m * scale
        for attempt in range(24):
            z = _distance(rng, setting, subject, scale, half_view) * (1 + 0.02 * attempt)
            x = rng.uniform(-1, 1) * max(0.62 * half_view * z - 0.6 * radius, 0.05)
            spot = np.array([x, 0.0, z])
            if (
                _apart(placed, spot, radius, 0.75 if attempt < 12 else 0.3)
                and around.inside(spot, radius * 0.85)
                or (not placed and attempt == 23)
            ):
                placed.append(Placed(subject, spot, _facing(rng, subject), scale))
                break
    return placed


def _apart(placed: list[Placed], spot: np.ndarray, radius: float, clear: float) -> bool:
    """Whether a spot is free on the floor and not more than partly behind or before another subject."""
    for other in placed:
        far = radius + other.subject.radius_m * other.scale
        if np.hypot(*(other.position - spot)[[0, 2]]) < 0.95 * far:
            return False
        angle = abs(spot[0] / spot[2] - other.position[0] / other.position[2])
        if angle < clear * (
            0.7 * radius / spot[2] + 0.7 * other.subject.radius_m * other.scale / other.position[2]
        ):
            return False
    return True


def _distance(rng: Rng, setting: str, subject: Subject, scale: float, half_view: float) -> float:
    """A distance at which the subject is a fair part of the picture."""
    height, radius = subject.height_m * scale, subject.radius_m * scale
    extent = max(0.8 * height, 1.3 * radius) / half_view  # here the subject fills about the picture's half
    if setting == "tabletop":
        return float(rng.uniform(0.55, 1.1) + 0.25 * extent)
    if subject.kind == "person":
        fill = rng.uniform(0.68, 1.5)
    else:
        fill = rng.uniform(0.72, 2.0) if setting == "room" else rng.uniform(0.75, 2.2)
    nearest, farthest = (1.4, 4.4) if setting == "room" else (1.7, 10.0)
    return float(np.clip(extent * fill + 0.4, nearest, farthest))


def _facing(rng: Rng, subject: Subject) -> float:
    if subject.kind == "person":
        return (
            float(np.pi + rng.normal(0, 0.75)) if rng.random() < 0.85 else float(rng.uniform(-np.pi, np.pi))
        )
    if subject.kind in ("shelf", "sofa", "bed", "house"):
        return float(np.pi + rng.uniform(-0.9, 0.9))
    return float(rng.uniform(-np.pi, np.pi))


def focus(placed: list[Placed]) -> tuple[np.ndarray, float]:
    """Middle of the subjects and the radius of the sphere around them."""
    middles = np.array([p.position + (0, 0.45 * p.subject.height_m * p.scale, 0) for p in placed])
    sizes = np.array([max(p.subject.radius_m, 0.55 * p.subject.height_m) * p.scale for p in placed])
    centre = 0.5 * ((middles - sizes[:, None]).min(0) + (middles + sizes[:, None]).max(0))
    return centre, float((np.linalg.norm(middles - centre, axis=1) + sizes).max())


def back_off(camera: Camera, placed: list[Placed], around: Surroundings) -> Camera:
    """Step back (inside the room) until the main subject is not cut off badly."""
    main = max(placed, key=lambda p: p.subject.height_m * p.scale / max(p.position[2], 0.1))
    height = main.subject.height_m * main.scale
    ends = main.position + np.array([[0, 0, 0], [0, height, 0]])
    for _ in range(6):
        pixels, depth = camera.project(ends)
        over = np.abs(pixels / (camera.size - 1) - 0.5).max()
        if over < 0.52 and depth.min() > 0.3:
            break
        step = camera.position - camera.rotation[:, 2] * (1, 0, 1) * 0.3
        if not around.inside(step, 0.25):
            break
        camera = replace(camera, position=step)
    return camera


def other_camera(rng: Rng, stage: Stage) -> Stage:
    """The same moment from another place around the subjects."""
    target, _ = focus(stage.placed)
    offset = stage.camera.position - target
    for attempt in range(8):
        angle = rng.choice([-1, 1]) * rng.uniform(0.3, 0.8) * (1 - attempt / 10)
        c, s = np.cos(angle), np.sin(angle)
        turned = np.array([c * offset[0] + s * offset[2], offset[1], -s * offset[0] + c * offset[2]])
        eye = target + turned * rng.uniform(0.85, 1.1)
        eye[1] = max(eye[1] + rng.normal(0, 0.08), 0.18)
        if stage.around.inside(eye, 0.2):
            break
    else:
        eye = stage.camera.position
    aim = target - (0, 0.08 * offset[1], 0)
    return replace(stage, camera=look_at(eye, aim, stage.camera.focal_px, stage.camera.size))


def later_moment(rng: Rng, config: SceneConfig, stage: Stage, light: str) -> Stage:
    """The same subjects in new poses and places, sometimes under another light."""
    worn = [p.subject.wardrobe for p in stage.placed]
    subjects = [
        person(rng, wear) if isinstance(wear, Wardrobe) else p.subject
        for p, wear in zip(stage.placed, worn, strict=True)
    ]
    return compose(rng, config, stage.setting, light, subjects, stage.around)
