"""How rare is each generated picture among those that can pass for real?

Rarity(g) = the smallest k-NN radius of the real features whose ball holds g (Han et al. 2022,
arXiv 2206.08549): large where reals are sparse. A picture in no ball has no rarity: it may be rare or broken.
So the mean alone says little: a model raises it by pushing common pictures out of the manifold. `summary`
keeps it with the fraction that was counted. Radii shrink as reals grow in number, so compare at one N only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import PartialState

from eval.manifold.features import Features
from eval.manifold.manifold import Manifold

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What a table shows of one comparison."""

    mean: float | None
    """Over generated ones in the manifold; None where there is none."""
    quantiles: Mapping[float, float]
    """Of the same; empty where there is none."""
    in_manifold: float
    """Share of generated ones in the manifold: improved precision with open balls."""
    real_mean: float
    """Mean radius of the reals, the scale on which to read the rest."""
    num_real: int
    num_generated: int
    num_zero_radii: int
    """Reals with k or more copies: their balls hold nothing."""
    k: int
    features: str
    """Whose features they are."""

    def __str__(self) -> str:
        mean = "none" if self.mean is None else f"{self.mean:.4g}"
        return (
            f"rarity {mean} over {self.in_manifold:.1%} in the manifold (radius of reals "
            f"{self.real_mean:.4g}; k {self.k}, {self.num_real} real, {self.num_generated} generated, "
            f"{self.features})"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Rarity:
    """Rarity of each of M generated ones among N reals."""

    scores: np.ndarray
    """(M,) float64, in units of feature distance; NaN outside the manifold (the published code writes 0)."""
    radii: np.ndarray
    """(N,) float64: k-NN radius of each real, the reference for the scores."""
    k: int
    features: str

    @property
    def in_manifold(self) -> np.ndarray:
        """(M,) bool."""
        return ~np.isnan(self.scores)

    @property
    def rarest(self) -> np.ndarray:
        """Places of the generated ones in the manifold, rarest first; equal ones in their order."""
        inside = np.flatnonzero(self.in_manifold)
        return inside[np.argsort(-self.scores[inside], kind="stable")]

    @property
    def summary(self) -> Summary:
        """Mean, quantiles and what they were taken over."""
        inside = self.scores[self.in_manifold]
        found = np.quantile(inside, QUANTILES) if len(inside) else ()
        return Summary(
            mean=float(inside.mean()) if len(inside) else None,
            quantiles={q: float(value) for q, value in zip(QUANTILES, found, strict=False)},
            in_manifold=float(self.in_manifold.mean()),
            real_mean=float(self.radii.mean()),
            num_real=len(self.radii),
            num_generated=len(self.scores),
            num_zero_radii=int((self.radii == 0).sum()),
            k=self.k,
            features=self.features,
        )


def rarity_score(
    real: Features,
    generated: Features,
    k: int = 3,
    *,
    features: str = "unnamed features",
    arithmetic: str = "auto",
    device: str | torch.device | None = None,
    processes: PartialState | None = None,
) -> Rarity:
    """Rarity of `generated` (M, D) among `real` (N, D), N > k; both from one feature extractor.

    `features` names it for the record. The other arguments are `Manifold`'s and change no result. Raises
    ValueError for too few reals, widths that differ, NaN or infinity, or when every radius is 0.
    """
    manifold = Manifold(real, (k,), arithmetic=arithmetic, device=device, processes=processes)
    return of_manifold(manifold, generated, features=features)[0]


def of_manifold(manifold: Manifold, generated: Features, *, features: str) -> tuple[Rarity, ...]:
    """The same for every k of a manifold that is there already."""
    compared = manifold.compare(generated, realism=False, recall=False)
    return tuple(
        Rarity(scores=each.rarity, radii=radii, k=each.k, features=features)
        for each, radii in zip(compared, manifold.radii, strict=True)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Strata:
    """Rarity among all reals, and among those of the generated one's own stratum (its prompt, its class)."""

    pooled: Rarity
    within: Mapping[str, Rarity]
    """By stratum; each generated one is compared with reals of its own stratum alone."""
    left_out: Mapping[str, str]
    """Strata that cannot be judged, and why. Their generated ones count in `pooled` only."""


def rarity_by_stratum(
    real: Features,
    generated: Features,
    real_strata: Sequence[object],
    generated_strata: Sequence[object],
    k: int = 3,
    *,
    features: str = "unnamed features",
) -> Strata:
    """Rarity pooled and per stratum: a rare class is not a rare member of its class.

    Strata hold a label of every real and of every generated one. Radii depend on the number of reals, so
    means of strata of different sizes do not compare. Raises ValueError as `rarity_score`, or when labels and
    rows differ in number.
    """
    of_real = _labels(real, real_strata, "real")
    of_generated = _labels(generated, generated_strata, "generated")
    pooled = rarity_score(real, generated, k, features=features)
    within, left_out = {}, {}
    for name in dict.fromkeys([*of_generated.tolist(), *of_real.tolist()]):
        reals, own = np.flatnonzero(of_real == name), np.flatnonzero(of_generated == name)
        if not len(own):
            left_out[name] = f"has {len(reals)} reals and no generated one"
        elif len(reals) <= k:
            left_out[name] = (
                f"has {len(reals)} reals for {len(own)} generated; k = {k} needs at least {k + 1}"
            )
        else:
            try:
                within[name] = rarity_score(real[reals], generated[own], k, features=features)
            except ValueError as error:
                left_out[name] = str(error)
    return Strata(pooled=pooled, within=within, left_out=left_out)


def _labels(rows: Features, labels: Sequence[object], name: str) -> np.ndarray:
    if len(labels) != len(rows):
        raise ValueError(f"there are {len(labels)} {name} strata for {len(rows)} features; give one for each")
    return np.array([str(label) for label in labels])
