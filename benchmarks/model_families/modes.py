"""Which modes, ground and sky of a field, does a model make, and how often are the rare ones among them?

Captions name them exactly; a classifier finds them in what was made, and a mode counts as recovered where it
is found more often than false alarms explain.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Embedded

ELSEWHERE = "elsewhere"
"""A room or a table."""
RARE_MODE = 0.015
"""A mode with at most this share of the training scenes is rare."""


def mode_of(caption: str) -> str | None:
    """Ground and sky of a field, `ELSEWHERE`, or None where the caption names no place."""
    if found := re.search(r" on (?:an? )?((?:\w+ )?\w+) under an? (\w+) sky", caption):
        return f"{found[1]}, {found[2]} sky"
    return ELSEWHERE if re.search(r" (in a room|on an? [\w ]*table)\b", caption) else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Classifier:
    """Logistic regression on features."""

    modes: list[str]
    weights: Tensor
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, modes: Sequence[str], decay: float = 1e-3) -> Classifier:
        """Fitted by LBFGS; `decay` times half the squared weights is added to the mean cross-entropy."""
        names = sorted(set(modes))
        mean, deviation = features.mean(0), features.std(0) + 1e-6
        x = F.pad(torch.from_numpy((features - mean) / deviation).float(), (0, 1), value=1.0)
        y = torch.tensor([names.index(mode) for mode in modes])
        weights = torch.zeros(x.shape[1], len(names), requires_grad=True)
        optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = F.cross_entropy(x @ weights, y) + 0.5 * decay * weights[:-1].square().sum()
            value.backward()
            return value

        optimizer.step(loss)  # pyright: ignore[reportArgumentType]
        return cls(modes=names, weights=weights.detach(), mean=mean, deviation=deviation)

    def __call__(self, features: np.ndarray) -> list[str]:
        """The likeliest mode of each."""
        x = F.pad(torch.from_numpy((features - self.mean) / self.deviation).float(), (0, 1), value=1.0)
        return [self.modes[n] for n in (x @ self.weights).argmax(1).tolist()]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeFinder:
    """A classifier and its errors, measured on scenes that it has not seen."""

    classifier: Classifier
    shares: dict[str, float]
    """Of each mode among the training scenes whose place is named."""
    found: dict[str, float]
    """Share of a mode's scenes that are found; those of rare modes only with an example."""
    false_alarms: dict[str, float]
    """Share of other scenes that are taken for it, with half a scene added (none seen is not none)."""
    accuracy: float

    @property
    def rare(self) -> list[str]:
        return [mode for mode, share in self.shares.items() if share <= RARE_MODE and mode != ELSEWHERE]


def find_modes(embedded: Embedded, features: str) -> ModeFinder:
    """Learnt from the scenes that models learn from; errors on the others."""
    sets = embedded.sets
    learnt, fresh = range(sets.budget.training), sets.fresh
    known = {n: mode for n, caption in enumerate(sets.scenes.captions) if (mode := mode_of(caption))}
    values = [embedded(features, name) for name in ("all training", "all fresh")]
    own, other = [n for n in learnt if n in known], [n for n in fresh if n in known]
    classifier = Classifier.of(values[0][own], [known[n] for n in own])
    counts = Counter(known[n] for n in own)
    said = classifier(values[1][[n - fresh.start for n in other]])
    true = [known[n] for n in other]
    modes = classifier.modes
    return ModeFinder(
        classifier=classifier,
        shares={mode: counts[mode] / len(own) for mode in modes},
        found={
            mode: sum(s == mode for s, t in zip(said, true, strict=True) if t == mode) / true.count(mode)
            for mode in modes
            if mode in true
        },
        false_alarms={
            mode: (sum(s == mode for s, t in zip(said, true, strict=True) if t != mode) + 0.5)
            / (len(true) - true.count(mode) + 1)
            for mode in modes
        },
        accuracy=sum(s == t for s, t in zip(said, true, strict=True)) / len(true),
    )


def chance_of(count: int, num: int, share: float) -> float:
    """That `num` tries, each a hit by `share`, give `count` hits or more."""
    return 1 - sum(math.comb(num, n) * share**n * (1 - share) ** (num - n) for n in range(count))


def mode_numbers(embedded: Embedded, model: str, features: str) -> dict[str, float]:
    """How many rare modes one model recovers, and what it makes of fields altogether."""
    sets, finder = embedded.sets, _finder(embedded, features)
    said = finder.classifier(embedded(features, model))
    counts = Counter(said)
    recovered = [
        mode for mode in finder.rare if chance_of(counts[mode], len(said), finder.false_alarms[mode]) < 0.05
    ]
    fields = [mode for mode in finder.shares if mode != ELSEWHERE]
    numbers = {
        "rare_modes": len(finder.rare), "recovered": len(recovered),
        "seen_at_all": sum(counts[mode] > 0 for mode in finder.rare),
        "rare_share": sum(counts[mode] for mode in finder.rare) / len(said),
        "field_share": sum(counts[mode] for mode in fields) / len(said),
        "classifier_accuracy": finder.accuracy,
        "rare_found": float(np.mean([finder.found[m] for m in finder.rare if m in finder.found])),
        "rare_false_alarms": sum(finder.false_alarms[m] for m in finder.rare),
    }  # fmt: skip
    if model in ("base", "joint with depth"):
        asked = [mode_of(caption) for caption in sets.captions()]
        pairs = [(a, s) for a, s in zip(asked, said, strict=True) if a in finder.shares and a != ELSEWHERE]
        numbers["as_asked"] = sum(a == s for a, s in pairs) / len(pairs)
    return numbers


@cache
def _finder(embedded: Embedded, features: str) -> ModeFinder:
    return find_modes(embedded, features)
