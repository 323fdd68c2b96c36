"""How do generated features lie to the real ones: rare, realistic, precise, varied?

One class for every metric that asks in which k-nearest-neighbour balls a point lies: rarity (Han et al.
2022, arXiv 2206.08549), realism, improved precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991),
density and coverage (Naeem et al. 2020, arXiv 2002.09797). A real feature's ball reaches its k-th nearest
*other* real feature; all k are found in one pass, which never holds more than a block of distances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import PartialState

from eval.manifold import blocks
from eval.manifold.bounds import Frame
from eval.manifold.features import Features, check_neighbours, check_widths, checked
from eval.manifold.members import Members
from eval.manifold.nearest import Nearest, Search
from eval.manifold.sharing import WorkSplit
from eval.manifold.speed import fastest_format
from eval.manifold.typical import closeness

FORMATS = {"bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}
FAR_ENOUGH = 0.2
"""Share of features' squared length that neighbours must be apart for 8 bits to be of use."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Generated features against the balls of one k. Per generated one (M,), per real (N,)."""

    k: int
    rarity: np.ndarray
    """(M,) float64: radius of the smallest real ball that holds the generated one, NaN where none does."""
    num_balls: np.ndarray
    """(M,) int64: real balls that hold the generated one."""
    in_manifold: np.ndarray
    """(M,) bool, borders as asked for."""
    covered: np.ndarray
    """(N,) bool: real balls that hold any generated one."""
    realism: np.ndarray | None
    """(M,) float64: the largest radius / distance; inf for a copy of a real. None if not asked for."""
    recalled: np.ndarray | None
    """(N,) bool: reals in the ball of any generated one. None if not asked for."""
    num_decided: int
    """Pairs of this k that were too close to a border for fast arithmetic, and were decided in float64."""

    @property
    def precision(self) -> float:
        """Share of generated ones in the real manifold."""
        return float(self.in_manifold.mean())

    @property
    def recall(self) -> float | None:
        """Share of reals in the generated manifold."""
        return None if self.recalled is None else float(self.recalled.mean())

    @property
    def density(self) -> float:
        """Real balls per generated one, over k; about 1 for the real law, and above where they crowd."""
        return float(self.num_balls.mean() / self.k)

    @property
    def coverage(self) -> float:
        """Share of real balls that hold a generated one."""
        return float(self.covered.mean())


