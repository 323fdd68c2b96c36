"""How are pairs found among files: in parallel folders by stem, or by the rows of a `metadata.jsonl`?"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unicon.data.pairs import names
from unicon.data.pairs.entries import Entry, Pairs, Picture
from unicon.data.photos import ARRAYS, SUFFIXES

_FILE_NAME = "_file_name"


def from_folders(root: Path) -> Pairs:
    """`image/`, `depth/`, ...: files of one stem belong together, also in folders below.

    Raises ValueError where there is no image folder or it holds arrays, and for two pictures of one stem in
    one folder.
    """
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    images = [p for p in folders if names.is_image(p.name)]
    if len(images) != 1:
        raise ValueError(
            f"{root}: has {len(images)} folders of pictures ({', '.join(names.IMAGE)}); expected one, and "
            f"one for each condition beside it; found {', '.join(p.name for p in folders) or 'no folder'}"
        )
    texts = [p for p in folders if names.is_caption(p.name)]
    maps = {p.name: _by_stem(p) for p in folders if p not in [*images, *texts]}
    arrays = {name: _arrays(root / name)[:1] for name, found in maps.items() if not found}
    maps = {name: found for name, found in maps.items() if found}
    pictures = _by_stem(images[0])
    if not pictures and (found := _arrays(images[0])):
        raise ValueError(
            f"{found[0]}: is an array; expected pictures in {images[0]}: save them as PNG or JPEG"
        )
    stems = sorted({*pictures, *(stem for found in maps.values() for stem in found)})
    entries = [
        Entry(
            key=stem,
            image=_picture(pictures.get(stem)),
            maps={
                name: Picture(str(found[stem]), found[stem]) for name, found in maps.items() if stem in found
            },
            captions=_captions(stem, [*texts, images[0]]),
        )
        for stem in stems
    ]
    return Pairs.of(entries, maps, {name: str(path) for name, found in arrays.items() for path in found})


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in _files_below(folder):
        if path.suffix.lower() in SUFFIXES:
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise ValueError(f"{path}: {found[stem].name} has the same stem; keep one of them")
            found[stem] = path
    return found


def _arrays(folder: Path) -> list[Path]:
    return [path for path in _files_below(folder) if path.suffix.lower() in ARRAYS]


def _files_below(folder: Path) -> list[Path]:
    """All files but hidden ones and those in hidden folders (a notebook's copies); links are followed."""
    found = []
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in files if not name.startswith(".")]
    return sorted(found)


def _picture(path: Path | None) -> Picture | None:
    return None if path is None else Picture(str(path), path)


def _captions(stem: str, folders: list[Path]) -> tuple[str, ...]:
    for folder in folders:
        path = folder / f"{stem}.txt"
        if path.is_file():
            return names.as_captions(names.as_text(path.read_bytes(), str(path)).splitlines(), str(path))
    return ()


def from_jsonl(path: Path) -> Pairs:
    """Rows of `file_name` or `image`, of `<condition>_file_name` or `<condition>`, and captions.

    Raises ValueError naming the line for what is no such row.
    """
    entries, conditions, arrays = [], {}, {}
    for number, row in _rows(path):
        place = f"{path}:{number}"
        files = {
            key.removesuffix(_FILE_NAME): value for key, value in row.items() if key.endswith(_FILE_NAME)
        }
        files |= {key: value for key, value in row.items() if key not in files and _is_picture(key, value)}
        images = [files.pop(name) for name in list(files) if names.is_image(name)]
        images += [row["file_name"]] if "file_name" in row else []
        if len(images) > 1:
            raise ValueError(
                f"{place}: names {len(images)} images; expected one file_name or image_file_name"
            )
        if not all(isinstance(name, str) or name is None for name in [*images, *files.values()]):
            raise ValueError(f"{place}: a file name is no text; expected a path relative to {path.parent}")
        for key, value in row.items():
            if isinstance(value, str) and value.lower().endswith(ARRAYS) and not names.is_caption(key):
                arrays.setdefault(key.removesuffix(_FILE_NAME), str(path.parent / value))
        maps = {k: v for k, v in files.items() if v and Path(v).suffix.lower() in SUFFIXES}
        conditions |= dict.fromkeys(maps)
        texts = [value for key, value in row.items() if names.is_caption(key)]
        entries.append(
            Entry(
                key=str(images[0] if images and images[0] else number),
                image=_picture(path.parent / images[0]) if images and images[0] else None,
                maps={name: Picture(str(path.parent / v), path.parent / v) for name, v in maps.items()},
                captions=names.as_captions(texts[0] if texts else None, place),
            )
        )
    return Pairs.of(entries, conditions, arrays)


def _is_picture(key: str, value: Any) -> bool:
    """Whether a column by its bare name holds a picture's file: `depth`, but no caption that ends in .png,
    and nothing that says which row it is."""
    if key in names.KEYS or key.endswith(_FILE_NAME) or names.is_caption(key):
        return False
    return isinstance(value, str) and Path(value).suffix.lower() in SUFFIXES


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) of every line that is not empty."""
    for number, line in enumerate(names.as_text(path.read_bytes(), str(path)).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{path}:{number}: is no JSON ({error}); expected one object per line"
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}:{number}: is a {type(row).__name__}; expected one object per line")
        yield number, row
