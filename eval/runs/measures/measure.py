"""What is a measure, and how do the numbers of a set follow from its pictures?

A measure turns each answer into a vector of *facts*, and the set's numbers are a function of the **sum** of
the facts over its pictures: a mean where every picture counts the same, a share of pooled counts where joints
or edge pixels do. So any set of pictures can be scored again without the pictures, which is what intervals
and comparisons do. To add one, write such a class, name it in `eval.runs.measures.kinds` and in its suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from eval.runs.items import Sample

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One number of a measure."""

    name: str
    label: str
    better: Better


class Measure(Protocol):
    """A frozen dataclass of its settings."""

    KIND: ClassVar[str]
    """Its key in `kinds.MEASURES`."""

    @property
    def convention(self) -> str:
        """What one must know to compare its numbers."""
        ...

    @property
    def numbers(self) -> tuple[Number, ...]:
        """The first is the one pictures are ordered by."""
        ...

    def facts(self, sample: Sample) -> np.ndarray | None:
        """(F,) finite; None where the truth has nothing to measure, which is counted."""
        ...

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        """Numbers of `num` pictures from their facts' sum; without those that are not defined."""
        ...


@runtime_checkable
class Calibrates(Protocol):
    """A measure that chooses its settings on other pictures than those that are scored."""

    def calibrated(self, samples: Sequence[Sample]) -> Measure:
        """With what these choose; as it is without any."""
        ...


@runtime_checkable
class Redraws(Protocol):
    """A measure that may read maps of another drawing than the data's."""

    def redrawn(self, truth: Any) -> np.ndarray | None:
        """The exact map (H, W, 3) in [0, 1] in the drawing that it reads; None where the data's is that."""
        ...


def means(names: Sequence[str], total: np.ndarray, num: int) -> dict[str, float]:
    """Of facts (F,) by name, where every picture counts the same; of no pictures there are none."""
    return {name: float(value) / num for name, value in zip(names, total, strict=True)} if num else {}
