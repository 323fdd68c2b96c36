"""Does the metric see what truncation does to a generator?

Shrinking the latent by psi < 1 makes pictures typical, so mean rarity must fall with psi, as it does for FFHQ
in Han et al. 2022. Features and k for which it does not are the wrong ones to measure rarity with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eval.manifold.features import Features
from eval.manifold.manifold import Manifold
from eval.rarity import Summary, of_manifold

PSIS = (1.0, 0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncation:
    """What was found at every psi, the largest first."""

    psis: tuple[float, ...]
    summaries: tuple[Summary, ...]

    @property
    def lowers_rarity(self) -> bool:
        """Whether mean rarity falls at every step down; False also where nothing is in the manifold."""
        means = [each.mean for each in self.summaries]
        return all(
            high is not None and low is not None and low < high
            for high, low in zip(means, means[1:], strict=False)
        )


def truncation_test(
    generate: Callable[[float], Features],
    real: Features,
    k: int = 3,
    *,
    psis: Sequence[float] = PSIS,
    features: str = "unnamed features",
) -> Truncation:
    """`generate(psi)` gives features (M, D) of pictures from latents times psi, best from the same latents.

    Raises ValueError for fewer than two different psis, one that is not above 0, and as `rarity_score`.
    """
    levels = tuple(sorted(set(psis), reverse=True))
    if len(levels) < 2 or levels[-1] <= 0:
        raise ValueError(f"psis are {tuple(psis)}; expected two or more different numbers above 0")
    manifold = Manifold(real, (k,))
    found = [of_manifold(manifold, generate(psi), features=features)[0].summary for psi in levels]
    return Truncation(psis=levels, summaries=tuple(found))