class Manifold:
    """The balls about real features, for several k."""

    def __init__(
        self,
        real: Features,
        ks: Sequence[int] = (3,),
        *,
        arithmetic: str = "auto",
        device: str | torch.device | None = None,
        block: int = blocks.SIZE,
        processes: PartialState | None = None,
    ):
        """`real` (N, D), N > k, anywhere; `device` computes (default: where `real` is).

        `arithmetic` (bfloat16, float32, float64; auto: the fastest here) decides speed alone: whatever it
        leaves open is decided in float64. Memory above the inputs is O(block (block + D) + N). With
        `processes` all of them call with the same features and get the same result.

        Raises ValueError for too few features, NaN, infinity, or when all radii are 0.
        """
        self.real = checked(real, "real features")
        self.ks = tuple(sorted({int(k) for k in ks}))
        check_neighbours(len(self.real), self.ks, "the real set")
        self.arithmetic, self.device = arithmetic, torch.device(device or self.real.device)
        self.block, self.split = _checked_block(block), WorkSplit(processes)
        self._squared = self._search(self.real, self.ks).among_themselves(self.real)
        if self.num_zero_radii[0] == len(self.real):
            raise ValueError(
                f"all {len(self.real)} radii are 0 at k = {self.ks[0]}: every real feature has that many "
                "copies, so no ball holds anything; remove duplicates, or check the feature extractor"
            )

    @property
    def radii(self) -> np.ndarray:
        """(K, N) float64: distance of each real feature to its k-th other, a row for each of `ks`."""
        return self._squared.sqrt().cpu().numpy()

    @property
    def num_zero_radii(self) -> tuple[int, ...]:
        """For each k: real features with k or more copies. Their balls hold nothing, closed ones copies."""
        return tuple(int(n) for n in (self._squared == 0).sum(1))

    def compare(
        self,
        generated: Features,
        *,
        realism: bool = True,
        recall: bool = True,
        closed: bool = False,
        realism_quantile: float = 0.5,
    ) -> tuple[Comparison, ...]:
        """`generated` (M, D) against the balls, one result for each of `ks`, the smallest first.

        `closed`: a point on a border counts for precision and recall, as in the published code of both
        (d <= r: a ball of radius 0 holds copies of its centre); rarity, density and coverage are always
        strict, as in theirs. Realism reads the balls whose radius is
        at most the `realism_quantile` of all: the paper drops the larger half; 1 keeps all.
        `recall` needs M > k and a pass over the generated ones; realism and recall cost about as much again.

        Raises ValueError for generated ones of another width, NaN or infinity.
        """
        generated = checked(generated, "generated features")
        check_widths(self.real, generated)
        if recall:
            check_neighbours(len(generated), self.ks, "the generated set (for recall)")
        if not 0 < realism_quantile <= 1:
            raise ValueError(f"realism_quantile is {realism_quantile}; expected above 0, up to 1")
        dtype = _format(self.arithmetic, self.device, lambda: closeness(self.real, self._squared[0]))
        frame = Frame.about([self.real, generated], dtype, self.device)
        points, centres = frame.bounded(generated), frame.bounded(self.real)
        members = [Members(points, centres, each, frame, closed=closed) for each in self._squared]
        weights = self._weights(realism_quantile, frame.scale) if realism else []
        nearest = [Nearest(len(points), len(centres), 1, frame, each) for each in weights]
        radii = self._search(generated, self.ks).among_themselves(generated) if recall else []
        recallers = [Members(centres, points, each, frame, closed=closed) for each in radii]
        for block in blocks.blocks(points, centres, frame, self.block, self.split):
            for reader in (*members, *nearest):
                reader.add(block)
            for reader in recallers:
                reader.add(block.transposed)
        return tuple(
            self._comparison(k, members[n], nearest[n] if realism else None, recallers[n] if recall else None)
            for n, k in enumerate(self.ks)
        )

    def _search(self, rows: torch.Tensor, ks: tuple[int, ...]) -> Search:
        dtype = _format(self.arithmetic, self.device, lambda: closeness(rows))
        return Search(ks=ks, dtype=dtype, device=self.device, block=self.block, split=self.split)

    def _weights(self, quantile: float, scale: float) -> list[torch.Tensor]:
        """1 / r² in the frame's units for balls that realism reads, else 0."""
        weights = []
        for squared in self._squared:
            largest = torch.quantile(squared, quantile, interpolation="lower")
            # A radius at the limit of float64's resolution has no inverse in float32 and no meaning.
            read = (squared <= largest) & (squared * scale**2 > 1e-30)
            weights.append(torch.where(read, 1 / (squared * scale**2), 0.0))
        return weights

    def _comparison(
        self, k: int, members: Members, nearest: Nearest | None, recaller: Members | None
    ) -> Comparison:
        members.merge(self.split)
        rarity = members.smallest.sqrt()
        recalled = None
        if recaller is not None:
            recaller.merge(self.split)
            recalled = recaller.in_any().cpu().numpy()
        return Comparison(
            k=k,
            rarity=rarity.masked_fill(rarity.isinf(), torch.nan).cpu().numpy(),
            num_balls=members.num_balls.cpu().numpy(),
            in_manifold=members.in_any().cpu().numpy(),
            covered=members.holds.cpu().numpy(),
            realism=None if nearest is None else self._realism(nearest, members),
            recalled=recalled,
            num_decided=int(members.num_decided),
        )

    def _realism(self, nearest: Nearest, members: Members) -> np.ndarray:
        points, centres = members.points, members.centres
        search = Search(
            ks=(1,), dtype=nearest.frame.dtype, device=self.device, block=self.block, split=self.split
        )
        # On the CPU: other devices round reciprocal roots in their own way.
        return search.finish(nearest, points, centres)[0].cpu().rsqrt().numpy()


def _format(name: str, device: torch.device, closeness: Callable[[], float]) -> torch.dtype:
    if name == "auto":
        fastest = fastest_format(device)
        # What 8 bits cannot tell apart is decided pair by pair, which must not become the rule.
        return fastest if fastest != torch.bfloat16 or closeness() > FAR_ENOUGH else torch.float32
    if name not in FORMATS:
        raise ValueError(f"arithmetic is {name!r}; known: auto, {', '.join(FORMATS)}")
    if name == "bfloat16" and device.type != "cpu":
        raise ValueError("bfloat16 arithmetic has proven bounds on the CPU alone; use float32 or auto here")
    return FORMATS[name]


def _checked_block(block: int) -> int:
    if block < 1:
        raise ValueError(f"block is {block}; expected at least 1")
    return block
