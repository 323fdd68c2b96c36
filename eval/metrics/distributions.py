"""How far apart are two laws of features, given samples of each?

Fréchet distance (Heusel et al. 2017), kernel distance (Bińkowski et al. 2018), CMMD (Jayasumana et al. 2024)
and inception score (Salimans et al. 2016), as functions of arrays. All but the unbiased kernel distance
depend on the number of samples, so it belongs beside every one of them; `size_curve` shows how much. Leaves
out whose features they are (`eval.features`) and what a single picture is like (`eval.rarity`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.summary import Summary, over_seeds

BLOCK = 2048
"""Rows whose kernel is held at a time."""
CMMD_SIGMA, CMMD_SCALE = 10.0, 1000.0
SPLITS = 10
"""Of the inception score, as published."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Frechet:
    """Squared Fréchet (2-Wasserstein) distance of two normal laws fitted to features."""

    distance: float
    num_real: int
    num_generated: int
    width: int

    @property
    def is_full_rank(self) -> bool:
        """Whether both covariances can be; else part of the distance is only the small number of samples."""
        return min(self.num_real, self.num_generated) > self.width


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NormalLaw:
    """The normal law of a set of features, ready to be compared with several others."""

    mean: np.ndarray
    """(D,)."""
    root: np.ndarray
    """(D, D), of the covariance."""
    num: int

    @classmethod
    def of(cls, features: np.ndarray) -> NormalLaw:
        """Fitted to (N, D), in float64; ValueError for bad features or fewer than 2."""
        rows = _checked_rows("real", features, at_least=2)
        covariance = np.atleast_2d(np.cov(rows, rowvar=False))
        return cls(mean=rows.mean(0), root=_symmetric_root(covariance), num=len(rows))

    def frechet(self, generated: np.ndarray) -> Frechet:
        """Distance of the law of (M, D), as `frechet_distance`."""
        generated = _checked_rows("generated", generated, at_least=2)
        _check_width(len(self.mean), generated)
        other = np.atleast_2d(np.cov(generated, rowvar=False))
        values = np.linalg.eigvalsh(self.root @ other @ self.root)
        apart = self.mean - generated.mean(0)
        # tr C_r from its root, so that equal sets come out at 0 up to rounding.
        spread = np.square(self.root).sum() + np.trace(other) - 2 * np.sqrt(values.clip(0)).sum()
        return Frechet(
            distance=float(max(apart @ apart + spread, 0.0)),
            num_real=self.num, num_generated=len(generated), width=len(self.mean),
        )  # fmt: skip


def frechet_distance(real: np.ndarray, generated: np.ndarray) -> Frechet:
    """|m_r - m_f|² + tr(C_r + C_f - 2 (C_r^1/2 C_f C_r^1/2)^1/2) of (N, D) and (M, D), in float64.

    The product under the root is symmetric, so its eigenvalues are real and no iteration can diverge; those
    that rounding makes negative count as 0. Raises ValueError for bad features or fewer than 2 of either.
    """
    return NormalLaw.of(real).frechet(generated)


def kernel_distance(
    real: np.ndarray, generated: np.ndarray, *, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> Summary:
    """KID: unbiased MMD² with the kernel (x·y / D + 1)³, mean and deviation over random subsets.

    Subsets are drawn by `seed`, without replacement within each. Published values take 100 subsets of 1000.
    Raises ValueError where a set is smaller than a subset.
    """
    real, generated = _checked(real, generated, at_least=2)
    if num_subsets < 1 or not 2 <= subset_size <= min(len(real), len(generated)):
        raise ValueError(
            f"{num_subsets} subsets of {subset_size} from {len(real)} real and {len(generated)} generated "
            "features; expected at least one subset, of 2 features up to the smaller set"
        )
    generator = np.random.default_rng(seed)

    def drawn(rows: np.ndarray) -> np.ndarray:
        return rows[generator.choice(len(rows), subset_size, replace=False)]

    return over_seeds([mmd(drawn(real), drawn(generated), cubic) for _ in range(num_subsets)])


def cmmd(real: np.ndarray, generated: np.ndarray) -> float:
    """1000 MMD² of normalised CLIP embeddings, Gaussian kernel of deviation 10, biased estimate.

    As published (arXiv 2401.09603): "biased" keeps each feature's kernel with itself. Comparable within one
    embedding alone: the published one is CLIP ViT-L/14 at 336 px. Raises ValueError for a zero feature.
    """
    real, generated = _checked(real, generated, at_least=1)
    lengths = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (real, generated)]
    if min(each.min() for each in lengths) == 0:
        raise ValueError("a feature is 0 and has no direction; CMMD compares directions")
    return CMMD_SCALE * mmd(real / lengths[0], generated / lengths[1], gaussian(CMMD_SIGMA), biased=True)


Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x·y / D + 1)³."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def gaussian(deviation: float) -> Kernel:
    """exp(-|x - y|² / (2 deviation²))."""

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        squared = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * (x @ y.T)
        return np.exp(squared.clip(0) / (-2 * deviation**2))

    return kernel


