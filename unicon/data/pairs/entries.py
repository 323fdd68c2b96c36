"""What is one pair before anybody decodes it?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import PIL.Image

from unicon.data.photos import AS_PICTURES, load_photo


class Stamp(NamedTuple):
    """What changes with a stored content, as far as file systems tell without reading it."""

    place: tuple[object, ...]
    """Where it lies, with the size and the times of the files it lies in."""
    changed_ns: int
    """When the newest of these files, or its entry in the file system, was changed; since the epoch."""

    @classmethod
    def of_files(cls, paths: Sequence[str | Path]) -> Stamp:
        """Raises OSError for one that is not there."""
        found = [(os.path.abspath(path), os.stat(path)) for path in paths]
        return cls(
            tuple((path, file.st_size, file.st_mtime_ns, file.st_ctime_ns) for path, file in found),
            max(max(file.st_mtime_ns, file.st_ctime_ns) for _, file in found),
        )


class Unreachable(OSError):
    """A content that the network does not give now: no fault of the pair, which is there another time."""


class Part(Protocol):
    """A content that lies in something larger and is read when it is asked for."""

    def read(self) -> bytes: ...

    def stamp(self) -> Stamp | None:
        """None where nothing tells of a change. Raises OSError for a file that is not there."""
        ...


@dataclass(frozen=True, slots=True)
class FilePart:
    """A stretch of a file, as a member of a tar file is one."""

    path: Path
    start: int = 0
    size: int = -1
    """In bytes; -1: to the end."""

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)

    def stamp(self) -> Stamp:
        file = Stamp.of_files([self.path])
        return file._replace(place=(self.start, self.size, *file.place))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is not decoded yet."""

    place: str
    """Where it lies, for messages: a path, or a row or member of a larger file."""
    content: Path | Part | bytes

    def load(self) -> PIL.Image.Image:
        """RGB, upright. Raises ValueError that names the place."""
        return load_photo(self.content if isinstance(self.content, Path) else self.read(), self.place)

    def read(self) -> bytes:
        """The file's content, as it is stored."""
        if isinstance(self.content, bytes):
            return self.content
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content.read()

    def stamp(self) -> Stamp | None:
        """None for a content that is in memory. Raises OSError for a file that is not there."""
        if isinstance(self.content, bytes):
            return None
        return (FilePart(self.content) if isinstance(self.content, Path) else self.content).stamp()


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A picture, its maps by condition, and what is said about it. Either side may be missing."""

    key: str
    """Names the pair within its source: a stem, a row, a member."""
    image: Picture | None
    maps: Mapping[str, Picture] = field(default_factory=dict)
    captions: tuple[str, ...] = ()
    """Any number: training picks one at a time."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """All entries of a source in a fixed order, and the conditions that occur in it.

    An entry is made when it is asked for: a source may be larger than memory.
    """

    num: int
    entry: Callable[[int], Entry]
    """The entry of a number below `num`."""
    conditions: tuple[str, ...]
    arrays: Mapping[str, str] = field(default_factory=dict)
    """What lies there as arrays, which are not read: where the first one is, by the condition's name."""

    @classmethod
    def of(
        cls, entries: Sequence[Entry], conditions: Iterable[str], arrays: Mapping[str, str] | None = None
    ) -> Pairs:
        """Entries that are all there."""
        return cls(len(entries), entries.__getitem__, tuple(conditions), arrays or {})

    def unread(self) -> dict[str, str]:
        """In words, conditions that are there as arrays alone."""
        return {
            name: f"{place} is an array, and maps are read as pictures: {AS_PICTURES}"
            for name, place in self.arrays.items()
            if name not in self.conditions
        }

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Entry:
        if not 0 <= index < self.num:
            raise IndexError(f"there is no pair {index}, only 0 to {self.num - 1}")
        return self.entry(index)

    def __iter__(self) -> Iterator[Entry]:
        return map(self.entry, range(self.num))
