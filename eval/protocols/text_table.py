"""What does a table say of each picture?

A CSV or JSON lines, by names that may be written with folders and endings or without. Leaves out what lies
with the pictures themselves (`eval.protocols.generated`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path

from eval.pictures import IMAGE
from unicon.data.photos import SUFFIXES

KEYS = ("name", "file_name", "image", "image_file_name")
TEXTS = ("caption", "text", "prompt")


def own_stem(path: Path) -> str:
    """Of a generated picture."""
    return path.stem.removesuffix(IMAGE)


class TextTable:
    """Texts by names of pictures, which a table may write with their folders or without, with their ending
    or without. The fullest name that a picture ends with counts."""

    def __init__(self, named: Iterable[tuple[str, str]], source: str):
        self.source = source
        self.known: dict[tuple[str, ...], set[str]] = {}
        for name, text in named:
            for form in {_parts(name), _parts(name, with_ending=False)} if text else ():
                self.known.setdefault(form, set()).add(text)

    @classmethod
    def of_table(cls, path: Path, columns: Sequence[str] = TEXTS) -> TextTable:
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
            rows = [json.loads(line) for line in content.split("\n") if line.strip()]
        else:
            rows = list(csv.DictReader(StringIO(content, newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as CSV or JSON lines ({error})") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: holds no rows of named columns")
    return rows


def how_many_idle(given: Mapping[str, object], names: Sequence[str], source: str | Path) -> str:
    """A line on names in a table that are no picture's; empty where all are."""
    stems = {stem_of(name) for name in names}
    idle = [name for name in given if stem_of(name) not in stems]
    return f"{len(idle)} of {len(given)} names in {source} are no generated picture's\n" if idle else ""


def stem_of(name: str) -> str:
    """Without folders, and without an ending where it is a picture's: a stem may hold a dot ("p_0.5")."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name
