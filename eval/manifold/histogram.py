"""How are rarities spread beside the radii of the reals they were found among?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.rarity import Rarity


@dataclass(frozen=True, kw_only=True, slots=True)
class Histogram:
    """Counts over shared bins."""

    edges: np.ndarray
    """(bins + 1,) ascending, in units of feature distance."""
    real: np.ndarray
    """(bins,) real features by their radius."""
    generated: np.ndarray
    """(bins,) generated ones in the manifold by their rarity."""
    num_outside: int
    """Generated ones that are in no bin because they have no rarity."""
    shift: float | None
    """Mean rarity minus mean radius, in deviations of the radius; None without generated ones in the
    manifold, or when all radii are one. Below 0 even where both are of one law: rarity is the least of
    several radii."""


def histogram(rarity: Rarity, bins: int = 40) -> Histogram:
    """The two histograms; ValueError for fewer than one bin."""
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    inside = rarity.scores[rarity.in_manifold]
    # A rarity is one of the radii, so their range holds both.
    edges = np.histogram_bin_edges(rarity.radii, bins)
    deviation = float(rarity.radii.std())
    return Histogram(
        edges=edges,
        real=np.histogram(rarity.radii, edges)[0],
        generated=np.histogram(inside, edges)[0],
        num_outside=len(rarity.scores) - len(inside),
        shift=float(inside.mean() - rarity.radii.mean()) / deviation if len(inside) and deviation else None,
    )
