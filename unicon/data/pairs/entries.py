"""What is one pair before anybody decodes it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import PIL.Image

from unicon.data.photos import load_photo


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


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is not decoded yet."""

    place: str
    """Where it lies, for messages: a path, or a row or member of a larger file."""
    content: Path | FilePart | bytes

    def load(self) -> PIL.Image.Image:
        """RGB, upright. Raises ValueError that names the place."""
        content = self.content.read() if isinstance(self.content, FilePart) else self.content
        return load_photo(content, self.place)

    def read(self) -> bytes:
        """The file's content, as it is stored."""
        if isinstance(self.content, FilePart):
            return self.content.read()
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


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

    @classmethod
    def of(cls, entries: Sequence[Entry], conditions: Iterable[str]) -> Pairs:
        """Entries that are all there."""
        return cls(len(entries), entries.__getitem__, tuple(conditions))

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Entry:
        if not 0 <= index < self.num:
            raise IndexError(f"there is no pair {index}, only 0 to {self.num - 1}")
        return self.entry(index)

    def __iter__(self) -> Iterator[Entry]:
        return map(self.entry, range(self.num))
