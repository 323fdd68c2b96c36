"""Are an ensemble's probabilities the frequencies they promise, at every level?

- *calibration curve*: coverage of the central prediction interval (`eval.metrics.intervals`) over levels, and
  its *expected calibration error*, the mean |coverage - level| (Kuleshov et al. 2018, arXiv 1807.00263, eq. 9
  with absolute values and equal weights; their sum of squares is `squared`);
- *CRPS* (Gneiting and Raftery 2007, eq. 20; Ferro 2014's correction for few members): error and spread in one
  number in the truth's unit, smallest for the true law;
- *sparsification* (Ilg et al. 2018, arXiv 1802.07095): does the error fall when the pixels said to be least
  sure are left out? AUSE: the area between that curve and the one that leaves out the worst pixels.

Pure functions of (M, ...) members and (...) truth, already aligned. Leaves out aligning
(`eval.metrics.intervals.aligned`) and how members are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.intervals import Align, Coverage, Method, aligned, coverage_of, pooled

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Coverage over levels."""

    levels: tuple[float, ...]
    coverages: tuple[float, ...]
    mean_widths: tuple[float, ...]
    """In the truth's unit, by level."""
    num_pixels: int
    num_members: int
    method: Method

    @property
    def error(self) -> float:
        """Expected calibration error: mean |coverage - level|; 0 when calibrated."""
        return float(np.mean(np.abs(np.subtract(self.coverages, self.levels))))

    @property
    def squared(self) -> float:
        """Sum of (coverage - level)^2, Kuleshov's cal with weights 1."""
        return float(np.sum(np.square(np.subtract(self.coverages, self.levels))))

    @property
    def bias(self) -> float:
        """Mean of coverage - level: below 0 the ensemble is too sure, above 0 too unsure."""
        return float(np.mean(np.subtract(self.coverages, self.levels)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Sparsification:
    """Mean error of the pixels that are left."""

    fractions: tuple[float, ...]
    """Share of pixels left out."""
    by_uncertainty: tuple[float, ...]
    """The least sure ones are left out first; in units of the error over all pixels."""
    by_error: tuple[float, ...]
    """The worst ones are left out first: no uncertainty does better."""

    @property
    def ause(self) -> float:
        """Mean gap of the two curves; 0: the uncertainty ranks pixels as their errors do."""
        return float(np.mean(np.subtract(self.by_uncertainty, self.by_error)))


def calibration(
    members: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    levels: Sequence[float] = LEVELS,
    method: Method = "gaussian",
    align: Align = "mean",
) -> Calibration:
    """Coverage of (M, H, W) members over the valid pixels of (H, W) truth at several levels.

    Other arguments and errors as `eval.metrics.intervals.coverage`; "quantile" needs 2 / (1 - level) - 1
    members at the highest level. Raises ValueError for levels that do not rise within (0, 1).
    """
    return calibration_of(*aligned(members, truth, mask, align), levels=levels, method=method)


def calibration_of(
    samples: np.ndarray, truth: np.ndarray, *, levels: Sequence[float] = LEVELS, method: Method = "gaussian"
) -> Calibration:
    """The same of (M, P) members that are aligned with (P,) truth already."""
    return _joined([coverage_of(samples, truth, level=level, method=method) for level in _checked(levels)])


def pooled_calibration(parts: Sequence[Calibration]) -> Calibration:
    """One curve over the pixels of all pictures, which must share levels, members and method."""
    if not parts:
        raise ValueError("no calibration to pool: score at least one picture")
    if any(p.levels != parts[0].levels for p in parts):
        raise ValueError("calibrations at different levels cannot be pooled; use one list for all")
    return _joined([pooled([_part(p, k) for p in parts]) for k in range(len(parts[0].levels))])


def crps(members: np.ndarray, truth: np.ndarray, *, fair: bool = True) -> np.ndarray:
    """(...) CRPS of (M, ...) members: mean |x - y| - mean |x - x'| / 2.

    `fair` averages |x - x'| over pairs of different members (needs M >= 2): unbiased for the law the members
    are drawn from. Without it, over all M^2 pairs: the score of the members as they are.
    """
    x, y = np.sort(np.asarray(members, dtype=np.float64), axis=0), np.asarray(truth, dtype=np.float64)
    count = len(x) if x.ndim else 0
    if x.shape[1:] != y.shape or count < 1 + fair:
        raise ValueError(
            f"members have shape {x.shape}, truth {y.shape}; expected (M, ...) and (...), "
            f"M at least {1 + fair}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("NaN or infinity among members or truth: mask those pixels out")
    # sum over pairs i < j of |x_i - x_j| = sum over k of (2 k - M + 1) x_(k) for sorted members, k from 0
    weights = 2 * np.arange(count) - count + 1
    pairs = np.tensordot(weights, x, axes=1)
    return np.abs(x - y).mean(0) - pairs / (count * (count - 1) if fair else count**2)


def sparsification(errors: np.ndarray, uncertainty: np.ndarray, *, num_steps: int = 20) -> Sparsification:
    """Curves of one picture, or of pixels of several: (...) errors, 0 or more, and (...) uncertainties.

    Raises ValueError for shapes that differ, NaN, and errors that are all 0.
    """
    e, u = (np.asarray(x, dtype=np.float64).ravel() for x in (errors, uncertainty))
    if e.size != u.size or e.size < num_steps or num_steps < 2:
        raise ValueError(
            f"got {e.size} errors and {u.size} uncertainties for {num_steps} steps; expected equal numbers, "
            "at least one pixel per step, and 2 steps or more"
        )
    if not (np.isfinite(e).all() and np.isfinite(u).all() and (e >= 0).all()):
        raise ValueError("errors must be finite and 0 or more, uncertainties finite: mask other pixels out")
    if not e.any():
        raise ValueError("all errors are 0: nothing to rank")
    kept = e.size - np.floor(np.arange(num_steps) / num_steps * e.size).astype(int)
    curves = [_mean_of_first(_ordered(e, by), kept) / e.mean() for by in (u, e)]
    fractions = 1 - kept / e.size
    return Sparsification(
        fractions=tuple(fractions.tolist()),
        by_uncertainty=tuple(curves[0].tolist()),
        by_error=tuple(curves[1].tolist()),
    )


def _ordered(errors: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Errors from the least to the most of `by`; of equals, which have no order, each has their mean."""
    _, group, nums = np.unique(by, return_inverse=True, return_counts=True)
    means = np.bincount(group.ravel(), weights=errors) / nums
    return np.repeat(means, nums)


def _mean_of_first(ordered: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.cumsum(ordered)[kept - 1] / kept


def _checked(levels: Sequence[float]) -> list[float]:
    values = [float(level) for level in levels]
    if not values or sorted(set(values)) != values or not 0 < values[0] <= values[-1] < 1:
        raise ValueError(f"levels are {values}; expected rising numbers strictly between 0 and 1")
    return values


def _part(whole: Calibration, k: int) -> Coverage:
    return Coverage(
        coverage=whole.coverages[k],
        level=whole.levels[k],
        mean_width=whole.mean_widths[k],
        num_pixels=whole.num_pixels,
        num_members=whole.num_members,
        method=whole.method,
    )


def _joined(parts: Sequence[Coverage]) -> Calibration:
    first = parts[0]
    return Calibration(
        levels=tuple(p.level for p in parts),
        coverages=tuple(p.coverage for p in parts),
        mean_widths=tuple(p.mean_width for p in parts),
        num_pixels=first.num_pixels,
        num_members=first.num_members,
        method=first.method,
    )
