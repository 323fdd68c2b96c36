"""Which run wrote a picture: so that a second run of the same settings can leave it as it is?

The mark is an entry of the PNG, a digest of the photo, the weights and every setting that changes a value.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

from unicon import __version__
from unicon.cli.models import base_folder, style_file
from unicon.cli.photo_batches import PhotoFile

RUN = "unicon-run"
"""Entry of a picture's file that says which run made it."""


def run_settings(args: argparse.Namespace, asked: object) -> str:
    """What all results of one run have in common: the weights and `asked`, every setting that changes a value
    as JSON can hold it; not the device, nor the batch."""
    folder = base_folder(args.base)
    adapters = [Path(text.rpartition("=")[2]) for text in args.adapter]
    styles = [Path(style_file(text)) for text in getattr(args, "style", ())]
    settings = {
        "base": [args.base, *_state([Path(args.base)])] if folder is None else _state(_files(folder)),
        "adapters": [args.adapter, *(_state(_files(place)) for place in adapters)],
        "styles": [getattr(args, "style", ()), _state(styles)],
        "asked": asked,
        "version": __version__,
    }
    return json.dumps(settings)


def run_mark(file: PhotoFile, settings: str) -> str:
    """A photo and its run, as a short digest that its results carry."""
    whole = json.dumps(_state([file.path])) + settings
    return hashlib.blake2b(whole.encode(), digest_size=16).hexdigest()


def are_marked(pictures: Sequence[Path], mark: str) -> bool:
    """Whether all of these files are there and carry `mark`."""
    return all(_mark(path) == mark for path in pictures)


def is_result(path: Path, out: Path) -> bool:
    """Whether a picture is what a command wrote below its folder `out`, rather than a photograph."""
    is_below = path.suffix == ".png" and path.resolve().is_relative_to(out.resolve())
    return is_below and _mark(path) is not None


def _mark(path: Path) -> str | None:
    """The mark of a picture's file; None where there is none."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of huge photos, which are none of ours
            with Image.open(path) as picture:
                return picture.info.get(RUN)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _state(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Whether files have been changed: their names, sizes and times."""
    found = [(path.name, path.stat()) for path in files if path.exists()]
    return [(name, facts.st_size, facts.st_mtime_ns) for name, facts in found]
