"""What is wrong with a user's pairs? Every file is decoded, and named where it does not do.

`UNUSABLE` problems keep a pair out of training; the others are worth a look: a black pose drawing is a
picture without people, or a broken export.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import PIL.Image

from unicon.conditions.mirror import REDRAWN
from unicon.data.pairs.entries import Entry, Pairs, Picture
from unicon.data.pairs.ranges import KINDS, MapRange, SetRange, bands

UNUSABLE = {
    "no picture": "there is a map, but no picture for it",
    "no map": "there is a picture, but not every map",
    "unreadable": "a file that cannot be decoded, or whose values are out of range",
    "other shape": "picture and map have another ratio of width to height",
    "map is the picture": "the same pixels on both sides",
    "no left and right": "colours that do not say what is left, so that no mirrored view can be learnt from",
}
DOUBTFUL = {
    "other size": "picture and map differ in size; the map will be resized",
    "constant": "all pixels are the same",
    "duplicate": "the same pixels as another picture of this set",
    "no caption": "trained with the empty prompt",
    "small": "a side under 64 pixels",
    **KINDS,
}
SMALL_PX = 64
SHAPE_TOLERANCE = 0.02
"""By how much two ratios of width to height may differ: one pixel of rounding in a small picture."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with one pair, or with all maps of a condition."""

    kind: str
    """A key of `UNUSABLE` or `DOUBTFUL`."""
    key: str
    """The pair, or the condition."""
    place: str
    """The file, row or member; empty where it is one that is missing, or several."""
    text: str
    index: int | None = None
    """The pair's number in its source, as several may have one key; None for all maps of a condition."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was found in one set of pairs."""

    num_pairs: int
    num_usable: int
    conditions: tuple[str, ...]
    num_captions: int
    sizes: dict[str, int]
    """Pictures by "WIDTHxHEIGHT", the most frequent first."""
    problems: tuple[Problem, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Problems by kind, in the order of the two tables above."""
        found = Counter(problem.kind for problem in self.problems)
        return {kind: found[kind] for kind in (*UNUSABLE, *DOUBTFUL) if found[kind]}

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "counts": self.counts}


@dataclass(slots=True)
class _Seen:
    """One entry after decoding."""

    index: int
    key: str
    problems: list[Problem] = field(default_factory=list)
    size: tuple[int, int] | None = None
    digest: bytes | None = None
    place: str = ""
    num_captions: int = 0
    ranges: dict[str, MapRange] = field(default_factory=dict)
    """Of its maps by condition."""

    def add(self, kind: str, place: str, text: str) -> None:
        self.problems.append(Problem(kind, self.key, place, text, self.index))

    @property
    def is_usable(self) -> bool:
        return not any(problem.kind in UNUSABLE for problem in self.problems)


def check_pairs(
    pairs: Pairs, *, workers: int = 2, aligned: bool = True, flipped: bool = True, progress: Any = iter
) -> Report:
    """Decode everything and report it. `progress` wraps the iteration, as tqdm does. Maps that are not
    `aligned` may be of any size and shape, poses that are not seen `flipped` in any colours."""
    seen, first, ranges = [], {}, {name: SetRange() for name in pairs.conditions}
    for found in progress(_in_parallel(pairs, workers, partial(_look, aligned=aligned, flipped=flipped))):
        if found.digest is not None:
            if found.digest in first:
                found.add("duplicate", found.place, f"the same pixels as {first[found.digest]}")
            first.setdefault(found.digest, found.place)
        for name, spanned in found.ranges.items():
            ranges[name].add(spanned)
        seen.append(found)
    of_sets = [Problem(kind, n, "", text) for n, r in ranges.items() for kind, text in r.problems()]
    sizes = Counter(f"{s.size[0]}x{s.size[1]}" for s in seen if s.size)
    return Report(
        num_pairs=len(seen),
        num_usable=sum(s.is_usable for s in seen),
        conditions=pairs.conditions,
        num_captions=sum(s.num_captions for s in seen),
        sizes=dict(sizes.most_common()),
        problems=(*(problem for s in seen for problem in s.problems), *of_sets),
    )


def _in_parallel(pairs: Pairs, workers: int, look: Callable[[Pairs, int], _Seen]) -> Iterator[_Seen]:
    """In order, and never many decoded ahead: decoding releases Python's lock, so threads are enough."""
    with ThreadPoolExecutor(workers) as pool:
        ahead = 4 * workers
        indices = iter(range(len(pairs)))
        waiting = [pool.submit(look, pairs, i) for i in islice(indices, ahead)]
        while waiting:
            yield waiting.pop(0).result()
            waiting += [pool.submit(look, pairs, i) for i in islice(indices, 1)]


def _look(pairs: Pairs, index: int, *, aligned: bool, flipped: bool) -> _Seen:
    try:
        entry = pairs[index]
    except (ValueError, OSError) as error:
        place = str(error).partition(": ")[0]
        unlisted = _Seen(index, f"pair {index}")
        unlisted.add("unreadable", place, str(error))
        return unlisted
    seen = _Seen(index, entry.key, num_captions=len(entry.captions))
    problem = seen.add
    for name in pairs.conditions:
        if name not in entry.maps:
            problem("no map", "", f"has no {name}")
    if entry.image is None:
        problem("no picture", "", f"has {', '.join(entry.maps)} alone")
    if not entry.captions:
        problem("no caption", "", "has no caption")
    image = None if entry.image is None else _decoded(entry.image, problem)
    if entry.image is not None and image is not None:
        seen.size, seen.digest, seen.place = image.size, _digest(image), entry.image.place
    for name in pairs.conditions:
        picture = entry.maps.get(name)
        drawn = None if picture is None else _decoded(picture, problem)
        if picture is None or drawn is None:
            continue
        seen.ranges[name] = MapRange.of(picture.place, drawn)
        if aligned and image is not None:
            if found := disagreement(np.asarray(image), np.asarray(drawn)):
                problem(found[0], picture.place, found[1])
            drawn = on_picture(drawn, image)
        if flipped and name in REDRAWN:
            try:
                REDRAWN[name](np.asarray(drawn))
            except ValueError as error:
                problem("no left and right", picture.place, str(error))
    return seen


def _decoded(picture: Picture, problem: Callable[[str, str, str], None]) -> PIL.Image.Image | None:
    """RGB, or None for what cannot be read."""
    try:
        drawn = picture.load()
    except (ValueError, OSError) as error:
        problem("unreadable", picture.place, str(error))
        return None
    if min(drawn.size) < SMALL_PX:
        problem("small", picture.place, f"has {drawn.width} x {drawn.height} pixels")
    spans = bands(drawn)
    if all(low == high for low, high in spans):
        problem("constant", picture.place, f"is {tuple(low for low, _ in spans)} everywhere")
    return drawn


def disagreement(image: np.ndarray, drawn: np.ndarray) -> tuple[str, str] | None:
    """What keeps a map (H, W, 3) from lying on its picture: a kind of problem, and both sizes in words."""
    (height, width), (rows, columns) = image.shape[:2], drawn.shape[:2]
    if (height, width) == (rows, columns):
        same = np.array_equal(image, drawn)
        return ("map is the picture", "has the pixels of its picture") if same else None
    sizes = f"has {columns} x {rows} pixels, its picture {width} x {height}"
    same_shape = abs(columns / rows / (width / height) - 1) <= SHAPE_TOLERANCE
    return ("other size" if same_shape else "other shape"), sizes


def on_picture(drawn: PIL.Image.Image, image: PIL.Image.Image) -> PIL.Image.Image:
    """A map at the size of the picture that it lies on, as it is learnt from."""
    return drawn if drawn.size == image.size else drawn.resize(image.size, PIL.Image.Resampling.LANCZOS)


def _digest(picture: PIL.Image.Image) -> bytes:
    return hashlib.blake2b(picture.tobytes(), digest_size=16, salt=str(picture.width).encode()).digest()


def usable(pairs: Pairs, report: Report) -> Iterator[Entry]:
    """The entries that have no problem that keeps them out."""
    bad = {problem.index for problem in report.problems if problem.kind in UNUSABLE}
    return (pairs[index] for index in range(len(pairs)) if index not in bad)
