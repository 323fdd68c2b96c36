"""Is what a user gave the kind of number that is expected?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Numbers that are allowed; NaN, infinity, True, False and texts never are."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    """In place of `least`, where that end is not allowed itself."""
    below: float = math.inf
    """In place of `most`, likewise."""
    whole: bool = False
    optional: bool = False
    """Whether None is allowed, too."""
    hint: str = ""
    """What the numbers mean, for the error."""

    def check(self, name: str, value: Any) -> None:
        """ValueError naming `name` unless `value` is one of them."""
        if value is None and self.optional:
            return
        is_number = isinstance(value, Integral if self.whole else Real) and not isinstance(value, bool)
        if not (is_number and self._holds(value)):
            raise ValueError(f"{name} must be {self}, got {value!r}{self.hint and f'; {self.hint}'}")

    def check_fields(self, config: Any, *names: str) -> None:
        """`check` of these fields of a config; of a tuple, of all its numbers."""
        for name in names:
            value = getattr(config, name)
            if not isinstance(value, tuple):
                self.check(name, value)
                continue
            for each in value:
                self.check(f"each of {name}", each)

    def _holds(self, value: Any) -> bool:
        is_between = self.least <= value <= self.most and self.above < value < self.below
        return is_between and abs(value) < math.inf

    def __str__(self) -> str:
        ends = {
            f"above {self.above:g}": self.above,
            f"of at least {self.least:g}": self.least,
            f"of at most {self.most:g}": self.most,
            f"below {self.below:g}": self.below,
        }
        told = " and ".join(text for text, end in ends.items() if math.isfinite(end))
        if math.isfinite(self.least) and math.isfinite(self.most):
            told = f"from {self.least:g} to {self.most:g}"
        kind = "whole" if self.whole else "" if told else "finite"
        return " ".join(filter(None, ("a", kind, "number", told)))


FINITE = Range()
POSITIVE = Range(above=0)
NOT_NEGATIVE = Range(least=0)
SHARE = Range(least=0, most=1)
LESS_THAN_1 = Range(least=0, below=1)
COUNT = Range(least=0, whole=True)
AT_LEAST_1 = Range(least=1, whole=True)
