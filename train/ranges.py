"""Which numbers may a field hold?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers that are allowed. NaN is in none of them."""

    rule: str
    """Behind "it must"."""
    holds: Callable[[float], bool]


AT_LEAST_1 = Range("be at least 1", lambda value: value >= 1)
NOT_NEGATIVE = Range("not be negative", lambda value: value >= 0)
POSITIVE = Range("be positive and finite", lambda value: 0 < value < math.inf)
SHARE = Range("lie in [0, 1]", lambda value: 0 <= value <= 1)
LESS_THAN_1 = Range("lie in [0, 1)", lambda value: 0 <= value < 1)


def check(config: Any, allowed: Range, *names: str) -> None:
    """Raise ValueError for the first of these fields that is out of range; of a tuple, all its numbers
    count."""
    for name in names:
        value = getattr(config, name)
        if not all(allowed.holds(each) for each in (value if isinstance(value, tuple) else (value,))):
            each = "each " if isinstance(value, tuple) else "it "
            raise ValueError(f"{name} is {value}; {each}must {allowed.rule}")
