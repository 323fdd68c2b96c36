"""Can an ensemble's spread be believed?

M samples of a map (several seeds) span an interval per pixel; its *coverage* is the share of pixels whose
truth lies inside, and a calibrated 90% interval covers 90%. Both intervals here are prediction intervals with
a small-sample correction, so that an ensemble drawn from the truth's own distribution reaches the nominal
level:
- `quantile`: order statistics at ranks p (M + 1) (Wilks 1941); needs M >= 2 / (1 - level) - 1, 19 for 90%;
- `gaussian`: mean +- t_{M-1} s sqrt(1 + 1/M) (Student's t); any M >= 2, assumes normal errors.
Leaves out sharpness against a competitor; report `mean_width` beside the coverage, since wide is easy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from eval.metrics.depth import fit, valid_mask

Method = Literal["quantile", "gaussian"]
Align = Literal["mean", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """Coverage of one picture's pixels; pool pictures by weighting with `num_pixels`."""

    coverage: float
    """Share of valid pixels whose truth lies in the interval, boundary included."""
    level: float
    """Nominal coverage."""
    mean_width: float
    """Mean length of the interval, in the truth's unit."""
    num_pixels: int
    num_members: int
    method: Method


def interval(
    members: np.ndarray, level: float = 0.9, method: Method = "quantile"
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends, each (...), of the central `level` prediction interval of (M, ...) members.

    Raises ValueError for too few members (the text gives the number needed), NaN, or a level outside (0, 1).
    """
    members = _checked_members(members, level, method)
    count = len(members)
    if method == "gaussian":
        factor = student_t_quantile((1 + level) / 2, count - 1) * math.sqrt(1 + 1 / count)
        mean, half = members.mean(0), factor * members.std(0, ddof=1)
        return mean - half, mean + half
    tail = (1 - level) / 2
    low, high = np.quantile(members, (tail, 1 - tail), axis=0, method="weibull")
    return low, high


def usual_method(num_members: int) -> Method:
    """Order statistics where there are enough members for a level of 0.9, Student's t below."""
    return "quantile" if num_members >= 19 else "gaussian"


def coverage(
    members: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    level: float = 0.9,
    method: Method = "quantile",
    align: Align = "mean",
) -> Coverage:
    """Coverage of (M, H, W) members over the valid pixels of (H, W) truth.

    `align`: "mean" fits scale and shift of the ensemble's *mean* to the truth and moves every member by them
    (one fit per member would hide their disagreement about scale); "none" when the members are in the truth's
    unit. `mask`: default finite and positive truth with "mean" (depth), finite truth with "none".
    """
    return coverage_of(*aligned(members, truth, mask, align), level=level, method=method)


def aligned(
    members: np.ndarray, truth: np.ndarray, mask: np.ndarray | None, align: Align
) -> tuple[np.ndarray, np.ndarray]:
    """(M, P) members in the truth's unit and (P,) truth, of the valid pixels; arguments as `coverage`."""
    members, truth = np.asarray(members, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if members.ndim != 3 or members.shape[1:] != truth.shape:
        raise ValueError(
            f"members have shape {members.shape}, truth {truth.shape}; expected (M, H, W) and (H, W)"
        )
    if align not in get_args(Align):
        raise ValueError(f"align is {align!r}; known: {', '.join(get_args(Align))}")
    if mask is None:
        mask = valid_mask(truth) if align == "mean" else np.isfinite(truth)
    if not mask.any():
        raise ValueError("no valid pixel to cover: the mask is empty")
    samples, g = members[:, mask], truth[mask]
    if align == "mean":
        scale, shift = fit(samples.mean(0), g)
        samples = scale * samples + shift
    return samples, g


def coverage_of(samples: np.ndarray, truth: np.ndarray, *, level: float, method: Method) -> Coverage:
    """The same of (M, P) members that are aligned with (P,) truth already."""
    low, high = interval(samples, level, method)
    return Coverage(
        coverage=float(np.mean((low <= truth) & (truth <= high))),
        level=level,
        mean_width=float(np.mean(high - low)),
        num_pixels=truth.size,
        num_members=len(samples),
        method=method,
    )


def pooled(parts: list[Coverage]) -> Coverage:
    """One coverage over the pixels of all pictures."""
    if not parts:
        raise ValueError("no coverage to pool: score at least one picture")
    kinds = {(p.level, p.num_members, p.method) for p in parts}
    if len(kinds) > 1:
        raise ValueError(f"coverages of different (level, members, method) cannot be pooled: {sorted(kinds)}")
    total = sum(p.num_pixels for p in parts)
    first = parts[0]
    return Coverage(
        coverage=sum(p.coverage * p.num_pixels for p in parts) / total,
        mean_width=sum(p.mean_width * p.num_pixels for p in parts) / total,
        num_pixels=total,
        level=first.level,
        num_members=first.num_members,
        method=first.method,
    )


def rank_histogram(members: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(M + 1,) shares of pixels by how many members lie below the truth; flat when calibrated, U-shaped when
    the ensemble is too narrow. `members` (M, ...), `truth` (...), already aligned; ties count half to each
    side.
    """
    members = _checked_members(members, 0.5, "gaussian")
    below = (members < truth).sum(0) + 0.5 * (members == truth).sum(0)
    counts = np.zeros(len(members) + 1)
    for ranks in (np.floor(below), np.ceil(below)):
        counts += 0.5 * np.bincount(ranks.astype(int).ravel(), minlength=len(counts))
    return counts / counts.sum()


def spread_factor(members: np.ndarray, truth: np.ndarray, level: float = 0.9) -> float:
    """By how much to stretch mean +- s so that it covers `level`, from calibration pixels (split conformal).

    The ceil(level (n + 1))-th smallest |truth - mean| / s over n pixels (Vovk et al. 2005); infinite when n
    is too small. `members` (M, ...), `truth` (...), aligned. Pixels with zero spread raise ValueError.
    Neighbouring pixels are not independent: use many pictures, and never those on which the coverage is then
    reported.
    """
    members = _checked_members(members, level, "gaussian")
    spread = members.std(0, ddof=1)
    if not (spread > 0).all():
        raise ValueError(f"{int((spread == 0).sum())} pixels have no spread: members are identical there")
    scores = np.sort((np.abs(np.asarray(truth, dtype=np.float64) - members.mean(0)) / spread).ravel())
    rank = math.ceil(level * (scores.size + 1))
    return float(scores[rank - 1]) if rank <= scores.size else math.inf


def student_t_quantile(probability: float, dof: int) -> float:
    """t with P(T <= t) = `probability`, 0.5 to below 1, for integer `dof`; bisection, 1e-10 relative."""
    if not (0.5 <= probability < 1 and dof >= 1):
        raise ValueError(
            f"got probability {probability}, dof {dof}; expected 0.5 <= probability < 1, dof >= 1"
        )
    low, high = 0.0, 1.0
    while _student_t_inside(high, dof) < 2 * probability - 1:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if _student_t_inside(middle, dof) < 2 * probability - 1:
            low = middle
        else:
            high = middle
        if high - low <= 1e-11 * high:
            break
    return (low + high) / 2


def _student_t_inside(t: float, dof: int) -> float:
    """P(|T| <= t), the finite series in cos(theta) of Abramowitz and Stegun 26.7.3 and 26.7.4."""
    theta = math.atan(t / math.sqrt(dof))
    sine, cosine = math.sin(theta), math.cos(theta)
    odd = dof % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for n in range(1 + odd, dof, 2):
        total += term
        term *= cosine**2 * n / (n + 1)
    return 2 / math.pi * (theta + sine * total) if odd else sine * total


def _checked_members(members: np.ndarray, level: float, method: Method) -> np.ndarray:
    members = np.asarray(members, dtype=np.float64)
    if method not in get_args(Method):
        raise ValueError(f"method is {method!r}; known: {', '.join(get_args(Method))}")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie strictly between 0 and 1")
    needed = 2 if method == "gaussian" else math.ceil(round(2 / (1 - level) - 1, 9))
    if members.ndim < 1 or len(members) < needed:
        raise ValueError(
            f"a {method} interval at level {level} needs at least {needed} members, got "
            f"{len(members) if members.ndim else 0}: add members or use method='gaussian' (2 or more)"
        )
    if not np.isfinite(members).all():
        raise ValueError("NaN or infinity among the members: mask those pixels out")
    return members
