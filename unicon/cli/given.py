"""How are pictures and maps given on the command line, and in which size does a run work on them?

A map is `NAME=FILE`, its settings behind commas: `depth=map.png,noise=0.5,weight=0.8`.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from unicon.typed import fraction, number

if TYPE_CHECKING:
    from PIL import Image

SHORTCUTS = ("depth", "edge", "pose", "appearance")
"""Conditions with an option of their own: the adapters of the mini family."""

COLOURED = 48
"""How far the channels of a coloured pixel lie apart, of 255."""

SETTINGS = "noise=N, weight=N, hold"
_SETTING = re.compile(r"(.+),(hold|(?:noise|weight)=[^,]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenMap:
    """One condition's map as the user gave it."""

    name: str
    path: Path
    noise: float | None = None
    """Where its branch starts, 0 to 1; none: not said."""
    weight: float = 1.0
    """How strongly the image reads it."""
    hold: bool = False
    """Whether it stays at its noise."""


def add_map_options(parser: argparse.ArgumentParser) -> None:
    """`--condition NAME=FILE[,SETTINGS]`, and `--depth FILE[,SETTINGS]` for the mini family's conditions."""
    parser.add_argument(
        "--condition", dest="maps", action="append", default=[], type=given_map, metavar="NAME=FILE",
        help=f"the map of a loaded adapter; settings follow behind commas: {SETTINGS}; may be repeated",
    )  # fmt: skip
    add_map_shortcuts(parser)


def add_map_shortcuts(parser: argparse.ArgumentParser) -> None:
    """`--depth FILE[,SETTINGS]` and the like, beside a `--condition` that is there."""
    for name in SHORTCUTS:
        parser.add_argument(
            f"--{name}", dest="maps", action="append", type=partial(_named, name), metavar="FILE",
            help=f"short for --condition {name}=FILE",
        )  # fmt: skip


def given_map(text: str) -> GivenMap:
    """Read `NAME=FILE[,noise=N][,weight=N][,hold]`."""
    name, equals, rest = text.partition("=")
    if not equals or not name.isidentifier() or not rest:
        raise argparse.ArgumentTypeError(f"expected NAME=FILE, for example depth=map.png, got {text!r}")
    return _named(name, rest)


def _named(name: str, text: str) -> GivenMap:
    settings: dict[str, str] = {}
    while match := _SETTING.fullmatch(text):
        text, setting = match.groups()
        key, _, value = setting.partition("=")
        if key in settings:
            raise argparse.ArgumentTypeError(f"{name}: {key} is given twice; keep one")
        settings[key] = value
    return GivenMap(
        name=name,
        path=Path(text),
        noise=fraction(settings["noise"]) if "noise" in settings else None,
        weight=number(settings.get("weight", "1"), "weight"),
        hold="hold" in settings,
    )


def read_map(given: GivenMap) -> Image.Image:
    """The map's picture; the error also lists the settings, since a misspelt one looks like a file."""
    from unicon.conditions.ensembles import GREY
    from unicon.data.photos import load_photo

    if "," in given.path.name and not given.path.exists():
        raise ValueError(
            f"{given.name}: no file {given.path}; if the part behind the comma is a setting, "
            f"the settings are {SETTINGS}"
        )
    picture = load_photo(given.path)
    if given.name in GREY and _has_colours(picture):
        print(
            f"{given.name}: {given.path} has colours, but the adapter knows grey maps: give it as `unicon "
            "estimate` writes it without --colour",
            file=sys.stderr,
        )
    return picture


def _has_colours(picture: Image.Image) -> bool:
    """Whether more than a hundredth of a picture is plainly coloured, which what JPEG does to grey is not."""
    import numpy as np

    values = np.asarray(picture).astype(int)
    return bool((np.ptp(values, axis=-1) > COLOURED).mean() > 0.01)


def fit(pictures: Mapping[str, Image.Image], longest_px: int) -> dict[str, Image.Image]:
    """Every picture with its longer side at `longest_px`; says what it resizes."""
    from unicon.data.photos import at_longer_side

    made = {name: at_longer_side(picture, longest_px) for name, picture in pictures.items()}
    for name, picture in pictures.items():
        say_work_size({name: picture}, made[name].size)
    return made


def say_work_size(pictures: Mapping[str, Image.Image], size: tuple[int, int]) -> None:
    """Say which pictures are worked on in another size (width, height) than their own."""
    for name, picture in pictures.items():
        if picture.size != size:
            print(
                f"{name}: {picture.width} x {picture.height} px, worked on at {size[0]} x {size[1]}",
                file=sys.stderr,
            )
