"""What does a table top seen from close by look like, with what is behind it?

The top is at y = 0. Leaves out the subjects.
"""

from __future__ import annotations

import numpy as np

from .colours import article, painted, pick_name
from .objects import prop
from .rooms import cabinet
from .shapes import BOX, Assembly, Material
from .surroundings import Surroundings
from .walls import floor_material, wall_material, wooden_large

Rng = np.random.Generator


def tabletop(rng: Rng, photos: int, exclude: tuple[str, ...] = ()) -> Surroundings:
    """A table top seen from close by, with walls, a floor and furniture behind it."""
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
        if rng.random() < 0.5:
            piece = cabinet(rng, exclude)
        else:
            piece = prop(rng, str(rng.choice(["shelf", "plant", "lamp"])), exclude)
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
