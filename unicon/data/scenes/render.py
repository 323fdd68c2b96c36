"""What does the scene of a seed look like, with all its exact maps?

The top of this package. Leaves out data sets (`dataset`) and files (`files`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from unicon.conditions.pose import draw_pose

from . import styles
from .captions import caption
from .compose import (
    Placed,
    Stage,
    build_surroundings,
    compose,
    draw_setting,
    draw_subjects,
    later_moment,
    other_camera,
)
from .config import FAR_M, LIGHTS_OF_SETTING, SceneConfig
from .edgemap import edge_map
from .finish import expose, photograph
from .raycast import FLAT_KINDS, Camera, Surface, Table, build_table, cast, sample_axis, surface
from .shading import Paint, average_samples, contact, key_strength, paint, shade, sky_colour
from .shapes import Material, Primitive, rotation_y
from .subject import Subject

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Scene:
    """One rendered scene. Maps are (S, S); joints are pixels with pixel centres at integers."""

    seed: int
    image: np.ndarray  # uint8 (S, S, 3)
    depth: np.ndarray  # float32 (S, S), planar depth in metres, at most FAR_M
    normal: np.ndarray  # float32 (S, S, 3), unit, camera axes (x right, y down, z forward); 0 for sky
    albedo: np.ndarray  # float32 (S, S, 3) in [0, 1], gamma-coded
    edges: np.ndarray  # bool (S, S)
    joints: list[np.ndarray]  # (18, 3) [x, y, visible] per person, the nearest person last
    pose: np.ndarray  # uint8 (S, S, 3), OpenPose colours on black
    caption: str
    second_image: np.ndarray | None
    second_caption: str | None
    attributes: dict = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Buffers:
    """What one camera sees, before style and sensor."""

    picture: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    albedo: np.ndarray
    edges: np.ndarray | None
    owner: np.ndarray
    raw_z: np.ndarray


def generator(seed: int, part: int) -> Rng:
    """The random numbers of one part of one scene; parts do not influence each other."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, part])))


