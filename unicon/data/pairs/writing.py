"""How is a folder of pairs written, so that it is whole at any moment and continued by the same command?

`image/STEM.png`, `CONDITION/STEM.png`, `caption/STEM.txt`, as `files` reads them, and `annotate.json`, which
says how each condition was made. What is done is kept in `.records/CONDITION/STEM.json`, written last.
Several processes may write different stems at the same time. No metadata of a photograph is copied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from adapters.files import write_whole
from unicon.data.pairs import names
from unicon.data.photos import SUFFIXES, load_photo

MANIFEST = "annotate.json"
_RECORDS = ".records"
_SOUGHT = "captions were sought"
"""Beside the files of a record, of which none may be a caption then."""
_OF = "made of: "
"""Begins what stands beside them of the source."""
_COMPARED = ("annotator", "weights", "revision", "settings", "pictures")


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One pair to be written."""

    stem: str
    image: PIL.Image.Image
    map: PIL.Image.Image | np.ndarray
    """A picture, or (H, W, 3) in [0, 1]."""
    captions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PairFolder:
    """A folder of pairs that one condition is added to."""

    root: Path
    condition: str

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """ValueError if the folder holds this condition made in another way, or other pictures."""
        held = {name: told for name, told in self.manifest().items() if self._holds(name)}
        mine = held.get(self.condition, {})
        for other in held.values():
            if other["pictures"] != facts["pictures"]:
                raise ValueError(
                    f"{self.root}: holds pictures made as {other['pictures']}, not {facts['pictures']}; "
                    "choose another folder"
                )
        changed = [key for key in _COMPARED if mine and mine.get(key) != facts.get(key)]
        if changed:
            was, now = mine.get(changed[0]), facts.get(changed[0])
            raise ValueError(
                f"{self.root}: holds {self.condition} with {changed[0]} {was}, not {now}; choose another "
                f"folder, or remove {self.root / self.condition} and {self._records}"
            )

    def _holds(self, condition: str) -> bool:
        """Whether anything was made or sought: a run that failed may have stated its facts alone."""
        places = (self.root / condition, self.root / _RECORDS / condition)
        return any(path.is_file() for place in places for path in place.rglob("*"))

    def manifest(self) -> dict[str, dict[str, Any]]:
        """How each condition of the folder was made. Raises ValueError for a damaged file."""
        path = self.root / MANIFEST
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise ValueError(f"{path}: is no JSON ({error}); remove it, and the folder's .records") from error

    def state(self, facts: Mapping[str, Any]) -> None:
        """Write how this condition is made."""
        self.root.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self.manifest(), self.condition: dict(facts)}, indent=2, ensure_ascii=False)
        write_whole(self.root / MANIFEST, lambda path: path.write_text(text + "\n", encoding="utf-8"))

    def is_done(self, task: str, *, captioned: bool = False) -> bool:
        """Whether everything that task wrote is still there; `captioned`: a caption among it, unless one was
        sought and there is none."""
        record = self._records / f"{task}.json"
        if not record.is_file():
            return False
        files = json.loads(record.read_text())
        if captioned and not any(name.startswith("caption/") or name == _SOUGHT for name in files):
            return False
        return all((self.root / f).is_file() for f in files if f != _SOUGHT and not f.startswith(_OF))

    def source(self, task: str) -> str:
        """What `finish` was told of the task's source; empty where nothing was."""
        record = self._records / f"{task}.json"
        told = json.loads(record.read_text()) if record.is_file() else []
        return next((entry.removeprefix(_OF) for entry in told if entry.startswith(_OF)), "")

    def write(self, made: Made) -> list[str]:
        """Write a pair and return its files, relative to the folder. A picture that is there is kept, and so
        are captions.

        Raises ValueError if that is another picture than the pair's.
        """
        place = self._pictures()
        image = self._held(place, made) or f"{place}/{made.stem}.png"
        drawn = f"{self.condition}/{made.stem}.png"
        if not (self.root / image).is_file():
            self._write(image, lambda path: _bare(made.image).save(path, format="PNG"))
        self._write(drawn, lambda path: _bare(made.map).save(path, format="PNG"))
        if made.captions:
            name = f"caption/{made.stem}.txt"
            text = "\n".join(made.captions) + "\n"
            if not (self.root / name).is_file():  # a user's own words, perhaps
                self._write(name, lambda path: path.write_text(text, encoding="utf-8"))
            return [image, drawn, name]
        return [image, drawn]

    def finish(self, task: str, files: Sequence[str], *, captioned: bool = False, source: str = "") -> None:
        """Record that a task is done, with the files it wrote, and perhaps what of; `captioned`: captions
        were sought."""
        record = self._records / f"{task}.json"
        record.parent.mkdir(parents=True, exist_ok=True)
        told = [*files, *([_SOUGHT] if captioned else []), *([_OF + source] if source else [])]
        write_whole(record, lambda path: path.write_text(json.dumps(told)))

    def _pictures(self) -> str:
        """The folder of pictures, which may have been there before."""
        return next((name for name in names.IMAGE if (self.root / name).is_dir()), names.IMAGE[0])

    def _held(self, place: str, made: Made) -> str | None:
        """The picture of this stem that is there, of any format."""
        ends = (end for suffix in SUFFIXES for end in (suffix, suffix.upper()))  # as cameras write them
        files = (self.root / place / f"{made.stem}{end}" for end in ends)
        path = next((file for file in files if file.is_file()), None)
        if path is None:
            return None
        there = load_photo(path)
        if there.size != made.image.size:
            raise ValueError(
                f"{path} is there already with {there.width} x {there.height} pixels, not "
                f"{made.image.width} x {made.image.height}: give the --longest that it was made with, or "
                "choose another folder"
            )
        if not np.array_equal(np.asarray(there), np.asarray(made.image.convert("RGB"))):
            raise ValueError(f"{path} is there already and shows something else: choose another folder")
        return path.relative_to(self.root).as_posix()

    @property
    def _records(self) -> Path:
        return self.root / _RECORDS / self.condition

    def _write(self, name: str, write: Any) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, write)


def _bare(picture: PIL.Image.Image | np.ndarray) -> PIL.Image.Image:
    """The pixels alone, without EXIF, place or profile."""
    pixels = np.asarray(picture)
    if pixels.dtype != np.uint8:
        pixels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return PIL.Image.fromarray(pixels)
