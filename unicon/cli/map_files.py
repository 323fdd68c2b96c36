"""Which files does an estimate write for one photo, and are they there already?"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unicon import __version__
from unicon.cli.files import write_array, write_deep_picture, write_json, write_picture
from unicon.cli.photo_batches import PhotoFile

if TYPE_CHECKING:
    import numpy as np

    from unicon.output import UniConOutput

RAW = ("png16", "npy", "both", "none")
GREY = ("depth", "edge")
"""Conditions whose map holds one number per pixel; of others all three channels are kept."""
POSE = "pose"
RUN = "unicon-run"
"""Entry of a map's file that says which run made it."""


def run_settings(args: argparse.Namespace, folder: Path | None) -> str:
    """What all maps of one run have in common: the weights and every setting that changes a value; not the
    device, nor the batch. `folder` is the base's."""
    settings = {
        "base": args.base if folder is None else _state(_files(folder)),
        "adapters": [_state(_files(Path(text.rpartition("=")[2]))) for text in args.adapter],
        "how": [args.adapter, args.seed, args.steps, args.ensemble, args.temperature, args.size],
        "written": [args.raw, args.colour],
        "version": __version__,
    }
    return json.dumps(settings)


def run_mark(file: PhotoFile, settings: str) -> str:
    """A photo and its run, as a short digest that its maps carry."""
    whole = json.dumps(_state([file.path])) + settings
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _state(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Whether files have been changed: their names, sizes and times."""
    found = [(path.name, path.stat()) for path in files if path.exists()]
    return [(name, facts.st_size, facts.st_mtime_ns) for name, facts in found]


def is_done(file: PhotoFile, out: Path, names: Sequence[str], settings: str) -> bool:
    """Whether a run of these settings has written all maps of a photo. The view is written last."""
    from PIL import Image

    views = [out / f"{file.stem}_{name}.png" for name in names]
    if not all(view.is_file() for view in views):
        return False
    try:
        marks = set()
        for view in views:
            with Image.open(view) as picture:
                marks.add(picture.info.get(RUN))
    except (OSError, SyntaxError, ValueError):
        return False
    return marks == {run_mark(file, settings)}


def write(result: UniConOutput, args: argparse.Namespace, place: int, stem: Path, mark: str) -> list[Path]:
    """Write the maps of photo `place` and return the files. Of an ensemble, the median of every value."""
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
            paths.append(_write_view(beside, deviation / max(float(deviation.max()), 1e-6), mark))
        paths.append(_write_view(target, values, mark, in_colour=args.colour and name == "depth"))
    return paths


def _write_view(target: Path, values: np.ndarray, mark: str, *, in_colour: bool = False) -> Path:
    from unicon.conditions.palettes import depth_in_colour
    from unicon.sheets import picture

    shown = picture(depth_in_colour(1 - values)) if in_colour else picture(values)
    shown = shown if values.ndim == 3 or in_colour else shown.convert("L")
    return write_picture(target.with_name(f"{target.name}.png"), shown, {RUN: mark})


def _write_raw(target: Path, values: np.ndarray, kind: str, name: str = "") -> list[Path]:
    """Values in [0, 1]; of normals, the array has unit vectors."""
    from unicon.conditions import normals

    paths = []
    if kind in ("png16", "both"):
        paths.append(write_deep_picture(target.with_name(f"{target.name}_16bit.png"), values))
    if kind in ("npy", "both"):
        array = normals.map_to_normal(values) if name in normals.NAMES else values
        paths.append(write_array(target.with_name(f"{target.name}.npy"), array.astype("float32")))
    return paths


def _write_joints(target: Path, drawing: np.ndarray) -> Path:
    """The people of a pose drawing in OpenPose's JSON."""
    from unicon.conditions.pose_files import joints_as_json
    from unicon.conditions.pose_reading import read_pose

    height, width = drawing.shape[:2]
    people = joints_as_json(read_pose(drawing), (width, height))
    return write_json(target.with_name(f"{target.name}.json"), people)
