"""How do two sets of real pictures differ, and which pictures of one set lie apart from the rest?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.manifold.features import Features, check_widths, checked
from eval.manifold.manifold import Comparison, Manifold


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Two sets of one size, each judged by the other's manifold."""

    num: int
    """Features taken of each."""
    k: int
    radius: tuple[float, float]
    """Median k-NN radius of either: the more diverse set has the larger one."""
    second_in_first: Comparison
    """Its recall is the share of the first set that lies in the second's manifold."""
    first_in_second: Comparison


def compare_sets(first: Features, second: Features, k: int = 3, *, seed: int = 0) -> Difference:
    """Both directions, at the size of the smaller set: radii depend on the number, so more would mislead.

    The larger set is sampled without replacement by `seed`. Raises ValueError as `Manifold`.
    """
    a, b = checked(first, "the first set"), checked(second, "the second set")
    check_widths(a, b)
    num = min(len(a), len(b))
    generator = np.random.default_rng(seed)
    a, b = (
        rows if len(rows) == num else rows[np.sort(generator.choice(len(rows), num, replace=False))]
        for rows in (a, b)
    )
    of_a, of_b = Manifold(a, (k,)), Manifold(b, (k,))
    return Difference(
        num=num,
        k=k,
        radius=(float(np.median(of_a.radii)), float(np.median(of_b.radii))),
        second_in_first=of_a.compare(b)[0],
        first_in_second=of_b.compare(a)[0],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """Features of one set, the loneliest first."""

    index: np.ndarray
    """(N,) int64: their places in the set."""
    radii: np.ndarray
    """(N,) float64: distance to the k-th nearest other, in this order."""
    k: int

    def beyond(self, factor: float = 1.5) -> int:
        """How many lie beyond Tukey's fence: third quartile plus `factor` times the quartiles' distance."""
        first, third = np.quantile(self.radii, (0.25, 0.75))
        return int((self.radii > third + factor * (third - first)).sum())


def outlier_order(real: Features, k: int = 3) -> Order:
    """The set ordered by nearest-neighbour distance, equal ones in their order; ValueError as `Manifold`."""
    radii = Manifold(real, (k,)).radii[0]
    index = np.argsort(-radii, kind="stable")
    return Order(index=index, radii=radii[index], k=k)
