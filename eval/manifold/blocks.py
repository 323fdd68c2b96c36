"""In which order are all pairs of two sets met, without ever holding them all?

Blocks of lower bounds (`eval.manifold.bounds`), at most `size` x `size`. Of a set with itself only half
of the blocks are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from eval.manifold.bounds import Bounded, Frame, products
from eval.manifold.sharing import Share

SIZE = 2048
"""Rows of a block, either way, unless told otherwise: 16 MiB of float32."""


@dataclass(frozen=True, slots=True)
class Block:
    """Pairs of the rows `i` of one set and `j` of another."""

    i: slice
    j: slice
    lower: torch.Tensor
    """Their lower bounds, over 1 - t: what `Frame.bracket` and `Frame.threshold` speak of."""

    @property
    def transposed(self) -> Block:
        """The same pairs, the other set first."""
        return Block(self.j, self.i, self.lower.T.contiguous())


def blocks(a: Bounded, b: Bounded, frame: Frame, size: int, share: Share) -> Iterator[Block]:
    """This process's blocks of `a` x `b`."""
    tiles = [(i, j) for i in _slices(len(a), size) for j in _slices(len(b), size)]
    return _blocks(a, b, frame, share.mine(tiles))


def half_blocks(a: Bounded, frame: Frame, size: int, share: Share) -> Iterator[Block]:
    """This process's blocks of `a` x `a` on and above the diagonal; of a row with itself: inf."""
    rows = _slices(len(a), size)
    tiles = [(i, j) for n, i in enumerate(rows) for j in rows[n:]]
    for block in _blocks(a, a, frame, share.mine(tiles)):
        if block.i == block.j:
            block.lower.fill_diagonal_(torch.inf)
        yield block


def _slices(num: int, size: int) -> list[slice]:
    """Of nearly one length, none above `size`."""
    count = -(-num // size)
    bounds = [num * n // count for n in range(count + 1)]
    return [slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False)]


def _blocks(a: Bounded, b: Bounded, frame: Frame, tiles) -> Iterator[Block]:
    at, left = None, torch.empty(0)
    for i, j in tiles:
        if i != at:
            at, left = i, frame.cast(a.rows[i])[0].mul_(-2)
        right = frame.cast(b.rows[j])[0]
        with products(frame.dtype):
            lower = left @ right.T
        yield Block(i, j, lower.add_(a.low[i][:, None]).add_(b.low[j]))
