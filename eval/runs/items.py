"""What is one picture of a suite, and what is one answer of a model to it?"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, overload

import numpy as np

from eval.runs.truth import shows_nothing

Direction = Literal["estimate", "generate", "joint"]
DIRECTIONS: tuple[Direction, ...] = ("estimate", "generate", "joint")


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A picture with its maps and its truth."""

    name: str
    """Unique in its suite."""
    key: int
    """Its noise is a function of this and the seed alone."""
    image: np.ndarray
    """(H, W, 3) uint8."""
    caption: str = ""
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    """By condition, (H, W, 3) float32 in [0, 1]: what is held clean to generate from."""
    truth: Mapping[str, Any] = field(default_factory=dict)
    """By condition, what its measures take: metres, edges, joints, or a map."""

    @property
    def blank(self) -> tuple[str, ...]:
        """Conditions whose map shows nothing to follow: left out where one generates from it."""
        return tuple(name for name, told in self.truth.items() if shows_nothing(name, told))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def digest(self) -> str:
        """16 hex digits of everything that a model is given of it, and of the truth."""
        found = hashlib.blake2b(repr((self.caption, self.key, self.size)).encode(), digest_size=8)
        found.update(np.ascontiguousarray(self.image).tobytes())
        for name in sorted(self.maps):
            found.update(name.encode() + np.ascontiguousarray(self.maps[name]).tobytes())
        for name in sorted(self.truth):
            found.update(name.encode() + np.ascontiguousarray(self.truth[name]).tobytes())
        return found.hexdigest()


class WhenAsked(Mapping[str, Any]):
    """Maps or truths by condition that are made when they are first asked for: a run of one condition needs
    no other's, and who looks at the picture alone needs none."""

    def __init__(self, names: Sequence[str], make: Callable[[str], Any]):
        self.names = tuple(names)
        self._make, self._made = make, {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


class Items(Sequence[Item]):
    """Items that are read when they are asked for."""

    def __init__(self, names: Sequence[str], load: Callable[[int], Item]):
        self.names = tuple(names)
        self._load = load

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> Items: ...

    def __getitem__(self, index: int | slice) -> Item | Items:
        if isinstance(index, slice):
            kept = range(len(self))[index]
            return Items([self.names[n] for n in kept], lambda n: self._load(kept[n]))
        return self._load(range(len(self))[index])

    def __iter__(self) -> Iterator[Item]:
        return map(self._load, range(len(self)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One answer, as a measure sees it."""

    item: Item
    condition: str
    map: np.ndarray
    """(H, W, 3) float32 in [0, 1]: estimated, or read back from a generated picture."""
    truth: Any
    """Of the item, or the map that was generated with the picture in the same form."""
    picture: np.ndarray | None = None
    """(H, W, 3) uint8, the generated picture; None of an estimate."""
    members: np.ndarray | None = None
    """(M, h, w) of the ensemble that the map combines, as `eval.runs.members` keeps them, where asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One direction of one condition."""

    condition: str
    direction: Direction

    @property
    def name(self) -> str:
        """As tables and folders call it."""
        return f"{self.condition}-{self.direction}"
