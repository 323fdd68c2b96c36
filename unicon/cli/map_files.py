"""Which files does an estimate write for one photo, and are they there already?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.files import write_array
from unicon.cli.files import write_deep_picture, write_json, write_picture
from unicon.cli.photo_batches import PhotoFile
from unicon.cli.run_marks import are_marked, run_mark

if TYPE_CHECKING:
    import numpy as np

    from unicon.output import UniConOutput

RAW = ("png16", "npy", "both", "none")
GREY = ("depth", "edge")
"""Conditions whose map holds one number per pixel; of others all three channels are kept."""
POSE = "pose"


def is_done(file: PhotoFile, out: Path, names: Sequence[str], settings: str) -> bool:
    """Whether a run of these settings has written all maps of a photo. The view is written last."""
    views = [out / f"{file.stem}_{name}.png" for name in names]
    return are_marked(views, run_mark(file, settings))


def write(
    result: UniConOutput, args: argparse.Namespace, place: int, stem: Path, about: Mapping[str, str]
) -> list[Path]:
    """Write the maps of photo `place` and return the files. Of an ensemble, the median of every value.

    `about` are entries of the views' files: the run's mark, and what is told of it.
    """
    import numpy as np

    paths = []
    for name, maps in result.maps.items():
        members = result.members[name][:, place] if name in result.members else maps[place][None]
        values = np.median(members.mean(-1) if name in GREY else members, axis=0)
        target = stem.with_name(f"{stem.name}_{name}")
        paths += _write_raw(target, values, args.raw, name)
        if name == POSE:
            paths.append(_write_joints(target, values))
        if name in result.uncertainty:
            deviation = result.uncertainty[name][place]
            beside = target.with_name(f"{target.name}_uncertainty")
            paths += _write_raw(beside, deviation, args.raw)
            paths.append(_write_view(beside, deviation / max(float(deviation.max()), 1e-6), about))
        paths.append(_write_view(target, values, about, in_colour=args.colour and name == "depth"))
    return paths


def _write_view(
    target: Path, values: np.ndarray, about: Mapping[str, str], *, in_colour: bool = False
) -> Path:
    from unicon.conditions.palettes import depth_in_colour
    from unicon.sheets import picture

    shown = picture(depth_in_colour(1 - values)) if in_colour else picture(values)
    shown = shown if values.ndim == 3 or in_colour else shown.convert("L")
    return write_picture(target.with_name(f"{target.name}.png"), shown, about)


def _write_raw(target: Path, values: np.ndarray, kind: str, name: str = "") -> list[Path]:
    """Values in [0, 1]; of normals, the array has unit vectors."""
    from unicon.conditions import normals

    paths = []
    if kind in ("png16", "both"):
        paths.append(write_deep_picture(target.with_name(f"{target.name}_16bit.png"), values))
    if kind in ("npy", "both"):
        array = normals.map_to_normal(values) if name in normals.NAMES else values
        paths.append(target.with_name(f"{target.name}.npy"))
        write_array(paths[-1], array.astype("float32"))
    return paths


def _write_joints(target: Path, drawing: np.ndarray) -> Path:
    """The people of a pose drawing in OpenPose's JSON."""
    from unicon.conditions.pose_files import joints_as_json
    from unicon.conditions.pose_reading import read_pose

    height, width = drawing.shape[:2]
    people = joints_as_json(read_pose(drawing), (width, height))
    return write_json(target.with_name(f"{target.name}.json"), people)
