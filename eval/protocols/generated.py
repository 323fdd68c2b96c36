"""Which pictures were generated, and what was asked of each?

They lie in a folder, in folders within it (one for each seed or subject), or are of pairs (`docs/data.md`).
Captions come from a table, from what lies beside the pictures, or from what `unicon generate` wrote into the
PNG. Leaves out scores.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from eval.pictures import Pictures, find_pictures, folders_within, pictures_in
from eval.protocols.text_table import TextTable, how_many_idle, own_stem, read_table
from unicon.data.pairs import open_pairs
from unicon.data.pairs.names import as_captions, as_text
from unicon.data.photos import load_photo

BORDERS = "_-. "
SEED = re.compile(r"seed\d+")
"""A folder of one seed's pictures, as `unicon eval` writes them."""
COUNTER = re.compile(
    r"((img|dscn?|dscf|dcim|pxl|mvimg|cimg|gopr|screenshot|image|photo|picture|sample|frame)[_\-. ]?)?"
    r"\d+([_\-. ]\d+)*",
    re.IGNORECASE,
)
"""Stems that number pictures, as cameras write them, and say nothing of what was asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outputs:
    """Generated pictures."""

    pictures: Pictures
    captions: tuple[str, ...] | None
    """Of each; None where not all are known."""
    prompts: tuple[str | None, ...]
    """What outputs of one prompt have in common: the caption, the name, or both; None where nothing says."""
    grouped_by: str
    """Which of them told so."""
    by_table: bool = False
    """Whether captions are a table's."""
    notice: str
    """A line on captions of pictures that are not there and on names that say no prompt, or empty."""


def open_outputs(source: str | Path, table: str | Path | None = None) -> Outputs:
    """Generated pictures with captions of a `table` (CSV or JSON lines with name and caption), or of their
    own.

    Pictures of one prompt are those of one caption in the table or in the pairs; else those of one name
    (`prompt_of_name`), and within it of one caption where all have one. Raises ValueError where there is no
    picture, and naming one that the table lacks.
    """
    pictures = find_pictures(source)
    if table is not None:
        captions = _of_table(pictures, table)
        idle = how_many_idle(read_table(Path(table)), pictures.names, table)
        return Outputs(
            pictures=pictures,
            captions=captions,
            prompts=captions,
            grouped_by="captions",
            notice=idle,
            by_table=True,
        )
    captions = captions_of(pictures)
    if pictures.captions is not None:  # of pairs, whose keys say nothing
        prompts = captions or (None,) * len(pictures)
        return Outputs(
            pictures=pictures, captions=captions, prompts=prompts, notice="",
            grouped_by="captions" if captions else "nothing",
        )  # fmt: skip
    names = [prompt_of_name(name) for name in pictures.names]
    by = [*(["names"] if any(names) else []), *(["captions"] if captions else [])]
    prompts, notice = tuple(names), ""
    if captions:
        prompts = tuple(f"{n}: {text}" if n else text for n, text in zip(names, captions, strict=True))
    elif None in names:
        notice = (
            f"{names.count(None)} of {len(names)} names, such as {pictures.names[names.index(None)]}, are a "
            "camera's counter or digits: no prompt is told of those pictures; give --captions\n"
        )
    return Outputs(
        pictures=pictures, captions=captions, prompts=prompts, grouped_by=" and ".join(by) or "nothing",
        notice=notice,
    )  # fmt: skip


def captioned(source: str | Path, table: str | Path | None = None) -> tuple[Pictures, tuple[str, ...]]:
    """Generated pictures and a caption of each, as `open_outputs`; ValueError naming one that has none."""
    pictures = find_pictures(source)
    if table is not None:
        return pictures, _of_table(pictures, table)
    told = _own_captions(pictures)
    if None in told:
        raise ValueError(
            f"{_places(pictures)[told.index(None)]}: has no caption (neither the picture nor what lies with "
            "it says one); give --captions FILE with name and caption"
        )
    return pictures, tuple(text for text in told if text)


def by_subject(folder: str | Path) -> dict[str, list[Path]]:
    """Pictures by the folder within that holds them; of a folder without such, or with one for each seed, all
    as "all"."""
    within = folders_within(Path(folder))
    if within and not all(SEED.fullmatch(path.name) for path in within):
        return {path.name: pictures_in(path) for path in within}
    return {"all": [file for each in within or [folder] for file in pictures_in(each)]}


def prompt_of_name(name: str) -> str | None:
    """What a picture's name, with its folder, says of its prompt: the folder of a subject; in one of a seed
    the whole stem; else the stem without a last number or seed (`cat_3`, `cat_seed3`). None for a counter."""
    path = Path(name)
    if path.parent.name:
        return own_stem(path) if SEED.fullmatch(path.parent.name) else path.parent.as_posix()
    stem = own_stem(path)
    return None if COUNTER.fullmatch(stem) else re.sub(r"[_\-. ](seed)?\d+$", "", stem)