def render(seed: int, config: SceneConfig | None = None) -> Scene:
    """Render the scene of a seed: a pure function of ``seed`` (>= 0) and ``config``."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed is {seed!r}; expected an integer of at least 0")
    config = config or SceneConfig()
    stage, photos = _stage(int(seed), config)
    seen = _look(stage, generator(int(seed), 2), photos, with_edges=True)
    style = str(generator(int(seed), 3).choice(config.styles))
    assert seen.edges is not None
    image = _develop(seen.picture, seen.edges, style, int(seed), 4, config)
    joints = _joints(stage, seen)
    visible = _visible_subjects(stage, seen)
    text = caption(
        generator(int(seed), 6),
        visible,
        stage.around.words,
        stage.light.words,
        _style_words(int(seed), style),
    )
    second, second_text = (
        _second(int(seed), config, stage, photos, style) if config.second_view else (None, None)
    )
    return Scene(
        seed=int(seed),
        image=image,
        depth=seen.depth,
        normal=seen.normal,
        albedo=seen.albedo,
        edges=seen.edges,
        joints=joints,
        pose=draw_pose(joints, config.size),
        caption=text,
        second_image=second,
        second_caption=second_text,
        attributes=_attributes(stage, visible, style),
    )


def _stage(seed: int, config: SceneConfig) -> tuple[Stage, np.ndarray | None]:
    photos = load_patches(config.photo_folder) if config.photo_folder else None
    setting, light = draw_setting(generator(seed, 0), config)
    rng = generator(seed, 1)
    subjects = draw_subjects(rng, config, setting)
    around = build_surroundings(
        rng, setting, light, 0 if photos is None else len(photos), config.exclude_kinds
    )
    return compose(rng, config, setting, light, subjects, around), photos


@lru_cache(maxsize=4)
def load_patches(folder: str) -> np.ndarray:
    """Squares (N, 96, 96, 3) uint8 from the first 256 pictures of a folder, by name."""
    names = sorted(
        p for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
    )
    if not names:
        raise ValueError(
            f"photo_folder {folder!r} holds no jpg, png or webp; name a folder of pictures or leave it out"
        )
    patches = []
    for name in names[:256]:
        pixels = cv2.imread(str(name), cv2.IMREAD_COLOR)
        if pixels is None:
            raise ValueError(
                f"photo {str(name)!r} cannot be read; expected a picture: remove it from the folder"
            )
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = pixels[top : top + side, left : left + side, ::-1]
        patches.append(cv2.resize(np.ascontiguousarray(square), (96, 96), interpolation=cv2.INTER_AREA))
    return np.array(patches)


def _tables(stage: Stage) -> tuple[Table, list[Material]]:
    primitives: list[Primitive] = []
    owners, things = [], []
    groups = [(-1, group) for group in stage.around.groups]
    groups += [(i, p.subject.assembly.placed(p.position, p.yaw, p.scale)) for i, p in enumerate(stage.placed)]
    for thing, (owner, group) in enumerate(groups):
        primitives += group
        owners += [owner] * len(group)
        things += [thing] * len(group)
    materials = list(dict.fromkeys(p.material for p in primitives))
    number = {material: i for i, material in enumerate(materials)}
    return build_table(primitives, owners, things, [number[p.material] for p in primitives]), materials


def _look(stage: Stage, rng: Rng, photos: np.ndarray | None, *, with_edges: bool) -> Buffers:
    """Render one camera of a stage."""
    camera = stage.camera
    table, materials = _tables(stage)
    hits = cast(table, camera)
    hit = surface(table, camera, hits)
    look = paint(table, materials, hit, camera, photos)
    key = key_strength(hit, stage.light, table, stage.reach_m)
    spots = np.array(
        [(p.position[0], p.position[2], max(p.subject.radius_m * p.scale, 0.02)) for p in stage.placed]
    )
    colour = shade(hit, look, stage.light, key, contact(hit, spots, stage.around), camera)
    picture = average_samples(_with_sky(colour, hit, stage, len(hits.z)))
    dark = stage.light.kind in ("spot", "two_colour")
    reflectance = float(np.exp(np.log(look.albedo[:, ::7].mean(0) + 0.01).mean())) if len(hit.z) else 0.3
    return Buffers(
        expose(picture, rng, dark, reflectance), *_maps(len(hits.z), table, hit, look, camera, with_edges)
    )


def _with_sky(colour: np.ndarray, hit: Surface, stage: Stage, side: int) -> np.ndarray:
    """Linear samples (side, side, 3): shaded surfaces (3, N) in fog before the sky."""
    picture = np.zeros((side * side, 3), np.float32)
    if len(hit.rows) < len(picture) or stage.around.fog:
        axis = sample_axis(stage.camera, True)
        picture = sky_colour(stage.camera, stage.around, stage.light, axis, stage.clouds).reshape(-1, 3)
    if stage.around.fog:
        share = 1 - np.exp(hit.z * np.float32(-stage.around.fog))
        colour = colour * (1 - share) + picture.mean(0)[:, None] * share
    picture[hit.rows] = np.minimum(colour, 4.0).T
    return picture.reshape(side, side, 3)


def _maps(side: int, table: Table, hit: Surface, look: Paint, camera: Camera, with_edges: bool):
    """Depth, normals, albedo, edges, owners and unclipped depth at pixel centres."""
    y, x = np.divmod(hit.rows.astype(np.int32), np.int32(side))
    kept = np.flatnonzero(y & x & 1)
    pixel = (y[kept] // 2) * np.int32(camera.size) + x[kept] // 2

    def full(values: np.ndarray, empty: float) -> np.ndarray:
        out = np.full((camera.size**2, *values.shape[1:]), empty, values.dtype)
        out[pixel] = values
        return out.reshape(camera.size, camera.size, *values.shape[1:])

    index = hit.index[kept]
    raw = full(hit.z[kept], np.inf)
    depth = np.minimum(raw, np.float32(FAR_M))
    normal = full(hit.normal[:, kept].T @ camera.rotation.astype(np.float32), 0)
    albedo = full(look.albedo[:, kept].T ** np.float32(1 / 2.2), 0)
    owner = full(table.owner[index].astype(np.int16), -1)
    edges = None
    if with_edges:
        thing, part = full(table.thing[index].astype(np.int16), -1), full(index.astype(np.int16), -1)
        flat = full(np.isin(table.kind, FLAT_KINDS)[index], False)
        colour = full(look.edge_albedo[:, kept].T, 0.5)
        edges = edge_map(depth, _points(depth, camera), normal, colour, thing, part, flat)
    return depth, normal, albedo, edges, owner, raw


def _points(depth: np.ndarray, camera: Camera) -> np.ndarray:
    """Camera-space points (S, S, 3) of a depth map."""
    u, v = np.meshgrid(*[sample_axis(camera, False)] * 2)
    return np.stack([u * depth, v * depth, depth], axis=-1)


def _develop(
    picture: np.ndarray, edges: np.ndarray, style: str, seed: int, part: int, config: SceneConfig
) -> np.ndarray:
    rng = generator(seed, part)
    if style != "photo":
        picture = styles.APPLY[style](picture, edges, rng)
    elif config.degrade:
        picture = photograph(picture, rng)
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def _style_words(seed: int, style: str) -> str:
    if style == "photo" and generator(seed, 7).random() < 0.7:
        return ""
    return styles.WORDS[style][0]


def _joints(stage: Stage, seen: Buffers) -> list[np.ndarray]:
    """Projected joints of the people of whom at least 4 joints can be seen, the nearest person last."""
    people: list[tuple[float, np.ndarray]] = []
    for number, placed in enumerate(stage.placed):
        if placed.subject.joints is None:
            continue
        pixels, z = stage.camera.project(_joints_in_world(placed))
        shown = _joint_visible(pixels, z, number, placed, seen)
        if shown.sum() >= 4:
            people.append((float(z.mean()), np.concatenate([pixels, shown[:, None]], axis=1)))
    return [joints for _, joints in sorted(people, key=lambda pair: -pair[0])]


def _joints_in_world(placed: Placed) -> np.ndarray:
    assert placed.subject.joints is not None
    return placed.subject.joints * placed.scale @ rotation_y(placed.yaw).T + placed.position


def _joint_visible(pixels, z, number: int, placed: Placed, seen: Buffers) -> np.ndarray:
    """Seen is a joint with its own person's surface before it, no farther off than a limb is thick."""
    size = seen.depth.shape[0]
    column, row = np.round(pixels).astype(int).T
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size) & (z > 0.1)
    column, row = np.clip(column, 0, size - 1), np.clip(row, 0, size - 1)
    # Torso joints lie deep inside; the face lies on the surface and hides behind the head when turned away.
    depth_inside = np.full(18, 0.085)
    depth_inside[[1, 2, 5, 8, 11]] = 0.15
    depth_inside[[0, 14, 15, 16, 17]] = 0.035
    tolerance = depth_inside * placed.subject.height_m * placed.scale
    shown = np.zeros(18, bool)
    for dx, dy in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
        r, c = np.clip(row + dy, 0, size - 1), np.clip(column + dx, 0, size - 1)
        shown |= (seen.owner[r, c] == number) & (seen.raw_z[r, c] > z - tolerance)
    return (inside & shown).astype(np.float64)


