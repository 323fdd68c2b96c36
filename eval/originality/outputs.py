"""Which pictures were generated, and what was asked of each and given with it?

A folder of pictures, one of `seed0`, `seed1`, ... as `unicon eval` writes them, or pairs (`docs/data.md`).
Leaves out what is known of them (`eval.originality.assessment`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.features import Pictures, find_pictures, holds_pictures, pictures_of
from eval.originality.assessment import References
from eval.protocols.generated import (
    beside,
    by_name,
    by_name_and_caption,
    groups,
    of_table,
    pictures_in,
    read_table,
)
from unicon.data.photos import SUFFIXES, list_photos


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """Generated pictures."""

    pictures: Pictures
    captions: tuple[str, ...] | None
    """Of each; None where not all are known."""
    prompts: tuple[str, ...] | None
    """What outputs of one prompt have in common: the caption, the name, or both."""
    grouped_by: str
    """Which of them told so."""
    notice: str
    """A line on captions of pictures that are not there, or empty."""


def open_outputs(source: str | Path, table: str | Path | None = None) -> Outputs:
    """Generated pictures with captions of a `table` (CSV or JSON lines with name and caption), or of their
    own.

    Raises ValueError where there is no picture, and naming one that the table lacks.
    """
    pictures = _pictures(Path(source))
    places = [Path(name) for name in pictures.names] if pictures.paths is None else list(pictures.paths)
    if table is not None:
        told = of_table(places, table)
        captions = tuple(told[place] for place in places)
        idle = how_many_idle(read_table(Path(table)), pictures.names, table)
        return Outputs(
            pictures=pictures, captions=captions, prompts=captions, grouped_by="captions", notice=idle
        )
    captions = captions_of(pictures)
    if pictures.captions is not None:
        return Outputs(
            pictures=pictures, captions=captions, prompts=captions, notice="",
            grouped_by="captions" if captions else "nothing",
        )  # fmt: skip
    made, by = by_name_and_caption(by_name(places))
    label = {place: name for name, group in made.items() for place in group}
    return Outputs(
        pictures=pictures, captions=captions, prompts=tuple(label[place] for place in places), grouped_by=by,
        notice="",
    )  # fmt: skip


def captions_of(pictures: Pictures) -> tuple[str, ...] | None:
    """What the pictures' files or pairs say; None where any has no caption."""
    if pictures.captions is None:
        told = beside(pictures.paths or ())
        return tuple(told[path] for path in pictures.paths or ()) if told else None
    known = tuple(text for text in pictures.captions if text)
    return known if len(known) == len(pictures) else None


def open_references(folder: str | Path, outputs: Outputs) -> References:
    """The picture of a folder whose stem each output's begins with.

    Raises ValueError naming an output that begins with none.
    """
    found = list_photos(folder)
    by_stem = {path.stem: place for place, path in enumerate(found)}
    return References(pictures=pictures_of(found), places=of_stems(outputs, by_stem, "--references"))


def of_stems(outputs: Outputs, by_stem: Mapping[str, int], option: str) -> np.ndarray:
    """(M,) place of the stem that each output's name begins with; ValueError naming one that has none."""
    paths = outputs.pictures.paths
    if paths is None:
        raise ValueError(f"{option} goes by files' names: give --generated as a folder or pairs of files")
    try:
        made = groups(paths, list(by_stem))
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
    stems = {path: stem for stem, group in made.items() for path in group}
    return np.array([by_stem[stems[path]] for path in paths])


def how_many_idle(given: Mapping[str, object], names: Sequence[str], source: str | Path) -> str:
    """A line on names in a table that are no picture's; empty where all are."""
    stems = {stem_of(name) for name in names}
    idle = [name for name in given if stem_of(name) not in stems]
    return f"{len(idle)} of {len(given)} names in {source} are no generated picture's\n" if idle else ""


def stem_of(name: str) -> str:
    """Without folders, and without an ending where it is a picture's: a stem may hold a dot ("p_0.5")."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _pictures(source: Path) -> Pictures:
    if holds_pictures(source):
        return pictures_of(pictures_in(source))
    seeds = [] if not source.is_dir() else [
        path for path in sorted(source.iterdir()) if path.is_dir() and re.fullmatch(r"seed\d+", path.name)
    ]  # fmt: skip
    if seeds:
        return pictures_of([path for seed in seeds for path in pictures_in(seed)], source)
    return find_pictures(source)
