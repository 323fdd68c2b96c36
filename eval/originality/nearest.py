"""What comes nearest to each generated picture?

Among training pictures, among outputs of the same prompt, and of what was given for it; each by meaning and,
where pictures are there, by look. The training set's own distances to the nearest other are the scale of all
of them (`eval.originality.copies`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from eval.manifold.features import checked
from eval.originality.copies import Judgement

BLOCK = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """The nearest picture in one space."""

    name: str
    distance: float
    share: float
    """Share of training pictures whose own nearest other is as near or nearer."""
    is_copy: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Nearest:
    """The nearest picture twice."""

    meaning: Near
    look: Near | None
    """None where the training set is a file of features: there is no scale."""

    @property
    def is_copy(self) -> bool:
        """By look, where that is known: a picture that means the same is no copy."""
        return (self.look or self.meaning).is_copy

    @property
    def disagreement(self) -> str:
        """What meaning and look say differently, or empty."""
        if self.look is None or self.look.is_copy == self.meaning.is_copy:
            return ""
        if self.look.is_copy:
            return "looks copied, means something else"
        return "means the same, looks different"


def nearest_of(meaning: Judgement, look: Judgement | None, names: Sequence[str]) -> list[Nearest | None]:
    """Of each picture, among those of the names; None where the judgement's place is -1."""
    return [
        None if meaning.nearest[n] < 0 else Nearest(
            meaning=_near(meaning, n, names), look=None if look is None else _near(look, n, names)
        )
        for n in range(len(meaning.distances))
    ]  # fmt: skip


def _near(found: Judgement, n: int, names: Sequence[str]) -> Near:
    return Near(
        name=names[int(found.nearest[n])], distance=float(found.distances[n]), share=float(found.shares[n]),
        is_copy=bool(found.is_copy[n]),
    )  # fmt: skip


def nearest_meaning(
    features: np.ndarray, others: np.ndarray, *, same: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(distance (N,), place (N,)) by 1 - cosine of features; `same` as in `nearest_look`."""
    if len(others) <= same:
        raise ValueError(f"{len(others)} features to compare with; expected at least {1 + same}")
    a, b = _unit(features), _unit(others)
    distances, places = [], []
    for first in range(0, len(a), BLOCK):
        alike = a[first : first + BLOCK] @ b.T
        if same:
            rows = torch.arange(len(alike))
            alike[rows, rows + first] = -torch.inf
        best = alike.max(1)
        distances.append((1 - best.values).clamp(min=0))
        places.append(best.indices)
    return torch.cat(distances).numpy(), torch.cat(places).numpy()


def _unit(features: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.normalize(checked(features, "features").double())


def meaning_within(features: np.ndarray, groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The same of each among the others of its group (places, two at least); NaN and -1 for those in none."""
    distances, nearest = np.full(len(features), np.nan), np.full(len(features), -1, dtype=np.int64)
    for group in groups:
        distances[group], within = nearest_meaning(features[group], features[group], same=True)
        nearest[group] = group[within]
    return distances, nearest


def paired_meaning(features: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distance (N,) of each to the other one in its row."""
    a, b = _unit(features), _unit(others)
    return (1 - (a * b).sum(1)).clamp(min=0).numpy()
