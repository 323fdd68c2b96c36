"""What stands around the subjects: a room, an open field or a table top, with its words?

Leaves out the subjects and the camera. Frame: the camera's foot is at the origin and looks roughly along +z.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .colours import NAMED, Rgb, article, jitter, painted, pick_name, plain, wooden
from .objects import BUILDERS
from .shapes import BOX, ELLIPSOID, FRUSTUM, GROUND, ROOM, Assembly, Material, Primitive, rotation_y

Rng = np.random.Generator


@dataclass(slots=True)
class Surroundings:
    """Groups of primitives (each group is one thing), words, and what the camera and the light need to know."""

    setting: str
    words: str
    groups: list[list[Primitive]] = field(default_factory=list)
    room_half: np.ndarray | None = None  # half sizes of the room
    room_centre: np.ndarray | None = None
    room_yaw: float = 0.0
    floor_y: float = 0.0
    sky: tuple[Rgb, Rgb] | None = None  # horizon, zenith
    fog: float = 0.0

    def inside(self, point: np.ndarray, margin: float) -> bool:
        """Whether a point is in the room, ``margin`` metres from every wall; true outdoors."""
        if self.room_half is None or self.room_centre is None:
            return True
        local = rotation_y(self.room_yaw).T @ (np.asarray(point) - self.room_centre)
        return bool((np.abs(local)[[0, 2]] < self.room_half[[0, 2]] - margin).all())


_WALL_COLOURS = ("white", "grey", "yellow", "green", "blue", "pink", "orange", "teal", "brown", "purple", "red")
_WALL_SHARE = (0.30, 0.12, 0.11, 0.08, 0.11, 0.06, 0.05, 0.06, 0.06, 0.03, 0.02)


def _washed(rng: Rng, name: str) -> Rgb:
    """A wall paint of a named colour: paler than the colour itself."""
    pale = rng.uniform(0.25, 0.75)
    base = np.array(NAMED[name]) * (1 - pale) + np.array((0.88, 0.86, 0.82)) * pale
    return jitter(rng, tuple(base), 0.05)


def wall_material(rng: Rng, photos: int) -> tuple[Material, str]:
    """A wall and its words."""
    name = str(rng.choice(_WALL_COLOURS, p=_WALL_SHARE))
    colour = _washed(rng, name)
    offset = float(rng.random()), float(rng.random())
    draw = rng.random()
    if photos and draw < 0.08:
        return Material("photo", colour, colour, float(rng.uniform(1.0, 2.5)), 0.0, offset=offset, photo=int(rng.integers(photos))), "patterned wall"
    if draw < 0.52:
        return Material("plain", colour, colour, 0.6, 0.02, offset=offset), f"{name} wall"
    if draw < 0.64:
        brick = jitter(rng, ((0.62, 0.30, 0.22), (0.72, 0.66, 0.60), (0.50, 0.36, 0.30))[rng.integers(3)])
        return Material("bricks", brick, jitter(rng, (0.80, 0.77, 0.72)), float(rng.uniform(0.24, 0.5)), 0.02, offset=offset), "brick wall"
    if draw < 0.74:
        return Material("stripes", colour, jitter(rng, colour, 0.18), float(rng.uniform(0.12, 0.4)), 0.02, offset=offset), "striped wall"
    if draw < 0.84:
        return Material("mottled", colour, jitter(rng, tuple(0.8 * c for c in colour), 0.05), 0.9, 0.02, offset=offset), "plaster wall"
    if draw < 0.91:
        return Material("tiles", colour, (0.85, 0.85, 0.83), float(rng.uniform(0.2, 0.45)), 0.3, 30.0, offset=offset), "tiled wall"
    return wooden_large(rng), "wooden wall"


def wooden_large(rng: Rng) -> Material:
    material = wooden(rng)
    return Material("wood", material.colour, material.second, float(rng.uniform(0.12, 0.25)), 0.15, 25.0, offset=material.offset)


def floor_material(rng: Rng) -> tuple[Material, str]:
    """An indoor floor and its words."""
    offset = float(rng.random()), float(rng.random())
    draw = rng.random()
    if draw < 0.38:
        return wooden_large(rng), "wooden floor"
    if draw < 0.54:
        base = jitter(rng, ((0.8, 0.78, 0.72), (0.6, 0.62, 0.63), (0.7, 0.55, 0.42))[rng.integers(3)])
        return Material("tiles", base, tuple(0.7 * c for c in base), float(rng.uniform(0.25, 0.6)), 0.35, 40.0, offset=offset), "tiled floor"
    if draw < 0.66:
        first, second = NAMED["white"], NAMED[str(rng.choice(["black", "grey", "brown", "blue", "green", "red"]))]
        return Material("checks", jitter(rng, first), jitter(rng, second), float(rng.uniform(0.25, 0.6)), 0.3, 40.0, offset=offset), "checked floor"
    if draw < 0.88:
        base = _washed(rng, str(rng.choice(_WALL_COLOURS)))
        base = tuple(0.8 * c for c in base)
        return Material("fabric", base, jitter(rng, tuple(0.75 * c for c in base)), 0.25, 0.0, offset=offset), "carpet"
    base = jitter(rng, (0.55, 0.54, 0.52))
    return Material("mottled", base, tuple(0.8 * c for c in base), 0.9, 0.08, offset=offset), "stone floor"


def room(rng: Rng, photos: int) -> Surroundings:
    """A furnished room of random shape and orientation around the camera."""
    half = np.array([rng.uniform(1.6, 3.6), rng.uniform(1.15, 1.5), rng.uniform(1.9, 3.8)])
    yaw = float(rng.choice([rng.normal(0, 0.12), rng.uniform(-0.9, 0.9)]))
    inside = np.array([rng.uniform(-0.5, 0.5) * half[0], 0, -half[2] * rng.uniform(0.45, 0.85)])
    centre = rotation_y(yaw) @ -inside + (0, half[1], 0)
    wall, wall_words = wall_material(rng, photos)
    floor, floor_words = floor_material(rng)
    other = wall if rng.random() < 0.6 else wall_material(rng, photos)[0]
    ceiling = plain(rng, (0.9, 0.89, 0.87))
    around = Surroundings("room", f"in a room with {article(wall_words)} and {article(floor_words)}", room_half=half, room_centre=centre, room_yaw=yaw)
    shell = Assembly()
    thick = 0.1
    shell.add(BOX, (0, -thick, 0), (half[0], thick, half[2]), floor)
    shell.add(BOX, (0, 2 * half[1] + thick, 0), (half[0], thick, half[2]), ceiling)
    for x in (-1, 1):
        shell.add(BOX, (x * (half[0] + thick), half[1], 0), (thick, half[1], half[2]), other)
        shell.add(BOX, (0, half[1], x * (half[2] + thick)), (half[0] + 2 * thick, half[1], thick), wall)
    where = (centre[0], 0, centre[2])
    around.groups += [[part] for part in shell.placed(where, yaw)]
    for group in _fittings(rng, half, photos):
        around.groups.append(group.placed(where, yaw))
    return around


def _fittings(rng: Rng, half: np.ndarray, photos: int) -> list[Assembly]:
    """Skirting boards, windows, doors, pictures, rugs, columns and furniture against the walls."""
    things: list[Assembly] = []
    if rng.random() < 0.6:
        board = plain(rng, (0.85, 0.83, 0.8))
        edge = Assembly()
        for x in (-1, 1):
            edge.add(BOX, (x * half[0], 0.05, 0), (0.015, 0.05, half[2]), board)
            edge.add(BOX, (0, 0.05, x * half[2]), (half[0], 0.05, 0.015), board)
        things.append(edge)
    for side in range(3):
        draw = rng.random()
        if draw < 0.30:
            things.append(_window(rng, half, side))
        elif draw < 0.42:
            things.append(_door(rng, half, side))
        for _ in range(int(rng.integers(0, 3)) if draw >= 0.42 else 0):
            things.append(_picture(rng, half, side, photos))
    if rng.random() < 0.4:
        rug = painted(rng, pick_name(rng), pattern_chance=0.5, scale_m=0.25)[0]
        mat = Assembly()
        if rng.random() < 0.3:
            r = rng.uniform(0.7, 1.1)
            mat.add(FRUSTUM, (rng.uniform(-0.4, 0.4), 0.006, rng.uniform(-0.3, 0.6)), (r, r, 0.006), rug)
        else:
            mat.add(BOX, (rng.uniform(-0.4, 0.4), 0.006, rng.uniform(-0.3, 0.6)), (rng.uniform(0.7, 1.3), 0.006, rng.uniform(0.6, 1.1)), rug)
        things.append(mat)
    if rng.random() < 0.25:
        column = Assembly()
        column.add(BOX, (rng.choice([-1, 1]) * (half[0] - 0.25), half[1], half[2] - 0.25), (0.25, half[1], 0.25), wall_material(rng, 0)[0])
        things.append(column)
    return things + _clutter(rng, half)


def _on_wall(side: int, half: np.ndarray, along: float, y: float, width: float, height: float, depth: float):
    """Centre and half size of a flat box on the far (0), left (1) or right (2) wall."""
    if side == 0:
        return (along * (half[0] - width), y, half[2]), (width, height, depth)
    sign = -1 if side == 1 else 1
    return (sign * half[0], y, along * (half[2] - width)), (depth, height, width)


def _window(rng: Rng, half: np.ndarray, side: int) -> Assembly:
    width, height = rng.uniform(0.4, 0.9), rng.uniform(0.45, 0.7)
    along, y = rng.uniform(-0.7, 0.7), rng.uniform(1.3, 1.6)
    sky = jitter(rng, ((0.75, 0.87, 0.97), (0.9, 0.93, 0.95), (0.6, 0.78, 0.93))[rng.integers(3)])
    frame, thing = plain(rng, (0.9, 0.89, 0.86)), Assembly()
    thing.add(BOX, *_on_wall(side, half, along, y, width, height, 0.03), frame)
    glass = Material("gradient", sky, (0.95, 0.97, 0.98), 1.5, 0.3, emission=float(rng.uniform(0.4, 0.9)))
    centre, _ = _on_wall(side, half, along, y, width, height, 0.03)
    pane = _on_wall(side, half, along, y, width * 0.45, height * 0.9, 0.045)[1]
    for offset in (-0.5, 0.5):
        shift = np.zeros(3)
        shift[0 if side == 0 else 2] = offset * width * 0.96
        thing.add(BOX, np.array(centre) + shift, pane, glass)
    if rng.random() < 0.4:
        cloth = painted(rng, pick_name(rng), pattern_chance=0.2, scale_m=0.15)[0]
        for offset in (-1.05, 1.05):
            shift = np.zeros(3)
            shift[0 if side == 0 else 2] = offset * width
            size = _on_wall(side, half, along, y, width * 0.22, height * 1.25, 0.08)[1]
            thing.add(BOX, np.array(centre) + shift - (0, height * 0.15, 0), size, cloth)
    return thing


def _door(rng: Rng, half: np.ndarray, side: int) -> Assembly:
    along, thing = rng.uniform(-0.8, 0.8), Assembly()
    leaf = wooden_large(rng) if rng.random() < 0.5 else plain(rng, NAMED[str(rng.choice(["white", "brown", "grey", "blue"]))])
    thing.add(BOX, *_on_wall(side, half, along, 1.02, 0.5, 1.02, 0.02), plain(rng, (0.85, 0.83, 0.8)))
    centre, _ = _on_wall(side, half, along, 1.0, 0.5, 1.0, 0.03)
    thing.add(BOX, centre, _on_wall(side, half, along, 1.0, 0.44, 0.98, 0.03)[1], leaf)
    return thing


def _picture(rng: Rng, half: np.ndarray, side: int, photos: int) -> Assembly:
    width, height = rng.uniform(0.18, 0.5), rng.uniform(0.2, 0.45)
    along, y, thing = rng.uniform(-0.9, 0.9), rng.uniform(1.35, 1.75), Assembly()
    centre, size = _on_wall(side, half, along, y, width, height, 0.015)
    thing.add(BOX, centre, size, plain(rng, ((0.15, 0.12, 0.1), (0.9, 0.9, 0.88), (0.6, 0.45, 0.2))[rng.integers(3)]))
    first, second = NAMED[pick_name(rng)], NAMED[pick_name(rng)]
    texture = str(rng.choice(["gradient", "mottled", "spots", "stripes"]))
    art = Material(texture, first, second, height * 0.8, offset=(float(rng.random()), 0.0))
    if photos and rng.random() < 0.85:
        art = Material("photo", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 2 * height, 0.05, photo=int(rng.integers(photos)))
    thing.add(BOX, centre, _on_wall(side, half, along, y, width * 0.86, height * 0.86, 0.025)[1], art)
    return thing


def _clutter(rng: Rng, half: np.ndarray) -> list[Assembly]:
    """Furniture with its back to a wall and things on the floor beside it."""
    things = []
    for _ in range(int(rng.integers(0, 5))):
        kind = str(rng.choice(["shelf", "sofa", "table", "chair", "bed", "plant", "box", "lamp", "shelf", "cabinet"]))
        side = int(rng.integers(3))
        piece = _cabinet(rng) if kind == "cabinet" else BUILDERS[kind](rng).assembly
        deep = 1.05 if kind == "bed" else 0.5 if kind in ("sofa", "table") else 0.3
        yaw = (np.pi, np.pi / 2, -np.pi / 2)[side]
        centre, _ = _on_wall(side, half - (deep, 0, deep), rng.uniform(-0.9, 0.9), 0.0, 0.3, 0.1, 0.1)
        things.append(Assembly(piece.placed((centre[0], 0, centre[2]), yaw)))
    return things


def _cabinet(rng: Rng) -> Assembly:
    body = wooden(rng) if rng.random() < 0.6 else plain(rng, (0.9, 0.9, 0.88))
    w, h, d = rng.uniform(0.35, 0.8), rng.uniform(0.4, 1.0), 0.24
    thing = Assembly()
    thing.add(BOX, (0, h, 0), (w, h, d), body)
    rows = int(rng.integers(2, 4))
    for k in range(rows):
        for x in (-0.5, 0.5):
            thing.add(BOX, (x * w, 2 * h * (k + 0.5) / rows, d), (w * 0.46, h / rows * 0.88, 0.015), body)
    if rng.random() < 0.6:
        top = BUILDERS[str(rng.choice(["vase", "ball", "box", "plant"]))](rng).assembly
        thing.parts += top.placed((rng.uniform(-0.4, 0.4) * w, 2 * h, 0), 0.0, 0.5)
    return thing


_GROUNDS = (
    ("grass", (0.36, 0.50, 0.20), (0.24, 0.38, 0.13), 0.9, "grass"),
    ("grass", (0.62, 0.56, 0.30), (0.50, 0.44, 0.22), 0.9, "dry grass"),
    ("mottled", (0.85, 0.74, 0.53), (0.74, 0.62, 0.42), 1.6, "sand"),
    ("mottled", (0.92, 0.94, 0.97), (0.80, 0.85, 0.92), 1.6, "snow"),
    ("tiles", (0.68, 0.66, 0.62), (0.50, 0.48, 0.45), 0.9, "paving"),
    ("mottled", (0.42, 0.42, 0.43), (0.34, 0.34, 0.35), 1.0, "a grey road"),
    ("mottled", (0.50, 0.36, 0.24), (0.38, 0.26, 0.17), 1.2, "brown soil"),
)


def outdoor_field(rng: Rng, light: str) -> Surroundings:
    """Open ground with hills, far trees and a sky."""
    texture, first, second, scale, name = _GROUNDS[rng.choice(len(_GROUNDS), p=(0.36, 0.1, 0.14, 0.1, 0.12, 0.1, 0.08))]
    ground = Material(texture, jitter(rng, first), jitter(rng, second), scale, 0.02, offset=(float(rng.random()), float(rng.random())))
    horizon, zenith, sky_words = _sky(rng, light)
    around = Surroundings("field", f"on {name} under a {sky_words} sky", sky=(horizon, zenith))
    around.groups.append([Primitive(GROUND, np.eye(3), np.zeros(3), (1.0, 1.0, 1.0), ground)])
    around.groups += _hills(rng, ground if name in ("grass", "dry grass", "sand", "snow") else None, horizon)
    if rng.random() < 0.45:
        around.groups += _far_things(rng)
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
        return jitter(rng, (0.98, 0.68, 0.42)), jitter(rng, ((0.45, 0.42, 0.68), (0.75, 0.45, 0.55))[rng.integers(2)]), "golden"
    if light in ("spot", "two_colour"):
        return (0.12, 0.14, 0.25), (0.03, 0.04, 0.10), "dark"
    return jitter(rng, (0.80, 0.90, 0.97)), jitter(rng, (0.30, 0.55, 0.88)), "blue"


def _hills(rng: Rng, ground: Material | None, horizon: Rgb) -> list[list[Primitive]]:
    groups: list[list[Primitive]] = []
    for _ in range(int(rng.integers(0, 6))):
        distance = rng.uniform(14, 60)
        width = rng.uniform(0.25, 0.7) * distance
        haze = min(0.75, distance / 70)
        base = np.array(ground.colour if ground and rng.random() < 0.6 else jitter(rng, (0.3, 0.38, 0.28), 0.15))
        near = tuple(base * (1 - haze) + np.array(horizon) * 0.8 * haze)
        material = Material("mottled", near, tuple(0.85 * c for c in near), distance * 0.1, 0.0)
        centre = (rng.uniform(-0.8, 0.8) * distance, -0.02 * width, distance)
        height = rng.uniform(0.06, 0.26) * distance
        groups.append([Primitive(ELLIPSOID, np.eye(3), np.array(centre), (width, height, width * 0.6), material)])
    return groups


def _far_things(rng: Rng) -> list[list[Primitive]]:
    groups = []
    for _ in range(int(rng.integers(1, 6))):
        kind = "tree" if rng.random() < 0.8 else "house"
        z = rng.uniform(10, 20)
        groups.append(BUILDERS[kind](rng).assembly.placed((rng.uniform(-0.7, 0.7) * z, 0, z), rng.uniform(0, 6)))
    return groups


def tabletop(rng: Rng, photos: int) -> Surroundings:
    """A table top seen from close by, with a wall or a blurred-looking room behind it. The top is at y = 0."""
    top, words = _table_cover(rng)
    around = Surroundings("tabletop", f"on {article(words)}", floor_y=0.0)
    board = Assembly()
    depth, back = rng.uniform(0.7, 1.3), rng.uniform(0.7, 1.6)
    width = rng.uniform(1.0, 2.0)
    board.add(BOX, (0, -0.03, 0.35 + depth / 2), (width, 0.03, depth), top)
    yaw = float(rng.normal(0, 0.15))
    around.groups.append(board.placed((0, 0, 0), yaw))
    wall, wall_words = wall_material(rng, photos)
    floor = floor_material(rng)[0]
    if rng.random() < 0.75:
        around.words += f" in front of {article(wall_words)}"
    shell = Assembly()
    far = 0.35 + 1.5 * depth + back
    shell.add(BOX, (0, -0.85, 2), (6, 0.1, 6), floor)
    shell.add(BOX, (0, 0.6, far + 0.1), (6, 1.6, 0.1), wall)
    side = float(rng.choice([-1, 1]))
    shell.add(BOX, (side * rng.uniform(1.8, 3.2), 0.6, 2), (0.1, 1.6, 6), wall_material(rng, photos)[0])
    around.groups += [[part] for part in shell.placed((0, 0, 0), float(rng.normal(0, 0.2)))]
    for _ in range(int(rng.integers(0, 3))):
        piece = _cabinet(rng) if rng.random() < 0.5 else BUILDERS[str(rng.choice(["shelf", "plant", "lamp"]))](rng).assembly
        around.groups.append(piece.placed((rng.uniform(-1.5, 1.5), -0.75, far - 0.35), np.pi))
    return around


def _table_cover(rng: Rng) -> tuple[Material, str]:
    draw = rng.random()
    if draw < 0.5:
        return wooden_large(rng), "wooden table"
    name = pick_name(rng)
    if draw < 0.7:
        cloth = painted(rng, name, pattern_chance=1.0, scale_m=0.09)
        return cloth[0], f"table with {article(cloth[1])} cloth"
    return painted(rng, name, pattern_chance=0)[0], f"{name} table"


__all__ = ["ROOM", "Surroundings", "floor_material", "outdoor_field", "room", "tabletop", "wall_material"]
