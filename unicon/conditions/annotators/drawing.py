"""Which maps are drawn without a network: Canny's edges, and people whose joints are known?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from unicon.conditions.annotators.cards import Card
from unicon.conditions.edges import canny, edges_to_map
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_files import read_joints
from unicon.data.photos import upright_size


def draw_canny(card: Card):
    """Canny with the card's thresholds."""

    def draw(picture: PIL.Image.Image, file: Path | None) -> np.ndarray:
        return edges_to_map(canny(np.asarray(picture), low=card.settings["low"], high=card.settings["high"]))

    return draw


def draw_keypoints(card: Card):
    """Joints from a `STEM.json` beside the picture, in OpenPose's format."""

    def draw(picture: PIL.Image.Image, file: Path | None) -> np.ndarray:
        if file is None:
            raise ValueError(
                f"annotator {card.name} reads STEM.json beside a picture; expected a picture's file"
            )
        people = read_joints(file.with_suffix(".json"), picture.size, canvas=upright_size(file))
        return draw_pose(people, (picture.height, picture.width))

    return draw


DRAWINGS = {"canny": draw_canny, "keypoints": draw_keypoints}
