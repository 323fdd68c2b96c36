"""Which generated pictures are nearer to a training picture than training pictures are to each other?

A distance means nothing by itself: in a set of passport photos everything is near. So the judge is the
training set's own distances to the nearest other. At level a, about a share a of new pictures of the same law
is called a near-copy wrongly. Duplicates within the training set lower the threshold and hide copies: remove
them first (`unicon check`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """One kind of distance, judged."""

    distances: np.ndarray
    """(M,) of each generated picture to the nearest that it is compared with: a training picture, another
    output of its prompt, or what was given."""
    nearest: np.ndarray
    """(M,) int64: the place of that one."""
    shares: np.ndarray
    """(M,) share of training pictures whose own nearest other is as near or nearer."""
    threshold: float
    """Distances below it are near-copies."""
    level: float
    num_training: int

    @property
    def is_copy(self) -> np.ndarray:
        """(M,) bool."""
        return self.distances < self.threshold


def judge(distances: np.ndarray, nearest: np.ndarray, own: np.ndarray, *, level: float = 0.01) -> Judgement:
    """`own` (N,): distances of training pictures to their nearest other.

    Raises ValueError for a level outside (0, 1), or one that N training pictures cannot resolve.
    """
    check_level(len(own), level)
    ordered = np.sort(np.asarray(own, dtype=np.float64))
    return Judgement(
        distances=np.asarray(distances, dtype=np.float64),
        nearest=np.asarray(nearest),
        shares=np.searchsorted(ordered, distances, side="right") / len(ordered),
        threshold=float(np.quantile(ordered, level)),
        level=level,
        num_training=len(ordered),
    )


def check_level(num_training: int, level: float) -> None:
    """ValueError for a level outside (0, 1), or one that so many training pictures cannot resolve."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie strictly between 0 and 1")
    if num_training * level < 1:
        raise ValueError(
            f"{num_training} training pictures cannot tell a level of {level}; give at least "
            f"{ceil(1 / level)} or a higher level"
        )
