"""How sure is a number, and how is it written down?

Mean and deviation over seeds, bootstrap intervals over pictures, a markdown table. Pure: no files, no clocks
(`eval.records` keeps results with their provenance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.intervals import student_t_quantile


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A number over repeated runs."""

    mean: float
    deviation: float
    """Sample standard deviation (n - 1); NaN for a single value."""
    num: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.num == 1 else f"{self.mean:.3f} ± {self.deviation:.3f}"


FEWEST = 5
"""Pictures from which on resampling them says something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A mean over pictures and its bootstrap interval."""

    mean: float
    low: float
    high: float
    level: float
    num: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def over_seeds(values: Sequence[float]) -> Summary:
    """Mean and sample deviation of one number per seed; ValueError for none, or for NaN."""
    array = _checked(values)
    deviation = float(array.std(ddof=1)) if array.size > 1 else math.nan
    return Summary(mean=float(array.mean()), deviation=deviation, num=array.size)


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, num_resamples: int = 2000, seed: int = 0
) -> Interval:
    """Bootstrap interval of the mean over independent pictures, deterministic by `seed`: percentiles (Efron
    1979), widened as few pictures ask for (`tail`).

    For a difference of two systems on the same pictures give the per-picture differences. At least two
    values; of fewer than `FEWEST` it is Student's t, since their resamples are too alike.
    """
    array = _checked(values)
    if array.size < 2:
        raise ValueError("a bootstrap interval needs at least two values; give one per picture")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie strictly between 0 and 1")
    mean = float(array.mean())
    if array.size < FEWEST:
        half = student_t_quantile((1 + level) / 2, array.size - 1) * array.std(ddof=1) / math.sqrt(array.size)
        return Interval(mean=mean, low=mean - half, high=mean + half, level=level, num=array.size)
    generator = np.random.default_rng(seed)
    means = np.array(
        [array[generator.integers(array.size, size=array.size)].mean() for _ in range(num_resamples)]
    )
    beyond = tail(array.size, level)
    low, high = np.quantile(means, (beyond, 1 - beyond))
    return Interval(mean=mean, low=float(low), high=float(high), level=level, num=array.size)


def tail(num: int, level: float) -> float:
    """Share of resamples of `num` pictures that lie beyond each end of an interval.

    A bootstrap's percentiles are those of a normal law with the deviation of the set, not the sample: among
    few pictures far too narrow. Expanded (Hesterberg 2015, arXiv 1411.5279, section 5.4) they are Student's.
    """
    bound = student_t_quantile((1 + level) / 2, num - 1) * math.sqrt(num / (num - 1))
    return 0.5 * math.erfc(bound / math.sqrt(2))


def markdown_table(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None, digits: int = 3
) -> str:
    """Rows of named cells as a markdown table; columns default to the first row's, missing cells show "-".

    Floats are rounded to `digits`, columns of numbers are aligned right. ValueError for no rows or an unknown
    cell.
    """
    if not rows:
        raise ValueError("a table needs at least one row")
    columns = list(rows[0] if columns is None else columns)
    unknown = sorted({name for row in rows for name in row} - set(columns))
    if unknown:
        raise ValueError(f"rows have cells outside the columns {columns}: {', '.join(unknown)}")
    cells = [[_cell(row.get(name), digits) for name in columns] for row in rows]
    right = [any(isinstance(row.get(name), (int, float)) for row in rows) for name in columns]
    lines = [columns, ["--:" if r else "---" for r in right], *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object, digits: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return str(value).replace("|", "\\|")


def _checked(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64).ravel()
    if array.size == 0:
        raise ValueError("no values to summarise")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{int((~np.isfinite(array)).sum())} of {array.size} values are NaN or infinite: "
            "find the failed runs, do not average over them"
        )
    return array
