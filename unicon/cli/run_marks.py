"""Which run wrote a picture: so that one of the same settings can leave it or write it again, and one of
others does not write over it?

The mark is an entry of the PNG: a digest of the weights, every setting that changes a value, and the photo.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import warnings
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from unicon import __version__
from unicon.cli.given import GivenMap
from unicon.cli.models import base_folder, style_file
from unicon.cli.photo_batches import PhotoFile
from unicon.sources import split_config
from unicon.typed import named_place

RUN = "unicon-run"
"""Entry of a picture's file that says which run made it of a photo."""
BESIDE = "unicon-beside"
"""Entry of a picture's file that says how the names of those end that were written with it."""
DRAWN = "unicon-drawn"
"""Entry of a picture's file that says with which settings it was drawn: no result in place of a photo."""
_SAME_PICTURE = (
    "adapter", "base", "style", "out", "seed", "num", "batch", "device", "command", "given", "rest", "run",
    "debug", "keep", "training", "features", "clip", "judge",
)  # fmt: skip
"""Options of drawing that change no picture of a seed, or are told apart by what lies there."""
_GIVEN_FILES = ("image", "mask", "like", "picture", "to", "map_of")
"""Options that name a picture's file."""


def run_settings(args: argparse.Namespace, asked: object) -> str:
    """What all results of one run have in common: the weights and `asked`, every setting that changes a value
    as JSON can hold it; not the device, nor the batch."""
    folder, single = base_folder(args.base), [Path(split_config(args.base)[0])]
    adapters = [Path(named_place(text)[1]) for text in args.adapter]
    styles = [Path(style_file(text)) for text in getattr(args, "style", ())]
    settings = {
        "base": [args.base, *_state(single)] if folder is None else _state(_files(folder)),
        "adapters": [args.adapter, *(_state(_files(place)) for place in adapters)],
        "styles": [getattr(args, "style", ()), _state(styles)],
        "asked": asked,
        "version": __version__,
    }
    return json.dumps(settings)


def run_mark(file: PhotoFile, settings: str) -> str:
    """A photo and its run, as its results carry them: digests of where the photo lies, of what it is (its
    name, size and time), and of that with the settings."""
    state = json.dumps(_state([file.path]))
    return " ".join(map(_digest, (str(file.path.resolve()), state, state + settings)))


def of_another(pictures: Sequence[Path], mark: str) -> Path | None:
    """The first of these files that is there and is no result of the photo of `mark`, and so not to be
    written over: another photo's, or nobody's."""
    for path in pictures:
        entries = _entries(path) if path.exists() else None
        if entries is not None:  # what is no picture at all is a result that was damaged
            found = entries.get(RUN, "").split()
            own = any(a == b for a, b in zip(found[:-1], mark.split(), strict=False))
            if not own and len(found) != 1:  # older results tell their photo and settings together alone
                return path
    return None


def refusal(file: PhotoFile, taken: Path) -> str:
    """What is said of a photo that is left out for it."""
    return f"{file.path}: {taken} is there and was not made of it; choose another --out, or move it away"


def drawing_mark(args: argparse.Namespace, *, num: int | None = None) -> str:
    """The settings that pictures are drawn with, whatever their seed; of pictures to choose from also which
    they are, and of a sheet `num`, how many stand in a row."""
    from unicon.data.photos import list_photos

    said = {name: str(value) for name, value in sorted(vars(args).items()) if name not in _SAME_PICTURE}
    files = [each.path for each in getattr(args, "maps", ()) if isinstance(each, GivenMap)]
    files += [Path(file) for name in _GIVEN_FILES if (file := getattr(args, name, None))]
    for name in ("decoder", "prior"):
        files += _files(Path(folder)) if (folder := getattr(args, name, None)) else []
    if others := getattr(args, "pictures", None):
        files += list_photos(others)
    chosen_from = [args.seed, args.num] if getattr(args, "keep", None) else [num]
    return _digest(run_settings(args, [said, _state(files), chosen_from]))


def of_its_own(stem: Path, mark: str, ends: Sequence[str] = (".png",)) -> Path:
    """`stem`, or the first of `stem_2`, `stem_3`, ... where no file that begins with it and has one of these
    `ends` was drawn with other settings."""

    def is_free(own: Path) -> bool:
        files = [Path(f"{own}{end}") for end in ends]
        return all(_mark(file, DRAWN) == mark for file in files if file.exists())

    numbered = (stem.with_name(f"{stem.name}_{number}") for number in count(2))
    return next(own for own in chain([stem], numbered) if is_free(own))


def drawn_with(mark: str, folder: Path) -> list[Path]:
    """The pictures in a folder that were drawn with these settings."""
    return [path for path in sorted(folder.glob("*.png")) if _mark(path, DRAWN) == mark]


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def are_marked(pictures: Sequence[Path], mark: str) -> bool:
    """Whether all of these files are there and carry `mark`, and what was written beside them is there."""
    return all(
        (_mark(path) or "").split()[-1:] == mark.split()[-1:] and all(p.exists() for p in beside(path))
        for path in pictures
    )


def beside(picture: Path) -> list[Path]:
    """The files that were written with a result, as it says; none where it is not there."""
    return [picture.with_name(picture.stem + end) for end in (_mark(picture, BESIDE) or "").split()]


class Results:
    """Which pictures are what a command wrote below its folder `out`, rather than photographs."""

    def __init__(self, out: Path):
        self.out = out
        self.found = set[Path]()
        """Those that were asked about."""

    def __call__(self, path: Path) -> bool:
        is_below = path.suffix == ".png" and path.resolve().is_relative_to(self.out.resolve())
        if is_result := is_below and _mark(path) is not None:
            self.found.add(path)
        return is_result

    def say(self, num_photos: int, num_left: int, done: str) -> None:
        """What a run leaves alone: photos that are `done`, and results of earlier runs."""
        if num_left < num_photos:
            print(f"{num_photos - num_left} of {num_photos} photos {done} already (see --again)")
        if self.found:
            print(f"{len(self.found)} pictures below {self.out} are results of earlier runs, no photos")


def _mark(path: Path, name: str = RUN) -> str | None:
    """The mark of a picture's file; None where there is none."""
    return (_entries(path) or {}).get(name)


def _entries(path: Path) -> dict | None:
    """What a picture's file says; None where it is none that can be read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of huge photos, which are none of ours
            with Image.open(path) as picture:
                return picture.info
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _state(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """Whether files have been changed: their names, sizes and times."""
    found = [(path.name, path.stat()) for path in files if path.exists()]
    return [(name, facts.st_size, facts.st_mtime_ns) for name, facts in found]
