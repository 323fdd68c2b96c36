"""Which generated pictures belong to which condition, and what was asked of each?

A picture belongs to the condition whose stem its own begins with: `cat.png`, `cat_0.png` and `cat_seed3.png`
to `cat_depth.png`. Of pairs that `unicon joint` writes, `_image` is not part of the stem. Captions come from
a table, from the folder's own (docs/data.md), or from what `unicon generate` wrote into the PNG. Leaves out
scores.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from unicon.data.pairs import open_pairs
from unicon.data.pairs.names import as_captions, as_text
from unicon.data.photos import SUFFIXES, list_photos, load_photo

BORDERS = "_-. "
KEYS = ("name", "file_name", "image", "image_file_name")
TEXTS = ("caption", "text", "prompt")


def own_stem(path: Path) -> str:
    """Of a generated picture."""
    return path.stem.removesuffix("_image")


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


def pictures_in(folder: str | Path) -> list[Path]:
    """Of a folder; where files are named `..._image`, those alone. ValueError where there is none."""
    return _named(list_photos(folder), "image")


def maps_in(folder: str | Path, condition: str) -> dict[str, Path]:
    """By stem; where files are named `..._CONDITION`, those alone. ValueError where there is none."""
    given = _named(list_photos(folder), condition)
    return {path.stem.removesuffix(f"_{condition}"): path for path in given}


def _named(paths: list[Path], ending: str) -> list[Path]:
    return [path for path in paths if path.stem.endswith(f"_{ending}")] or paths


def by_subject(folder: str | Path) -> dict[str, list[Path]]:
    """Pictures by the folder within that holds them; of a folder without folders all as "all"."""
    folder = Path(folder)
    within = [p for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")] if (
        folder.is_dir()
    ) else []  # fmt: skip
    return {p.name: list_photos(p) for p in within} if within else {"all": list_photos(folder)}


def by_prompt(folder: str | Path) -> dict[str, list[Path]]:
    """Pictures by the folder within, or by their names without a last number or seed (`cat_3`,
    `cat_seed3`)."""
    found = by_subject(folder)
    return by_name(found["all"]) if list(found) == ["all"] else found


def by_name(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Pictures by their names without a last number or seed."""
    made: dict[str, list[Path]] = {}
    for path in paths:
        made.setdefault(re.sub(r"[_\-. ](seed)?\d+$", "", own_stem(path)), []).append(path)
    return made


def by_condition(
    folder: str | Path, *, table: str | Path | None = None, stems: Sequence[str] | None = None
) -> tuple[dict[str, list[Path]], str]:
    """Pictures that share caption and map, and what told so.

    With `table` (`read_table`) by its captions, with `stems` of maps by the one that each name begins with,
    with both by both. With neither by `by_prompt`, but names can mislead (`p_0` to `p_11` may be twelve
    prompts): where every file says its caption, groups are of one caption. Raises ValueError as `groups`,
    and naming a picture that the table lacks.
    """
    if table is None and stems is None:
        return by_name_and_caption(by_prompt(folder))
    pictures = _named([path for group in by_subject(folder).values() for path in group], "image")
    made, by = {"": pictures}, []
    if stems is not None:
        made = {stem: files for stem, files in groups(pictures, stems).items() if files}
        by.append("maps")
    if table is not None:
        made = _split(made, of_table(pictures, table))
        by.append("captions")
    return made, " and ".join(by)


def by_name_and_caption(made: Mapping[str, Sequence[Path]]) -> tuple[dict[str, list[Path]], str]:
    """Groups by name apart by captions, where every file says its own, and what told so."""
    told = beside([path for group in made.values() for path in group])
    if told:
        return _split(made, told), "names and captions"
    return {name: list(group) for name, group in made.items()}, "names"


def of_table(pictures: Sequence[Path], table: str | Path) -> dict[Path, str]:
    """Captions of a table (`read_table`); ValueError naming a picture that it lacks."""
    known = Told.of_table(Path(table))
    told = {path: known.of(path) for path in pictures}
    if lacking := [path for path, text in told.items() if not text]:
        raise ValueError(f"{lacking[0]}: has no caption ({table}); {len(lacking)} are missing")
    return {path: text for path, text in told.items() if text}


def _split(made: Mapping[str, Sequence[Path]], told: Mapping[Path, str]) -> dict[str, list[Path]]:
    """Each group by the captions of its pictures."""
    found: dict[str, list[Path]] = {}
    for name, paths in made.items():
        for path in paths:
            found.setdefault(f"{name}: {told[path]}" if name else told[path], []).append(path)
    return found


