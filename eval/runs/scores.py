"""What are a set's numbers, and how sure are they?

Mean and deviation over seeds, and percentile bootstrap intervals (Efron 1979) over pictures, from facts whose
sums decide every number (`eval.runs.measures`). Also paired differences of two runs on the same pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eval.metrics.summary import FEWEST, over_seeds, tail
from eval.runs.items import Task
from eval.runs.measures.measure import Measure

LEVEL = 0.95
RESAMPLES = 1000

ANOTHER_PICTURE, ANOTHER_MAP = "adapter, another picture", "adapter, another map"
DIFFERENT_HALVES = "halves of different samples"
SHUFFLED = (ANOTHER_PICTURE, ANOTHER_MAP, DIFFERENT_HALVES)
"""Names of what an item is compared with that belongs to its neighbour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One prediction's facts in one task."""

    task: Task
    prediction: str
    measure: Measure
    facts: np.ndarray
    """(seeds, N, F); NaN where an item had nothing to measure."""

    @property
    def num_skipped(self) -> int:
        """Items without anything to measure, in the seed with most of them."""
        return int(np.isnan(self.facts[..., 0]).sum(1).max())

    def num_telling(self, name: str) -> int:
        """Pictures that say something of a number by themselves: of poses, those with joints."""
        return int(np.isfinite(self.per_item(name)).all(0).sum())

    def per_item(self, name: str) -> np.ndarray:
        """(seeds, N) one number of every picture alone; NaN where it is not defined."""
        values = np.full(self.facts.shape[:2], np.nan)
        for place in np.ndindex(values.shape):
            if not np.isnan(self.facts[place][0]):
                values[place] = self.measure.of(self.facts[place], 1).get(name, np.nan)
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One number of one row."""

    mean: float
    """Over seeds."""
    deviation: float | None
    """Sample deviation over seeds; None of a single seed."""
    low: float | None
    """95% bootstrap interval over pictures of the mean over seeds; None of fewer than two pictures."""
    high: float | None
    per_seed: list[float]


def results(row: Row) -> dict[str, Result]:
    """All numbers of a row that are defined with every seed."""
    spread = _over_resamples(row, _weights(row.facts.shape[1]))
    found = {}
    for name, values in _per_seed(row).items():
        summary = over_seeds(values)
        low, high = _ends(spread[name], row.num_telling(name))
        found[name] = Result(
            mean=summary.mean, deviation=summary.deviation if summary.num > 1 else None, low=low, high=high,
            per_seed=values,
        )  # fmt: skip
    return found


def _per_seed(row: Row) -> dict[str, list[float]]:
    """Every number that is defined with every seed, with each."""
    whole = np.ones((1, row.facts.shape[1]))
    per_seed = [_numbers(row.measure, facts, whole) for facts in row.facts]
    found = {n.name: [float(numbers[n.name][0]) for numbers in per_seed] for n in row.measure.numbers}
    return {name: values for name, values in found.items() if all(map(math.isfinite, values))}


def _means(row: Row) -> dict[str, float]:
    return {name: over_seeds(values).mean for name, values in _per_seed(row).items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One number of two runs on the same pictures."""

    first: float
    second: float
    low: float | None
    """95% paired bootstrap interval of second minus first."""
    high: float | None

    @property
    def difference(self) -> float:
        return self.second - self.first

    @property
    def is_decided(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def differences(first: Row, second: Row) -> dict[str, Difference]:
    """Second minus first, resampled over the same pictures; seeds are averaged in each."""
    num = first.facts.shape[1]
    assert second.facts.shape[1] == num, "the caller has seen to it"
    own, others = _means(first), _means(second)
    weights = _weights(num)
    spread = [_over_resamples(row, weights) for row in (first, second)]
    found = {}
    for name in own:
        if name in others:
            gap = spread[1][name] - spread[0][name]
            low, high = _ends(gap, min(row.num_telling(name) for row in (first, second)))
            found[name] = Difference(first=own[name], second=others[name], low=low, high=high)
    return found


def _weights(num: int) -> np.ndarray:
    """(resamples, N): how often each picture is drawn, the same for every row of N pictures."""
    return np.random.default_rng(0).multinomial(num, np.full(num, 1 / num), size=RESAMPLES).astype(np.float64)


def _over_resamples(row: Row, weights: np.ndarray) -> dict[str, np.ndarray]:
    """(resamples,) of each number, averaged over seeds."""
    per_seed = [_numbers(row.measure, facts, weights) for facts in row.facts]
    return {n.name: np.mean([numbers[n.name] for numbers in per_seed], axis=0) for n in row.measure.numbers}


def _numbers(measure: Measure, facts: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """(resamples,) of each number from (N, F) facts and (resamples, N) weights; NaN where not defined."""
    valid = ~np.isnan(facts[:, 0])
    sums, nums = weights[:, valid] @ facts[valid], weights[:, valid].sum(1)
    found = [measure.of(total, int(num)) for total, num in zip(sums, nums, strict=True)]
    return {n.name: np.array([one.get(n.name, np.nan) for one in found]) for n in measure.numbers}


def _ends(values: np.ndarray, num: int) -> tuple[float | None, float | None]:
    """Of numbers from resamples of pictures, of which `num` say something of it: of too few there is none."""
    values = values[np.isfinite(values)]
    if num < FEWEST or not len(values):
        return None, None
    beyond = tail(num, LEVEL)
    low, high = np.quantile(values, (beyond, 1 - beyond))
    return float(low), float(high)


def extremes(values: np.ndarray, better: str, num: int) -> tuple[list[int], list[int]]:
    """Places of the best and of the worst of (N,) numbers, `num` each at most and none in both."""
    known = [n for n in np.argsort(values, kind="stable").tolist() if np.isfinite(values[n])]
    best = known[::-1] if better == "higher" else known
    few = min(num, max(1, len(best) // 2)) if best else 0
    return best[:few], best[::-1][: min(few, len(best) - few)]