def halves(pictures: str | Path, maps: str | Path, condition: str) -> tuple[list[Path], dict[str, Path]]:
    """The pictures of a folder, and the maps of another or the same by stem.

    Where files are named `..._image` or `..._CONDITION`, those alone are pictures or maps. Raises ValueError
    for a folder without pictures, and for a file that is both.
    """
    found, given = pictures_in(pictures), maps_in(maps, condition)
    if both := set(found) & set(given.values()):
        raise ValueError(
            f"{min(both)}: is it a picture or a map? Keep them in folders of their own, or name them "
            f"STEM_image and STEM_{condition}"
        )
    return found, given


def maps_in(folder: str | Path, condition: str) -> dict[str, Path]:
    """By stem; where files are named `..._CONDITION`, those alone. ValueError where there is none."""
    given = pictures_in(folder, f"_{condition}")
    return {path.stem.removesuffix(f"_{condition}"): path for path in given}


def groups(pictures: Sequence[Path], stems: Sequence[str]) -> dict[str, list[Path]]:
    """Pictures of each stem that their own begins with (`cat.png`, `cat_0.png` and `cat_seed3.png` with
    `cat`), in the order of their names; the longest stem that fits wins.

    Raises ValueError for a picture that belongs to none, and for no picture at all.
    """
    found: dict[str, list[Path]] = {stem: [] for stem in stems}
    longest = sorted(stems, key=len, reverse=True)
    for path in sorted(pictures):
        name = own_stem(path)
        fitting = [s for s in longest if name == s or (name.startswith(s) and name[len(s)] in BORDERS)]
        if not fitting:
            raise ValueError(
                f"{path}: begins with none of {len(stems)} stems, such as {stems[0]!r}: name pictures "
                "STEM or STEM_NUMBER"
            )
        found[fitting[0]].append(path)
    if not any(found.values()):
        raise ValueError("no generated picture to score")
    return found


def of_stems(pictures: Pictures, by_stem: Mapping[str, int], option: str) -> np.ndarray:
    """(M,) place of the stem that each output's name begins with; ValueError naming one that has none."""
    paths = pictures.paths
    if paths is None:
        raise ValueError(f"{option} goes by files' names: give --generated as a folder or pairs of files")
    try:
        made = groups(paths, list(by_stem))
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
    stems = {path: stem for stem, group in made.items() for path in group}
    return np.array([by_stem[stems[path]] for path in paths])


def captions_of(pictures: Pictures) -> tuple[str, ...] | None:
    """What the pictures' files or pairs say; None where any has no caption."""
    told = tuple(text for text in _own_captions(pictures) if text)
    return told if len(told) == len(pictures) else None


def _own_captions(pictures: Pictures) -> list[str | None]:
    if pictures.captions is not None:
        return list(pictures.captions)
    paths = list(pictures.paths or ())
    told: dict[Path, str | None] = {}
    for folder in {path.parent for path in paths}:
        within = [path for path in paths if path.parent == folder]
        known = _told(folder, within)
        told |= {path: known.get(path.name) or known.get(path.stem) or _written(path) for path in within}
    return [told[path] for path in paths] or [None] * len(pictures)


def _of_table(pictures: Pictures, table: str | Path) -> tuple[str, ...]:
    known, places = TextTable.of_table(Path(table)), _places(pictures)
    told = [known.of(place) for place in places]
    if None in told:
        raise ValueError(
            f"{places[told.index(None)]}: has no caption ({table}); {told.count(None)} are missing: give "
            "--captions FILE with name and caption of all"
        )
    return tuple(text for text in told if text)


def _places(pictures: Pictures) -> list[Path]:
    return [Path(name) for name in pictures.names] if pictures.paths is None else list(pictures.paths)


def _told(folder: Path, pictures: Sequence[Path]) -> dict[str, str]:
    """What the folder says beside its pictures."""
    beside = {}
    for file in (p.with_suffix(".txt") for p in pictures):
        lines = as_text(file.read_bytes(), str(file)).splitlines() if file.is_file() else []
        if texts := as_captions(lines, str(file)):
            beside[file.stem] = texts[0]
    if beside or not folder.is_dir() or not (folder / "metadata.jsonl").is_file():
        return beside
    return {Path(e.key).name: e.captions[0] for e in open_pairs(folder) if e.captions}


def _written(path: Path) -> str | None:
    try:
        with Image.open(path) as picture:
            found = picture.info.get("prompt")
    except Exception:  # decoders let anything through
        found = load_photo(path).info.get("prompt")  # which says what is wrong with it
    return found if isinstance(found, str) else None
