"""What may be given on a command line, and what is said about the rest?

For the commands and evaluations alike: functions for `type=` of argparse, each naming what it is given for,
and a check of options that have no effect alone.
"""

from __future__ import annotations

import math
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence

LEAST_WORK_PX = 16


def named_place(text: str) -> tuple[str | None, str]:
    """Name, if there is one, and place of `[NAME=]PLACE`; a place may have equals signs of its own."""
    name, equals, place = text.partition("=")
    return (name, place) if equals and name.isidentifier() else (None, text)


def number(text: str, what: str) -> float:
    """A finite number; `what` it is, for the error."""
    try:
        value = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{what} is a number, got {text!r}") from None
    if not math.isfinite(value):
        raise ArgumentTypeError(f"{what} is a finite number, got {text!r}")
    return value


def positive(text: str) -> int:
    """A whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def fraction(text: str) -> float:
    """A noise in [0, 1]."""
    value = number(text, "noise")
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"noise runs from 0 (clean) to 1 (pure noise), got {text}")
    return value


def interval(text: str) -> tuple[float, float]:
    """Two noises in [0, 1] with a comma between, the lower first."""
    parts = text.split(",")
    if len(parts) != 2:
        raise ArgumentTypeError(f"give the least and the most noise with a comma between, got {text!r}")
    low, high = map(fraction, parts)
    if low >= high:
        raise ArgumentTypeError(f"the lower noise comes first, got {text}")
    return low, high


def temperature(text: str) -> float:
    """A factor of noise, 0 or more."""
    value = number(text, "temperature")
    if value < 0:
        raise ArgumentTypeError(
            f"temperature is 0 (mean), 1 (sample) or another number of at least 0, got {text}"
        )
    return value


def work_size(text: str) -> int:
    """A longer side in pixels that pictures are worked on at; 0 is their own."""
    if not text.isdecimal() or 0 < int(text) < LEAST_WORK_PX:
        raise ArgumentTypeError(
            f"a size is a whole number of at least {LEAST_WORK_PX} px, or 0 to leave pictures as they are, "
            f"got {text!r}"
        )
    return int(text)


def work_sizes(text: str) -> int | tuple[int, ...]:
    """One `work_size`, or several with commas between, for an ensemble over them."""
    sizes = tuple(map(work_size, text.split(",")))
    if len(set(sizes)) < len(sizes):
        raise ArgumentTypeError(f"every size counts once, got {text}")
    (one, *more) = sizes
    return sizes if more else one


def check_idle(args: Namespace, names: Sequence[str], without: str) -> None:
    """ValueError for the first of the options `names` that is given `without` another, which it is about."""
    if getattr(args, without) is not None:
        return
    for name in names:
        given = getattr(args, name)
        if given or type(given) in (int, float):  # 0 is a number, too
            option, other = (f"--{each.replace('_', '-')}" for each in (name, without))
            raise ValueError(f"{option} has no effect without {other}; give it, too, or leave {option} out")