def mmd(real: np.ndarray, generated: np.ndarray, kernel: Kernel, *, biased: bool = False) -> float:
    """Squared maximum mean discrepancy (Gretton et al. 2012, eq. 3; biased: eq. 5), block by block.

    The unbiased one may be below 0.
    """
    real, generated = _checked(real, generated, at_least=1 if biased else 2)
    own = [_within(rows, kernel, biased) for rows in (real, generated)]
    return own[0] + own[1] - 2 * _sum(real, generated, kernel) / (len(real) * len(generated))


def inception_score(logits: np.ndarray, *, splits: int = SPLITS) -> Summary:
    """exp of the mean divergence of p(y|x) from p(y), over contiguous splits of (N, classes) logits.

    Published values are of one classifier (Inception v3) and shuffled samples: shuffle them if their order
    means something. The deviation is the sample's, where torch-fidelity gives the population's. Raises
    ValueError for fewer samples than splits, or values that are not finite.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if logits.ndim != 2 or splits < 1 or len(logits) < splits or not np.isfinite(logits).all():
        raise ValueError(
            f"logits have shape {logits.shape} for {splits} splits; expected finite (N, classes), N >= splits"
        )
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    bounds = [len(logits) * n // splits for n in range(splits + 1)]
    return over_seeds([_score(logs[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)])


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeCurve:
    """A distance at several sample sizes."""

    sizes: tuple[int, ...]
    values: tuple[Summary, ...]
    """At each size, over repeated draws."""
    at_infinity: float
    """Where the line through the means over 1 / N ends (Chong and Forsyth 2020)."""


def check_sizes(sizes: Sequence[int], num: int, repeats: int = 5) -> tuple[int, ...]:
    """The sizes in order, each once; ValueError as `size_curve` of `num` generated ones."""
    levels = tuple(sorted(set(sizes)))
    if len(levels) < 2 or levels[0] < 2 or levels[-1] > num or repeats < 1:
        raise ValueError(
            f"sizes {levels} with {repeats} repeats of {num} generated ones; expected two or more different "
            "sizes from 2 to the number of generated ones, and at least one repeat"
        )
    return levels


def size_curve(
    metric: Callable[[np.ndarray], float],
    generated: np.ndarray,
    sizes: Sequence[int],
    *,
    repeats: int = 5,
    seed: int = 0,
) -> SizeCurve:
    """`metric` of random N generated ones, for every N in `sizes`.

    Raises ValueError for fewer than two different sizes, or one beyond the number of generated ones.
    """
    levels = check_sizes(sizes, len(generated), repeats)
    generator = np.random.default_rng(seed)

    def drawn(size: int) -> np.ndarray:
        return generated[generator.choice(len(generated), size, replace=False)]

    values = [over_seeds([metric(drawn(size)) for _ in range(repeats)]) for size in levels]
    line = np.polyfit(1 / np.array(levels, float), [each.mean for each in values], 1)
    return SizeCurve(sizes=levels, values=tuple(values), at_infinity=float(line[1]))


def _score(logs: np.ndarray) -> float:
    each = np.exp(logs)
    with np.errstate(divide="ignore", invalid="ignore"):  # a class that none is in adds nothing
        gains = np.where(each > 0, each * (logs - np.log(each.mean(0))), 0)
    return float(np.exp(gains.sum(1).mean()))


def _within(rows: np.ndarray, kernel: Kernel, biased: bool) -> float:
    total, num = _sum(rows, rows, kernel), len(rows)
    if biased:
        return total / num**2
    own = sum(float(np.diagonal(kernel(part, part)).sum()) for part in _parts(rows, 64))
    return (total - own) / (num * (num - 1))


def _sum(x: np.ndarray, y: np.ndarray, kernel: Kernel) -> float:
    return sum(float(kernel(a, b).sum()) for a in _parts(x) for b in _parts(y))


def _parts(rows: np.ndarray, size: int = BLOCK) -> list[np.ndarray]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


def _symmetric_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def _checked(real: np.ndarray, generated: np.ndarray, *, at_least: int) -> tuple[np.ndarray, np.ndarray]:
    real = _checked_rows("real", real, at_least=at_least)
    generated = _checked_rows("generated", generated, at_least=at_least)
    _check_width(real.shape[1], generated)
    return real, generated


def _checked_rows(name: str, rows: np.ndarray, *, at_least: int) -> np.ndarray:
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < at_least or rows.shape[1] == 0:
        raise ValueError(f"{name} features have shape {rows.shape}; expected (N, D), N at least {at_least}")
    if not np.isfinite(rows).all():
        raise ValueError(f"{name} features hold NaN or infinity: find out why, or leave them out and say so")
    return rows


def _check_width(width: int, generated: np.ndarray) -> None:
    if width != generated.shape[1]:
        raise ValueError(
            f"real features have width {width}, generated ones {generated.shape[1]}: use one model"
        )
