"""Which files does an estimate write for one photo, and are they there already?"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.files import write_array
from unicon.cli.files import write_deep_picture, write_json, write_picture
from unicon.cli.photo_batches import PhotoFile
from unicon.cli.run_marks import BESIDE, are_marked, beside, of_another, run_mark

if TYPE_CHECKING:
    import numpy as np

    from unicon.conditions.pose_ensembles import AgreedPerson
    from unicon.output import UniConOutput

RAW = ("png16", "npy", "both", "none")
COLOURED = ("depth",)
"""Conditions that `--colour` has colours for."""
UNCERTAINTY_WHITE = 0.25
"""Deviation that is white in a picture of uncertainty; that of values anywhere in [0, 1] alike is 0.29."""
WHITE = "unicon-white"
"""Entry of such a picture that says so."""


def is_done(file: PhotoFile, out: Path, names: Sequence[str], settings: str) -> bool:
    """Whether a run of these settings has written all maps of a photo. The view is written last."""
    views = [out / f"{file.stem}_{name}.png" for name in names]
    return are_marked(views, run_mark(file, settings))


def in_the_way(file: PhotoFile, out: Path, names: Sequence[str], settings: str) -> Path | None:
    """A file of another's where a map of this photo would be written."""
    ends = [f"_{name}{end}" for name in names for end in (".png", "_16bit.png")]
    return of_another([out / f"{file.stem}{end}" for end in ends], run_mark(file, settings))


def write(
    result: UniConOutput,
    args: argparse.Namespace,
    place: int,
    stem: Path,
    about: Mapping[str, str],
    kinds: Mapping[str, str],
) -> list[Path]:
    """Write the maps of photo `place` and return the files; of an ensemble, its deviation as well.

    `about` are entries of the pictures' files: the run's mark, and what is told of it. `kinds` are the
    conditions that names stand for.
    """
    from unicon.conditions import pose
    from unicon.conditions.ensembles import GREY

    written = []
    for name, maps in result.maps.items():
        kind = kinds[name]
        values = maps[place].mean(-1) if kind in GREY else maps[place]
        target = stem.with_name(f"{stem.name}_{name}")
        paths = _write_raw(target, values, args.raw, about, kind)
        if kind in pose.NAMES:
            people = result.people[name][place] if name in result.people else None
            paths.append(_write_joints(target, values, people))
        if name in result.uncertainty:
            deviation = result.uncertainty[name][place]
            spread = target.with_name(f"{target.name}_uncertainty")
            paths += _write_raw(spread, deviation, args.raw, about)
            shown = (deviation / UNCERTAINTY_WHITE).clip(0, 1)
            paths.append(_write_view(spread, shown, {**about, WHITE: f"{UNCERTAINTY_WHITE:g}"}))
        ends = " ".join(path.name.removeprefix(target.name) for path in paths)
        for path in beside(target.with_name(f"{target.name}.png")):
            if path not in paths:  # of a run with other settings, to whose map it belonged
                path.unlink(missing_ok=True)
        told = {**about, BESIDE: ends} if ends else about
        in_colour = args.colour and kind in COLOURED
        written += [*paths, _write_view(target, values, told, in_colour=in_colour)]
    return written


def _write_view(
    target: Path, values: np.ndarray, about: Mapping[str, str], *, in_colour: bool = False
) -> Path:
    from unicon.conditions.palettes import depth_in_colour
    from unicon.sheets import picture

    shown = picture(depth_in_colour(1 - values)) if in_colour else picture(values)
    shown = shown if values.ndim == 3 or in_colour else shown.convert("L")
    return write_picture(target.with_name(f"{target.name}.png"), shown, about)


def _write_raw(
    target: Path, values: np.ndarray, kind: str, about: Mapping[str, str], name: str = ""
) -> list[Path]:
    """Values in [0, 1]; of normals, the array has unit vectors."""
    from unicon.conditions import normals

    paths = []
    if kind in ("png16", "both"):
        paths.append(write_deep_picture(target.with_name(f"{target.name}_16bit.png"), values, about))
    if kind in ("npy", "both"):
        array = normals.map_to_normal(values) if name in normals.NAMES else values
        paths.append(target.with_name(f"{target.name}.npy"))
        write_array(paths[-1], array.astype("float32"))
    return paths


def _write_joints(target: Path, drawing: np.ndarray, agreed: Sequence[AgreedPerson] | None) -> Path:
    """The people of a pose drawing, or those that an ensemble agrees on, in OpenPose's JSON."""
    from unicon.conditions.pose_files import joints_as_json
    from unicon.conditions.pose_reading import read_pose

    height, width = drawing.shape[:2]
    if agreed is None:
        found = joints_as_json(read_pose(drawing), (width, height))
    else:
        people, spreads = [each.joints for each in agreed], [each.spread_px for each in agreed]
        found = joints_as_json(people, (width, height), spreads)
    return write_json(target.with_name(f"{target.name}.json"), found)
