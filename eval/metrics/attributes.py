"""Does a model show an attribute more often than its data do, and is it worse for some than for others?

*Amplified bias*: the share of pictures that show a value of an attribute (a kind of person, a colour)
although their prompts leave it open, less that value's share among captions (or pictures) of the data: 0 when
the model repeats its data, above 0 when it shows more of the common value (after Zhao et al. 2017, arXiv
1707.09457, whose training ratio and predicted ratio these shares are). *Stratified errors*: any metric by
stratum, and the gap of the worst and the best. Intervals are percentile bootstraps. Leaves out who reads
attributes from pictures: a reader's own bias is in the number unless it reads data and samples alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.summary import Interval, bootstrap_interval

FEWEST = 2
"""Members of a stratum that an interval needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shares:
    """How often each value occurs."""

    shares: dict[str, float]
    """By value, of those that are told; they sum to 1."""
    num: int
    """Items whose value is told."""
    num_unknown: int
    """Items without a value, or with one that was not asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Amplification:
    """Shares of samples beside those of the data."""

    generated: Shares
    reference: Shares
    differences: dict[str, Interval]
    """By value: share among samples less share in the data."""
    distance: Interval
    """Total variation: half the sum of |difference|; 0 for equal shares, 1 at most. It is above 0 for finite
    samples of equal laws, so read it beside its interval and N."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strata:
    """One metric by stratum."""

    strata: dict[str, Interval | float]
    """Mean by stratum with its interval; a number alone for a stratum of one."""
    nums: dict[str, int]
    gap: float
    """Largest less smallest mean of the strata with at least two members."""
    gap_interval: tuple[float, float]
    """95% bootstrap, resampling within strata."""
    num_unknown: int
    """Values without a stratum, left out."""


def shares(values: Sequence[str | None], known: Sequence[str]) -> Shares:
    """Of `known` values among `values`; None and others are counted as unknown.

    Raises ValueError when nothing is left.
    """
    found = [value for value in values if value in known]
    if not found:
        raise ValueError(f"none of {len(values)} items shows one of {', '.join(known)}: no share to tell")
    return Shares(
        shares={name: found.count(name) / len(found) for name in known},
        num=len(found),
        num_unknown=len(values) - len(found),
    )


def amplification(
    generated: Sequence[str | None],
    reference: Sequence[str | None],
    known: Sequence[str],
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Amplification:
    """Values of samples against values of the data; both are resampled for the intervals.

    Raises ValueError as `shares`, for fewer than two values or two of the same name.
    """
    if len(set(known)) != len(known) or len(known) < 2:
        raise ValueError(f"values are {', '.join(known)}; expected two or more different ones")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie strictly between 0 and 1")
    both = [shares(values, known) for values in (generated, reference)]
    point = _vector(both[0], known) - _vector(both[1], known)
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(s.num, _vector(s, known), num_resamples) / s.num for s in both]
    gaps = drawn[0] - drawn[1]

    def told(mean: float, resampled: np.ndarray) -> Interval:
        low, high = np.quantile(resampled, ((1 - level) / 2, (1 + level) / 2))
        return Interval(mean=mean, low=float(low), high=float(high), level=level, num=both[0].num)

    return Amplification(
        generated=both[0],
        reference=both[1],
        differences={name: told(float(point[k]), gaps[:, k]) for k, name in enumerate(known)},
        distance=told(float(np.abs(point).sum() / 2), np.abs(gaps).sum(1) / 2),
    )


def stratified(
    values: Sequence[float],
    strata: Sequence[str | None],
    *,
    level: float = 0.95,
    num_resamples: int = 2000,
    seed: int = 0,
) -> Strata:
    """Means of one number per picture by the picture's stratum; None is no stratum.

    Raises ValueError for NaN, lengths that differ, and fewer than two strata of two members.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (len(strata),) or not np.isfinite(array).all():
        raise ValueError(
            f"got {array.size} values for {len(strata)} strata, {int((~np.isfinite(array)).sum())} of them "
            "NaN or infinite; expected one finite value each"
        )
    names = list(dict.fromkeys(s for s in strata if s is not None))
    parts = {name: array[[s == name for s in strata]] for name in names}
    large = {name: part for name, part in parts.items() if len(part) >= FEWEST}
    if len(large) < 2:
        raise ValueError(
            f"{len(large)} of {len(parts)} strata have at least {FEWEST} members; a gap needs two"
        )
    rng = np.random.default_rng(seed)
    means = np.array(
        [
            [part[rng.integers(len(part), size=len(part))].mean() for _ in range(num_resamples)]
            for part in large.values()
        ]
    )
    low, high = np.quantile(np.ptp(means, axis=0), ((1 - level) / 2, (1 + level) / 2))
    return Strata(
        strata={
            name: bootstrap_interval(part.tolist(), level=level, num_resamples=num_resamples, seed=seed)
            if len(part) >= FEWEST
            else float(part[0])
            for name, part in parts.items()
        },
        nums={name: len(part) for name, part in parts.items()},
        gap=float(np.ptp([part.mean() for part in large.values()])),
        gap_interval=(float(low), float(high)),
        num_unknown=sum(s is None for s in strata),
    )


def _vector(found: Shares, known: Sequence[str]) -> np.ndarray:
    return np.array([found.shares[name] for name in known])
