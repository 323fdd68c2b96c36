"""What does an adapter see of a scene as its condition?"""

from __future__ import annotations

import numpy as np

from unicon.conditions.edges import edges_to_map
from unicon.conditions.palettes import depth_to_map

from .render import Scene


def exact_map(scene: Scene, condition: str) -> np.ndarray:
    """The map an adapter of that name is given: bytes or floats in [0, 1], (H, W, 3).

    Conditions are depth, edge, pose and appearance (the second picture of the same subjects).
    """
    if condition == "depth":
        return depth_to_map(scene.depth)
    if condition == "edge":
        return edges_to_map(scene.edges)
    if condition == "pose":
        return scene.pose
    if condition != "appearance":
        raise ValueError(f"scenes have no maps of {condition!r}, only depth, edge, pose and appearance")
    assert scene.second_image is not None, f"scene {scene.seed} was rendered without a second view"
    return scene.second_image
