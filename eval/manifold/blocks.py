"""In which order are all pairs of two sets met, without ever holding them all?

Blocks of lower bounds (`eval.manifold.bounds`), `size` rows by a quarter as many: rows of a stripe are made
ready for products once, and what they meet passes by in small pieces. Of a set with itself only half of the
blocks are computed, beside the squares on the diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from eval.manifold.bounds import Bounded, Frame, products
from eval.manifold.sharing import WorkSplit

SIZE = 2048
"""Rows of a block unless told otherwise."""
COLUMNS = 4
"""A block has so many times fewer columns than rows."""


@dataclass(frozen=True, slots=True)
class Block:
    """Pairs of the rows `i` of one set and `j` of another."""

    i: slice
    j: slice
    lower: torch.Tensor
    """Their lower bounds, over 1 - t: what `Frame.bracket` and `Frame.threshold` speak of."""

    @property
    def on_diagonal(self) -> bool:
        """Whether a set meets itself here: both ways round are in the square that this block is of."""
        return self.i.start <= self.j.start and self.j.stop <= self.i.stop

    @property
    def transposed(self) -> Block:
        """The same pairs, the other set first."""
        return Block(self.j, self.i, self.lower.T.contiguous())


def blocks(a: Bounded, b: Bounded, frame: Frame, size: int, split: WorkSplit) -> Iterator[Block]:
    """This process's blocks of `a` x `b`."""
    columns = _slices(range(len(b)), -(-size // COLUMNS))
    tiles = [(i, j) for i in _slices(range(len(a)), size) for j in columns]
    return _blocks(a, b, frame, split.mine(tiles))


def half_blocks(a: Bounded, frame: Frame, size: int, split: WorkSplit) -> Iterator[Block]:
    """This process's blocks of `a` x `a`: squares on the diagonal and what is right of them; of a row with
    itself: inf.
    """
    stripes = _slices(range(len(a)), size)
    columns = [_slices(range(i.start, i.stop), -(-size // COLUMNS)) for i in stripes]
    tiles = [(i, j) for n, i in enumerate(stripes) for square in columns[n:] for j in square]
    for block in _blocks(a, a, frame, split.mine(tiles)):
        if block.on_diagonal:
            block.lower[block.j.start - block.i.start :].fill_diagonal_(torch.inf)
        yield block


def _slices(rows: range, size: int) -> list[slice]:
    """Of nearly one length, none above `size`."""
    count = -(-len(rows) // size)
    bounds = [rows.start + len(rows) * n // count for n in range(count + 1)]
    return [slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False)]


def _blocks(a: Bounded, b: Bounded, frame: Frame, tiles: Sequence[tuple[slice, slice]]) -> Iterator[Block]:
    at, left = None, torch.empty(0)
    for i, j in tiles:
        if i != at:
            at, left = i, torch.empty(0)  # gone before the next is made
            left = frame.cast(a.rows[i]).mul_(-2)
        with products(frame.dtype):
            lower = torch.addmm(b.low[j], left, frame.cast(b.rows[j]).T)
        yield Block(i, j, lower.add_(a.low[i][:, None]))
