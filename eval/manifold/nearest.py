"""How far is each row from its k-th neighbour, exactly, when distances come as lower bounds in blocks?

Of every row the few lowest bounds are kept. Those whose bracket can hold the k-th distance are computed in
float64, mostly one or two. A row where more could hold it than were kept (neighbours far closer than features
are long, many ties) is left for finer arithmetic, and in the end for float64 over all its pairs. Weights, one
per neighbour, multiply squared distances: the nearest ball in units of its radius is the same search.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from eval.manifold.blocks import Block, blocks, half_blocks
from eval.manifold.bounds import Bounded, Frame
from eval.manifold.exact import squared_distances
from eval.manifold.sharing import WorkSplit

SPARE = 8
"""Candidates kept beyond k."""
PAIRS = 1 << 18
"""Pairs of whole rows that are computed together."""


class Nearest:
    """The lowest bounds of each of `num` rows, gathered block by block."""

    def __init__(self, num: int, others: int, k: int, frame: Frame, weights: torch.Tensor | None = None):
        """`others`: neighbours a row can have. `weights` (neighbours,) float64, 0: one that never counts."""
        self.keep, self.is_all = min(k + SPARE, others), k + SPARE >= others
        self.frame, self.weights = frame, weights
        self.factors = None if weights is None else weights.to(frame.arithmetic)
        self.penalty = None if self.factors is None else torch.where(self.factors == 0, torch.inf, 0.0)
        self.values = torch.full((num, self.keep), torch.inf, dtype=frame.arithmetic, device=frame.device)
        self.index = torch.zeros(num, self.keep, dtype=torch.int64, device=frame.device)

    def add(self, block: Block) -> None:
        """Take in a block whose rows are ours."""
        lower = block.lower
        if self.factors is not None and self.penalty is not None:
            lower = (lower * self.factors[block.j]).add_(self.penalty[block.j])
        near = lower.topk(min(self.keep, lower.shape[1]), largest=False, sorted=False)
        values = torch.cat([self.values[block.i], near.values], 1)
        index = torch.cat([self.index[block.i], near.indices + block.j.start], 1)
        self.values[block.i], self.index[block.i] = _lowest(values, index, self.keep)

    def merge(self, split: WorkSplit) -> None:
        """Take in what the other processes found."""
        values, index = split.stacked(self.values), split.stacked(self.index)
        values, index = values.transpose(0, 1).flatten(1), index.transpose(0, 1).flatten(1)
        self.values, self.index = _lowest(values, index, self.keep)

    def distances(
        self, rows: Bounded, others: Bounded, ks: tuple[int, ...], split: WorkSplit
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """((num, K), (num,) bool): weighted squared distances to the k-th neighbour in float64, exact but for
        the rows that are left. After all blocks; in the frame's units.
        """
        part = split.mine(range(len(rows)))
        mine = torch.arange(part.start, part.stop, device=self.frame.device)
        found = torch.full((len(mine), len(ks)), torch.nan, dtype=torch.float64, device=self.frame.device)
        left = torch.zeros(len(mine), dtype=torch.bool, device=self.frame.device)
        if len(mine):
            left = self._decide(mine, rows, others, ks, found)
        return split.joined(found, len(rows)), split.joined(left.to(torch.uint8), len(rows)).bool()

    def _decide(
        self, mine: torch.Tensor, rows: Bounded, others: Bounded, ks: tuple[int, ...], found: torch.Tensor
    ) -> torch.Tensor:
        """Fill `found`; whether what was kept did not suffice for a row."""
        index = self.index[mine]
        low, high = self._bracket(mine, index, rows, others)
        counted, enough = [], torch.ones(len(mine), dtype=torch.bool, device=low.device)
        open_ = torch.zeros_like(low, dtype=torch.bool)
        for k in ks:
            least, most = low.kthvalue(k).values[:, None], high.kthvalue(k).values[:, None]
            counted.append((high < least, (low <= most) & (high >= least)))
            open_ |= counted[-1][1]
            if not self.is_all:
                enough &= low[:, -1] > most[:, 0]
        open_ &= enough[:, None]
        exact = torch.full_like(low, torch.inf)
        at = open_.nonzero()
        exact[open_] = self._exact(mine[at[:, 0]], index[open_], rows, others)
        for column, (k, (below, candidates)) in enumerate(zip(ks, counted, strict=True)):
            ordered = exact.masked_fill(~candidates, torch.inf).sort(1).values
            place = (k - 1 - below.sum(1)).clamp(0, self.keep - 1)
            found[:, column] = ordered.gather(1, place[:, None])[:, 0]
        return ~enough

    def _bracket(self, mine: torch.Tensor, index: torch.Tensor, rows: Bounded, others: Bounded):
        """(low, high) of the kept candidates; low is sorted."""
        width = rows.width[mine][:, None] + others.width[index]
        extra = rows.extra[mine][:, None] + others.extra[index]
        values = self.values[mine].double()
        if self.weights is None:
            return self.frame.bracket(values, width, extra)
        weights = self.weights[index]
        # Two roundings, of the weight and of the product.
        fuzz = 4 * torch.finfo(self.frame.arithmetic).eps * values.abs()
        low, _ = self.frame.bracket((values - fuzz) / weights, width, extra)
        _, high = self.frame.bracket((values + fuzz) / weights, width, extra)
        never = (weights == 0) | values.isinf()
        return (low * weights).masked_fill(never, torch.inf), (high * weights).masked_fill(never, torch.inf)

    def _exact(self, i: torch.Tensor, j: torch.Tensor, rows: Bounded, others: Bounded) -> torch.Tensor:
        squared = squared_distances(rows.rows, i, others.rows, j, self.frame.device) * self.frame.scale**2
        return squared if self.weights is None else squared * self.weights[j]


FINER = {torch.bfloat16: torch.float32, torch.float32: torch.float64}


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """How neighbours are looked for."""

    ks: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    block: int
    split: WorkSplit

    def among_themselves(self, rows: torch.Tensor) -> torch.Tensor:
        """(K, N) float64 squared distances of each row to its k-th other, in the features' own units."""
        frame = Frame.about([rows], self.dtype, self.device)
        bounded = frame.bounded(rows)
        nearest = Nearest(len(rows), len(rows) - 1, max(self.ks), frame)
        for block in half_blocks(bounded, frame, self.block, self.split):
            nearest.add(block)
            if not block.on_diagonal:
                nearest.add(block.transposed)
        nearest.merge(self.split)
        found, left = nearest.distances(bounded, bounded, self.ks, self.split)
        found /= frame.scale**2
        if left.any():
            found[left] = self._again(rows, left.nonzero()[:, 0], rows, None, same=True)
        return found.T

    def finish(self, nearest: Nearest, rows: Bounded, others: Bounded) -> torch.Tensor:
        """(K, N) weighted squared distances from `nearest` after all blocks, in its frame's units."""
        nearest.merge(self.split)
        found, left = nearest.distances(rows, others, self.ks, self.split)
        if left.any():
            assert nearest.weights is not None
            weights = nearest.weights * nearest.frame.scale**2  # in the features' own units
            found[left] = self._again(rows.rows, left.nonzero()[:, 0], others.rows, weights, same=False)
        return found.T

    def _again(
        self, rows: torch.Tensor, left: torch.Tensor, others: torch.Tensor, weights: torch.Tensor | None,
        same: bool,
    ) -> torch.Tensor:  # fmt: skip
        """(left, K) for the rows `left` in finer arithmetic; everything in the features' own units."""
        if self.dtype not in FINER:
            return self._whole_rows(rows, left, others, weights, same)
        search = replace(self, dtype=FINER[self.dtype])
        some = rows[left.to(rows.device)]
        frame = Frame.about([others, some], search.dtype, self.device)
        few, many = frame.bounded(some), frame.bounded(others)
        scaled = None if weights is None else weights / frame.scale**2
        nearest = Nearest(len(few), len(many) - same, max(self.ks), frame, scaled)
        for block in blocks(few, many, frame, self.block, self.split):
            if same:
                _hide_selves(block, left)
            nearest.add(block)
        nearest.merge(self.split)
        found, still = nearest.distances(few, many, self.ks, self.split)
        if weights is None:
            found /= frame.scale**2
        if still.any():
            found[still] = search._again(rows, left[still], others, weights, same)
        return found

    def _whole_rows(
        self, rows: torch.Tensor, left: torch.Tensor, others: torch.Tensor, weights: torch.Tensor | None,
        same: bool,
    ) -> torch.Tensor:  # fmt: skip
        """In float64 over all pairs, split between processes."""
        part = self.split.mine(range(len(left)))
        mine = left[part.start : part.stop]
        found = torch.empty(len(mine), len(self.ks), dtype=torch.float64, device=self.device)
        every = torch.arange(len(others), device=self.device)
        step = max(1, PAIRS // len(others))
        for first in range(0, len(mine), step):
            i = mine[first : first + step]
            pairs = (i.repeat_interleave(len(every)), every.repeat(len(i)))
            values = squared_distances(rows, pairs[0], others, pairs[1], self.device).view(len(i), -1)
            if weights is not None:
                values = (values * weights).masked_fill(weights == 0, torch.inf)
            if same:
                values[torch.arange(len(i)), i] = torch.inf
            near = values.topk(max(self.ks), dim=1, largest=False).values
            found[first : first + step] = near[:, [k - 1 for k in self.ks]]
        return self.split.joined(found, len(left))


def _hide_selves(block: Block, numbers: torch.Tensor) -> None:
    """No row, of which `numbers` are the places among the others, is its own neighbour."""
    own = numbers[block.i]
    here = ((own >= block.j.start) & (own < block.j.stop)).nonzero()[:, 0]
    block.lower[here, own[here] - block.j.start] = torch.inf


def _lowest(values: torch.Tensor, index: torch.Tensor, keep: int) -> tuple[torch.Tensor, torch.Tensor]:
    near = values.topk(keep, dim=1, largest=False)
    return near.values, index.gather(1, near.indices)
