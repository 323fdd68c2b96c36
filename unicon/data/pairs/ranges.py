"""Do the maps of a set, taken together, use the range that they are read in?

A single map cannot tell: a wall is flat, and what is far may be dark everywhere. `unicon check` looks at all
maps of a set, a training at a few of them when it starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import PIL.Image

from unicon.data.pairs.entries import Entry, Pairs
from unicon.data.photos import WHITE

NARROW = 40
"""Maps that together span less of 0 .. 255 all look alike to a network."""
NAMED = 3
"""Files that are named as examples."""
LOOKED_AT = 32
"""Pairs that a training looks at."""

NARROW_RANGE, MIXED_SCALES = "narrow range", "mixed scales"
KINDS = {
    NARROW_RANGE: f"all maps of a condition together span less than {NARROW} of 255",
    MIXED_SCALES: "maps without a scale of their own, of which some are read with another white than others",
}
REMEDY = "unicon rescale writes maps again with a value of your choice as white"


@dataclass(frozen=True, slots=True)
class MapRange:
    """What one map spans as it is read, 0 to 255."""

    place: str
    low: int
    high: int
    white: float | None
    """The value of the file that is read as white, where the values alone had to tell."""

    @classmethod
    def of(cls, place: str, drawn: PIL.Image.Image) -> MapRange:
        """Of a picture in RGB."""
        lows, highs = zip(*bands(drawn), strict=True)
        return cls(place, min(lows), max(highs), drawn.info.get(WHITE))


@dataclass(slots=True)
class SetRange:
    """What the maps of one condition span together. Holds no map."""

    num: int = 0
    low: int = 255
    high: int = 0
    files: list[str] = field(default_factory=list)
    """The first few."""
    whites: dict[float, list[str]] = field(default_factory=dict)
    """The first few by what is read as white."""
    counts: dict[float, int] = field(default_factory=dict)

    def add(self, found: MapRange) -> None:
        self.num += 1
        self.low, self.high = min(self.low, found.low), max(self.high, found.high)
        _name(self.files, found.place)
        if found.white is not None:
            self.counts[found.white] = self.counts.get(found.white, 0) + 1
            _name(self.whites.setdefault(found.white, []), found.place)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Kind, of `KINDS`, and what was found in words."""
        if self.num and self.high - self.low < NARROW:
            yield (
                NARROW_RANGE,
                f"{self.num} map{'s' * (self.num > 1)} of {self.low} to {self.high} of 255, such as "
                f"{', '.join(self.files)}; {REMEDY}",
            )
        if len(self.whites) > 1:
            parts = [
                f"{self.counts[white]} with {white:g} as white, such as {', '.join(self.whites[white])}"
                for white in sorted(self.whites)
            ]
            yield MIXED_SCALES, f"read {'; '.join(parts)}; {REMEDY}"


def bands(picture: PIL.Image.Image) -> tuple[tuple[int, int], ...]:
    """Lowest and highest value of each channel of a picture in RGB."""
    return cast(Any, picture).getextrema()


def _name(files: list[str], place: str) -> None:
    if len(files) < NAMED:
        files.append(place)


def doubts(pairs: Pairs, conditions: Sequence[str]) -> list[str]:
    """What a few maps from all over a set say of it, a line for each problem."""
    step = -(-len(pairs) // LOOKED_AT)
    return doubts_of(_readable(pairs, range(0, len(pairs), step)), conditions)


def doubts_of(entries: Iterable[Entry], conditions: Sequence[str]) -> list[str]:
    """The same of these entries; maps that cannot be read are left to those who read them next."""
    ranges = {name: SetRange() for name in conditions}
    for entry in entries:
        for name in conditions:
            if name in entry.maps:
                picture = entry.maps[name]
                try:
                    ranges[name].add(MapRange.of(picture.place, picture.load()))
                except (ValueError, OSError):
                    continue
    return [f"{name}: {kind}: {text}" for name, found in ranges.items() for kind, text in found.problems()]


def _readable(pairs: Pairs, indices: Iterable[int]) -> Iterator[Entry]:
    for index in indices:
        try:
            yield pairs[index]
        except (ValueError, OSError):
            continue