def beside(paths: Sequence[Path]) -> dict[Path, str]:
    """Captions that folders and files say themselves; empty where any picture has none."""
    found = {}
    for folder in {path.parent for path in paths}:
        within = [path for path in paths if path.parent == folder]
        told = _told(folder, within)
        for path in within:
            if not (text := told.get(path.name) or told.get(path.stem) or _written(path)):
                return {}
            found[path] = text
    return found


def groups(pictures: Sequence[Path], stems: Sequence[str]) -> dict[str, list[Path]]:
    """Pictures of each stem, in the order of their names; the longest stem that fits wins.

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


def captions(folder: str | Path, table: str | Path | None = None) -> tuple[list[Path], list[str]]:
    """The pictures of a folder, and a caption of each.

    `table`: CSV or JSON lines with a column `name` (or `file_name`) and one `caption` (or `text`, `prompt`);
    names are files or stems. Where files are named `..._image`, those alone are pictures. Raises ValueError
    naming a picture without a caption.
    """
    pictures = _named(list_photos(folder), "image")
    found, of_folder = [], {} if table else _told(Path(folder), pictures)
    known = Told.of_table(Path(table)) if table else None
    for path in pictures:
        if known is not None:
            text = known.of(path)
        else:
            text = of_folder.get(path.name) or of_folder.get(path.stem) or _written(path)
        if not text:
            where = "its file says no prompt, and the folder has no captions" if table is None else str(table)
            raise ValueError(f"{path}: has no caption ({where}); give --captions FILE with name and caption")
        found.append(text)
    return pictures, found


class Told:
    """Texts by names of pictures, which a table may write with their folders or without, with their ending
    or without. The fullest name that a picture ends with counts."""

    def __init__(self, named: Iterable[tuple[str, str]], source: str):
        self.source = source
        self.known: dict[tuple[str, ...], set[str]] = {}
        for name, text in named:
            for form in {_parts(name), _parts(name, with_ending=False)} if text else ():
                self.known.setdefault(form, set()).add(text)

    @classmethod
    def of_table(cls, path: Path, columns: Sequence[str] = TEXTS) -> Told:
        """The first of `columns` that a table has (`named_texts`)."""
        return cls(named_texts(path, columns), str(path))

    def of(self, picture: str | Path) -> str | None:
        """What is told of a picture; ValueError where that is two things."""
        parts = _parts(picture)
        ends = (parts[-1], _parts(picture, with_ending=False)[-1], own_stem(Path(picture)))
        for first in range(len(parts)):
            for end in ends:
                found = self.known.get((*parts[first:-1], end), set())
                if len(found) > 1:
                    name = "/".join((*parts[first:-1], end))
                    raise ValueError(
                        f"{self.source}: {name} is told {len(found)} things, such as {min(found)!r} and "
                        f"{max(found)!r}; write each name once, with its folder where names are not enough"
                    )
                if found:
                    return next(iter(found))
        return None


def _parts(name: str | Path, *, with_ending: bool = True) -> tuple[str, ...]:
    path = Path(name)
    return path.parts if with_ending or path.suffix.lower() not in SUFFIXES else path.with_suffix("").parts


def read_table(path: Path) -> dict[str, str]:
    """Captions by file name, the first of each; ValueError for a file that holds none."""
    told: dict[str, str] = {}
    for name, text in named_texts(path):
        told.setdefault(Path(name).name, text)
    return told


def named_texts(path: Path, columns: Sequence[str] = TEXTS) -> list[tuple[str, str]]:
    """Names of a table with the first of `columns` that it has; ValueError for a file that has none."""
    rows = read_rows(path)
    key, text = (next((c for c in known if c in rows[0]), None) for known in (KEYS, columns))
    if key is None or text is None:
        raise ValueError(f"{path}: has columns {', '.join(rows[0])}; expected name and {columns[0]}")
    found = []
    for row in rows:
        value = row.get(text)
        value = value[0] if isinstance(value, list) and value else value
        found.append((str(row.get(key)), "" if value is None else str(value)))
    return found


def read_rows(path: Path) -> list[dict]:
    """Rows of a CSV with a header, or of JSON lines; ValueError for other files."""
    try:
        content = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".json", ".jsonl"):
            rows = [json.loads(line) for line in content.splitlines() if line.strip()]
        else:
            rows = list(csv.DictReader(content.splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as CSV or JSON lines ({error})") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: holds no rows of named columns")
    return rows


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
