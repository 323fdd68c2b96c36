"""How are sets of pictures and features made that cannot be measured?"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np

from .case import Case, Place
from .files import png, put


def originality(made: int, training: int, *more: str, broken: bool = False) -> Callable[[Place], list[str]]:
    """So many pictures beside so many."""

    def make(place: Place) -> list[str]:
        for folder, num, first in (("made", made, 0), ("real", training, 100)):
            (place.data / folder).mkdir(parents=True, exist_ok=True)
            for i in range(num):
                put(place.data / folder / f"{i}.png", png(first + i))
        put(place.data / "captions.csv", b"name,caption\n0.png,a thing\n")
        if broken:
            put(place.data / "made" / "0.png", png(0)[:300])
        sets = ["--generated", str(place.data / "made"), "--training", str(place.data / "real")]
        given = [str(place.data / each) if each.endswith(".csv") else each for each in more]
        return ["eval", "originality", *sets, "--out", str(place.out), *given]

    return make


def distributions(real: np.ndarray, generated: np.ndarray, *more: str) -> Callable[[Place], list[str]]:
    """Features against features."""

    def make(place: Place) -> list[str]:
        for name, values in (("real", real), ("generated", generated)):
            file = io.BytesIO()
            np.save(file, values.astype(np.float32))
            put(place.data / f"{name}.npy", file.getvalue())
        sets = ["--real", str(place.data / "real.npy"), "--generated", str(place.data / "generated.npy")]
        return ["eval", "distributions", *sets, *more]

    return make


_DRAW = np.random.default_rng(0).normal
_HOLED = _DRAW(size=(40, 8))
_HOLED[3, 2] = np.nan

OF_SETS = (
    Case(
        name="originality: no generated picture",
        make=originality(0, 4),
        told=("data/made: holds no picture",),
        runs=True,
    ),
    Case(
        name="originality: one training picture",
        make=originality(2, 1),
        told=("1 training pictures cannot tell a level",),
        runs=True,
    ),
    Case(
        name="originality: fewer training pictures than neighbours",
        make=originality(2, 4, "--neighbours", "4", "--level", "0.5"),
        told=("the training set has 4 features", "k = 4"),
        runs=True,
    ),
    Case(
        name="originality: truncated picture",
        make=originality(2, 6, "--level", "0.5", broken=True),
        told=("data/made/0.png: is truncated or damaged",),
        runs=True,
    ),
    Case(
        name="originality: a picture without a caption",
        make=originality(2, 6, "--captions", "captions.csv"),
        told=("data/made/1.png: has no caption",),
        runs=True,
    ),
    Case(
        name="features with NaN",
        make=distributions(_HOLED, _DRAW(size=(40, 8))),
        told=("the real set: 1 of 40 rows hold NaN",),
    ),
    Case(
        name="features of two widths",
        make=distributions(_DRAW(size=(40, 8)), _DRAW(size=(40, 6))),
        told=("of --real they have width 8, of --generated 6; use one",),
    ),
    Case(
        name="features of fewer samples than neighbours",
        make=distributions(_DRAW(size=(3, 8)), _DRAW(size=(40, 8))),
        told=("the real set has 3 features; k = 3 needs at least 4",),
    ),
)
