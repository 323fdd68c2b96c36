"""What does a furnished room around the camera look like?

Leaves out the subjects. Wall 0 is the far one, 1 the left, 2 the right.
"""

from __future__ import annotations

import numpy as np

from .colours import NAMED, article, jitter, painted, pick_name, plain, wooden
from .objects import prop
from .shapes import BOX, FRUSTUM, Assembly, Material, rotation_y
from .surroundings import Surroundings
from .walls import floor_material, wall_material, wooden_large

Rng = np.random.Generator


def room(rng: Rng, photos: int, exclude: tuple[str, ...] = ()) -> Surroundings:
    """A furnished room of random shape and orientation around the camera."""
    half = np.array([rng.uniform(1.6, 3.6), rng.uniform(1.15, 1.5), rng.uniform(1.9, 3.8)])
    yaw = float(rng.choice([rng.normal(0, 0.12), rng.uniform(-0.9, 0.9)]))
    inside = np.array([rng.uniform(-0.5, 0.5) * half[0], 0, -half[2] * rng.uniform(0.45, 0.85)])
    centre = rotation_y(yaw) @ -inside + (0, half[1], 0)
    wall, wall_words = wall_material(rng, photos)
    floor, floor_words = floor_material(rng)
    other = wall if rng.random() < 0.6 else wall_material(rng, photos)[0]
    ceiling = plain(rng, (0.9, 0.89, 0.87))
    around = Surroundings(
        "room",
        f"in a room with {article(wall_words)} and {article(floor_words)}",
        room_half=half,
        room_centre=centre,
        room_yaw=yaw,
    )
    shell = Assembly()
    thick = 0.1
    shell.add(BOX, (0, -thick, 0), (half[0], thick, half[2]), floor)
    shell.add(BOX, (0, 2 * half[1] + thick, 0), (half[0], thick, half[2]), ceiling)
    for x in (-1, 1):
        shell.add(BOX, (x * (half[0] + thick), half[1], 0), (thick, half[1], half[2]), other)
        shell.add(BOX, (0, half[1], x * (half[2] + thick)), (half[0] + 2 * thick, half[1], thick), wall)
    where = (centre[0], 0, centre[2])
    around.groups += [[part] for part in shell.placed(where, yaw)]
    for group in _fittings(rng, half, photos, exclude):
        around.groups.append(group.placed(where, yaw))
    return around


def _fittings(rng: Rng, half: np.ndarray, photos: int, exclude: tuple[str, ...]) -> list[Assembly]:
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
            mat.add(
                BOX,
                (rng.uniform(-0.4, 0.4), 0.006, rng.uniform(-0.3, 0.6)),
                (rng.uniform(0.7, 1.3), 0.006, rng.uniform(0.6, 1.1)),
                rug,
            )
        things.append(mat)
    if rng.random() < 0.25:
        column = Assembly()
        column.add(
            BOX,
            (rng.choice([-1, 1]) * (half[0] - 0.25), half[1], half[2] - 0.25),
            (0.25, half[1], 0.25),
            wall_material(rng, 0)[0],
        )
        things.append(column)
    return things + _clutter(rng, half, exclude)


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
    leaf = (
        wooden_large(rng)
        if rng.random() < 0.5
        else plain(rng, NAMED[str(rng.choice(["white", "brown", "grey", "blue"]))])
    )
    thing.add(BOX, *_on_wall(side, half, along, 1.02, 0.5, 1.02, 0.02), plain(rng, (0.85, 0.83, 0.8)))
    centre, _ = _on_wall(side, half, along, 1.0, 0.5, 1.0, 0.03)
    thing.add(BOX, centre, _on_wall(side, half, along, 1.0, 0.44, 0.98, 0.03)[1], leaf)
    return thing


def _picture(rng: Rng, half: np.ndarray, side: int, photos: int) -> Assembly:
    width, height = rng.uniform(0.18, 0.5), rng.uniform(0.2, 0.45)
    along, y, thing = rng.uniform(-0.9, 0.9), rng.uniform(1.35, 1.75), Assembly()
    centre, size = _on_wall(side, half, along, y, width, height, 0.015)
    thing.add(
        BOX,
        centre,
        size,
        plain(rng, ((0.15, 0.12, 0.1), (0.9, 0.9, 0.88), (0.6, 0.45, 0.2))[rng.integers(3)]),
    )
    first, second = NAMED[pick_name(rng)], NAMED[pick_name(rng)]
    texture = str(rng.choice(["gradient", "mottled", "spots", "stripes"]))
    art = Material(texture, first, second, height * 0.8, offset=(float(rng.random()), 0.0))
    if photos and rng.random() < 0.85:
        art = Material(
            "photo", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 2 * height, 0.05, photo=int(rng.integers(photos))
        )
    thing.add(BOX, centre, _on_wall(side, half, along, y, width * 0.86, height * 0.86, 0.025)[1], art)
    return thing


def _clutter(rng: Rng, half: np.ndarray, exclude: tuple[str, ...]) -> list[Assembly]:
    """Furniture with its back to a wall and things on the floor beside it."""
    things = []
    for _ in range(int(rng.integers(0, 5))):
        kind = str(
            rng.choice(["shelf", "sofa", "table", "chair", "bed", "plant", "box", "lamp", "shelf", "cabinet"])
        )
        side = int(rng.integers(3))
        piece = cabinet(rng, exclude) if kind == "cabinet" else prop(rng, kind, exclude)
        deep = 1.05 if kind == "bed" else 0.5 if kind in ("sofa", "table") else 0.3
        yaw = (np.pi, np.pi / 2, -np.pi / 2)[side]
        centre, _ = _on_wall(side, half - (deep, 0, deep), rng.uniform(-0.9, 0.9), 0.0, 0.3, 0.1, 0.1)
        things.append(Assembly(piece.placed((centre[0], 0, centre[2]), yaw)))
    return things


def cabinet(rng: Rng, exclude: tuple[str, ...]) -> Assembly:
    """A cabinet with doors or drawers, often with something on top."""
    body = wooden(rng) if rng.random() < 0.6 else plain(rng, (0.9, 0.9, 0.88))
    w, h, d = rng.uniform(0.35, 0.8), rng.uniform(0.4, 1.0), 0.24
    thing = Assembly()
    thing.add(BOX, (0, h, 0), (w, h, d), body)
    rows = int(rng.integers(2, 4))
    for k in range(rows):
        for x in (-0.5, 0.5):
            thing.add(BOX, (x * w, 2 * h * (k + 0.5) / rows, d), (w * 0.46, h / rows * 0.88, 0.015), body)
    if rng.random() < 0.6:
        top = prop(rng, str(rng.choice(["vase", "ball", "box", "plant"])), exclude)
        thing.parts += top.placed((rng.uniform(-0.4, 0.4) * w, 2 * h, 0), 0.0, 0.5)
    return thing
