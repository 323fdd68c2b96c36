"""How are the joints of people written as a file that other tools read, and read back?

The JSON of OpenPose: `people`, each with `pose_keypoints_2d`, 18 times x, y, confidence in pixels, and
`canvas_width` and `canvas_height`, the size the pixels refer to. Pixel centres lie at integers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unicon.conditions.pose import check_joints

JOINTS = "pose_keypoints_2d"
SPREAD = "pose_spread_px"


def joints_as_json(
    people: Sequence[np.ndarray], size: tuple[int, int], spreads: Sequence[np.ndarray] = ()
) -> dict[str, Any]:
    """Joints (18, 3) of people in a picture of `size` (width, height) as OpenPose's object.

    `spreads`, (18,) pixels of each, become an entry that OpenPose does not have: how sure the joints are.
    """
    entries = [{JOINTS: np.round(check_joints(p), 2).ravel().tolist()} for p in people]
    for entry, spread in zip(entries, spreads, strict=False):
        entry[SPREAD] = np.round(spread, 2).tolist()
    return {
        "people": entries,
        "canvas_width": size[0],
        "canvas_height": size[1],
    }


def read_joints(path: Path, size: tuple[int, int], canvas: tuple[int, int]) -> list[np.ndarray]:
    """The people of a file as (18, 3) joints, scaled to a picture of `size` (width, height).

    `canvas` is the size its pixels refer to if it does not say. Raises ValueError naming the file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; expected the joints of the picture beside it")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        people = [np.asarray(person[JOINTS], dtype=np.float64).reshape(18, 3) for person in found["people"]]
        width, height = found.get("canvas_width", canvas[0]), found.get("canvas_height", canvas[1])
        scale = np.array([size[0] / width, size[1] / height, 1.0])
        # A centre at integer x stands for the middle of [x - 0.5, x + 0.5].
        return [check_joints((p + (0.5, 0.5, 0)) * scale - (0.5, 0.5, 0)) for p in people]
    except (ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise ValueError(
            f"{path}: holds no joints ({type(error).__name__}: {error}); expected OpenPose's people, each "
            f"with {JOINTS}: 18 times x, y, confidence"
        ) from error