def _visible_subjects(stage: Stage, seen: Buffers) -> list[Subject]:
    """Subjects that cover enough pixels to be named, largest first, people before things of like size."""
    share = np.bincount(seen.owner[seen.owner >= 0].ravel(), minlength=len(stage.placed)) / seen.owner.size
    order = sorted(
        range(len(stage.placed)),
        key=lambda i: -share[i] * (2 if stage.placed[i].subject.joints is not None else 1),
    )
    return [stage.placed[i].subject for i in order if share[i] > 0.003]


def _second(seed: int, config: SceneConfig, stage: Stage, photos, style: str) -> tuple[np.ndarray, str]:
    """The same subjects from another place, or at a later moment."""
    rng = generator(seed, 8)
    if rng.random() < 0.5:
        again = other_camera(rng, stage)
    else:
        lights = [k for k in LIGHTS_OF_SETTING[stage.setting] if k in config.lights]
        light = (
            str(rng.choice(lights)) if stage.setting != "field" and rng.random() < 0.4 else stage.light.kind
        )
        again = later_moment(rng, config, stage, light)
    seen = _look(again, rng, photos, with_edges=style != "photo")
    edges = seen.edges if seen.edges is not None else np.zeros(seen.depth.shape, bool)
    image = _develop(seen.picture, edges, style, seed, 9, config)
    visible = _visible_subjects(again, seen)
    return image, caption(rng, visible, again.around.words, again.light.words, _style_words(seed, style))


def _attributes(stage: Stage, visible: list[Subject], style: str) -> dict:
    return {
        "setting": stage.setting, "light": stage.light.kind, "style": style, "place": stage.around.words,
        "kinds": [s.kind for s in visible], "subjects": [{"words": s.words, **s.attributes} for s in visible],
        "placed_kinds": [p.subject.kind for p in stage.placed],
    }  # fmt: skip
