"""Which builder makes which kind of object?

People are in ``figures``; kinds and their splits in ``config``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import furniture, outdoors, solids
from .shapes import Assembly
from .subject import Subject

BUILDERS: dict[str, Callable[[np.random.Generator], Subject]] = {
    "ball": solids.ball,
    "box": solids.box,
    "cylinder": solids.cylinder,
    "cone": solids.cone,
    "ring": solids.ring,
    "pyramid": solids.pyramid,
    "capsule": solids.capsule,
    "mug": solids.mug,
    "bottle": solids.bottle,
    "vase": solids.vase,
    "lamp": solids.lamp,
    "plant": solids.plant,
    "table": furniture.table,
    "chair": furniture.chair,
    "stool": furniture.stool,
    "sofa": furniture.sofa,
    "bed": furniture.bed,
    "shelf": furniture.shelf,
    "tree": outdoors.tree,
    "house": outdoors.house,
    "car": outdoors.car,
    "dog": outdoors.dog,
    "horse": outdoors.horse,
    "mushroom": outdoors.mushroom,
}


def prop(rng: np.random.Generator, kind: str, exclude: tuple[str, ...]) -> Assembly:
    """An object for the surroundings; nothing if its kind is excluded, which changes no other draw."""
    made = BUILDERS[kind](rng).assembly
    return Assembly() if kind in exclude else made
