"""Is what a user gave the kind of number that is expected?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Numbers that are allowed, both ends included; NaN, infinity, True, False and texts never are."""

    least: float = -math.inf
    most: float = math.inf
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

    def _holds(self, value: Any) -> bool:
        return abs(value) < math.inf and self.least <= value <= self.most

    def __str__(self) -> str:
        ends = {
            (False, False): "",
            (True, False): f" of at least {self.least:g}",
            (False, True): f" of at most {self.most:g}",
            (True, True): f" from {self.least:g} to {self.most:g}",
        }[math.isfinite(self.least), math.isfinite(self.most)]
        kind = "whole" if self.whole else "" if ends else "finite"
        return f"a {kind} number{ends}".replace("  ", " ")


FINITE = Range()
NOT_NEGATIVE = Range(least=0)
SHARE = Range(least=0, most=1)
AT_LEAST_1 = Range(least=1, whole=True)
