"""What is known about every generated picture of a set, beside a training set?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from eval.features import Extractor, Pictures
from eval.manifold.features import check_neighbours
from eval.manifold.manifold import Manifold
from eval.originality.copies import Judgement, check_level, judge
from eval.originality.look import describe, nearest_look
from eval.rarity import Rarity

BLOCK = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One generated picture."""

    name: str
    rarity: float | None
    """None outside the manifold."""
    realism: float
    """Above 1: in a ball of the denser half of the reals; inf: the features of a training picture."""
    meaning_distance: float
    meaning_share: float
    """Share of training pictures whose own nearest other is as near or nearer."""
    meaning_nearest: str
    look_distance: float
    look_share: float
    look_nearest: str
    is_copy_by_meaning: bool
    is_copy_by_look: bool
    truncation: float | None

    @property
    def is_copy(self) -> bool:
        """By look: a picture that means the same is no copy."""
        return self.is_copy_by_look

    @property
    def disagreement(self) -> str:
        """What meaning and look say differently, or empty."""
        if self.is_copy_by_look and not self.is_copy_by_meaning:
            return "looks copied, means something else"
        if self.is_copy_by_meaning and not self.is_copy_by_look:
            return "means the same, looks different"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assessment:
    """All generated pictures, and by what they were judged."""

    rows: tuple[Row, ...]
    rarity: Rarity
    meaning: Judgement
    look: Judgement
    precision: float
    recall: float | None
    """None where generated pictures are too few for it."""
    coverage: float

    @property
    def num_copies(self) -> int:
        return sum(row.is_copy for row in self.rows)


def assess(
    generated: Pictures,
    training: Pictures,
    extractor: Extractor,
    *,
    k: int = 3,
    level: float = 0.01,
    truncation: Mapping[str, float] | None = None,
) -> Assessment:
    """Rarity, realism and nearest training pictures, by meaning (the extractor) and by look.

    `truncation` gives psi by name where it is known. Raises ValueError for too few pictures for k or the
    level.
    """
    # Before anything is embedded, which may take hours.
    check_level(len(training), level)
    check_neighbours(len(training), (k,), "the training set")
    fake, real = extractor(generated), extractor(training)
    manifold = Manifold(real.values, (k,))
    found = manifold.compare(fake.values, recall=len(fake) > k)[0]
    assert found.realism is not None
    rarity = Rarity(scores=found.rarity, radii=manifold.radii[0], k=k, features=fake.source)
    meaning = judge(
        *nearest_meaning(fake.values, real.values),
        nearest_meaning(real.values, real.values, same=True)[0], level=level,
    )  # fmt: skip
    own, others = describe(_all(generated)), describe(_all(training))
    look = judge(
        *nearest_look(own, others), nearest_look(others, others, same=True)[0], level=level
    )  # fmt: skip
    psis = truncation or {}
    rows = tuple(
        Row(
            name=name,
            rarity=None if np.isnan(found.rarity[n]) else float(found.rarity[n]),
            realism=float(found.realism[n]),
            meaning_distance=float(meaning.distances[n]),
            meaning_share=float(meaning.shares[n]),
            meaning_nearest=training.names[meaning.nearest[n]],
            look_distance=float(look.distances[n]),
            look_share=float(look.shares[n]),
            look_nearest=training.names[look.nearest[n]],
            is_copy_by_meaning=bool(meaning.is_copy[n]),
            is_copy_by_look=bool(look.is_copy[n]),
            truncation=psis.get(name),
        )
        for n, name in enumerate(generated.names)
    )
    return Assessment(
        rows=rows, rarity=rarity, meaning=meaning, look=look,
        precision=found.precision, recall=found.recall, coverage=found.coverage,
    )  # fmt: skip


def nearest_meaning(
    features: np.ndarray, others: np.ndarray, *, same: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """(distance (N,), place (N,)) by 1 - cosine of features; `same` as in `nearest_look`."""
    if len(others) <= same:
        raise ValueError(f"{len(others)} features to compare with; expected at least {1 + same}")
    a, b = (torch.nn.functional.normalize(torch.from_numpy(rows).double()) for rows in (features, others))
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


def _all(pictures: Pictures):
    return (pictures.load(n) for n in range(len(pictures)))
