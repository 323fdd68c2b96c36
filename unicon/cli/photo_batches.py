"""Which photographs does a command read, what are their results called, and which go through together?"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unicon.cli.status import BAD_INPUT, LEFT_OUT
from unicon.processes import ALONE, Share

if TYPE_CHECKING:
    from PIL import Image

MOST_WAITING = 4
"""Batches' worth of photos of odd sizes that wait in memory for others of their size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoFile:
    """A photograph to be read."""

    path: Path
    stem: str
    """Beginning of its results' names, with the folders below the one the user named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """A photograph that was read."""

    file: PhotoFile
    picture: Image.Image
    """Upright, RGB."""


@dataclass(kw_only=True, slots=True)
class Reader:
    """Reads photographs one after the other; those that cannot be read are kept in `failures`."""

    files: Sequence[PhotoFile]
    batch_size: int
    failures: list[str] = field(default_factory=list)

    def batches(self) -> Iterator[list[Photo]]:
        """Photographs of one size, at most `batch_size` together, few of them in memory at a time."""
        waiting: dict[tuple[int, int], list[Photo]] = defaultdict(list)
        for photo in self._photos():
            group = waiting[photo.picture.size]
            group.append(photo)
            if len(group) == self.batch_size:
                yield waiting.pop(photo.picture.size)
            elif sum(map(len, waiting.values())) >= MOST_WAITING * self.batch_size:
                yield waiting.pop(next(iter(waiting)))
        yield from waiting.values()

    def _photos(self) -> Iterator[Photo]:
        from unicon.data.photos import load_photo

        for file in self.files:
            try:
                yield Photo(file=file, picture=load_photo(file.path))
            except (ValueError, OSError) as error:
                self.failures.append(str(error) if str(file.path) in str(error) else f"{file.path}: {error}")
                print(f"left out: {self.failures[-1]}", file=sys.stderr)


def left_out(
    failures: Sequence[str], num: int, what: str = "photos are left out", ours: Share = ALONE
) -> int:
    """A command's status at the end: 0, 1 if some of `num` failed, 2 if all did.

    The first process lists them, where they are not scrolled away. All wait for each other: the first that
    ends with a status other than 0 ends the others.
    """
    if failures and ours.is_first:
        print(f"{len(failures)} of {num} {what}:", file=sys.stderr)
        for failure in sorted(failures):
            print(f"  {failure}", file=sys.stderr)
    ours.wait()
    return (BAD_INPUT if len(failures) == num else LEFT_OUT) if failures else 0


def find_photos(
    sources: Sequence[str], *, recursive: bool, but: Callable[[Path], bool] = lambda _: False
) -> list[PhotoFile]:
    """Files as they are named, the pictures of folders, with `recursive` also of folders within.

    Every photo has a stem of its own. `but`: which pictures of folders are none. Raises ValueError for a
    folder without pictures.
    """
    found = [pair for source in sources for pair in _below(Path(source), recursive, but)]
    if not found:
        raise ValueError(f"{', '.join(sources)}: nothing but what an earlier run wrote; name the photos")
    found = list({path.resolve(): (path, stem) for path, stem in reversed(found)}.values())[::-1]
    return [PhotoFile(path=path, stem=stem) for path, stem in _told_apart(found)]


def _below(source: Path, recursive: bool, but: Callable[[Path], bool]) -> list[tuple[Path, str]]:
    from unicon.data.photos import SUFFIXES, list_photos

    if not source.is_dir():
        return [(source, source.stem)]
    if not recursive:
        return [(path, path.stem) for path in list_photos(source) if not but(path)]
    files = (p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    shown = [p for p in files if not any(part.startswith(".") for part in p.relative_to(source).parts)]
    if not shown:
        raise ValueError(f"{source}: holds no picture, nor do its folders; expected {', '.join(SUFFIXES)}")
    return [(path, str(path.relative_to(source).with_suffix(""))) for path in sorted(shown) if not but(path)]


def _told_apart(found: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    """`a.jpg` beside `a.png` become `a_jpg` and `a_png`; what is still the same is numbered."""
    times = Counter(stem for _, stem in found)
    longer = [f"{s}_{p.suffix[1:]}" if times[s] > 1 and p.suffix else s for p, s in found]
    taken: set[str] = set()
    result = []
    for (path, _), stem in zip(found, longer, strict=True):
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        result.append((path, name))
    return result
