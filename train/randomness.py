"""Which data and which random numbers does a step see?

Both are functions of (seed, step) alone, drawn for the whole global batch and then sliced by process and
micro-batch. So resuming, accumulating or changing the number of processes cannot change a trajectory.
"""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from named parts; stable over processes and Python versions."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of everything random in one step (levels, noise, dropout, augmentation)."""
    return torch.Generator().manual_seed(seed_of(seed, "step", step))


def which(shares: Sequence[float], uniform: torch.Tensor) -> torch.Tensor:
    """Numbers in [0, 1) as indices of shares that sum to 1, int64 on the CPU."""
    bounds = torch.tensor(shares, dtype=torch.float64).cumsum(0)
    return torch.searchsorted(bounds, uniform.cpu().double(), right=True).clamp(max=len(shares) - 1)


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of every global batch is one process's own."""

    process: int
    num_processes: int
    start: int
    stop: int


class Order(abc.ABC):
    """The items of every global batch."""

    @abc.abstractmethod
    def items(self, step: int) -> np.ndarray:
        """Numbers of the items of `step`, int64 (batch_size,)."""

    def place(self) -> dict[str, Any] | None:
        """What a checkpoint keeps for `restore` to go on with the next step; None: the step says it all."""
        return None

    def restore(self, place: dict[str, Any]) -> None:
        """Go on from there."""
        raise AssertionError("an order without a place has nothing to restore")

    def close(self) -> None:
        """Nothing more is asked for."""
        return


class LookAhead(Order):
    """Another order, of which it is told what comes next."""

    def __init__(
        self, order: Order, share: Share, tell: Callable[[np.ndarray], None], steps: int | None = None
    ):
        """`order` must be a function of the step alone; `tell` gets this process's items of every step, while
        those of the one before are asked for, up to the last of `steps` (None: without end), and none when
        it is closed."""
        self.order, self.share, self.tell, self.steps = order, share, tell, steps
        self.next = -1, np.empty(0, dtype=np.int64)

    def items(self, step: int) -> np.ndarray:
        known, items = self.next
        if known != step:
            items = self._told(step)
        if step + 1 != self.steps:
            self.next = step + 1, self._told(step + 1)
        return items

    def close(self) -> None:
        self.tell(np.empty(0, dtype=np.int64))

    def _told(self, step: int) -> np.ndarray:
        items = self.order.items(step)
        self.tell(items[self.share.start : self.share.stop])
        return items


class DataOrder(Order):
    """The items of every global batch, each item as often as any other.

    Without groups, consecutive slices of one shuffle per epoch. Where items are grouped (by size), a batch is
    such a slice of one group's own shuffles. A group of n items has n / batch_size batches in an epoch on
    average: one that is smaller than a batch has none in most, and where its batches fall is drawn, so that a
    short run favours no size.
    """

    def __init__(self, seed: int, batch_size: int, num_items: int, groups: np.ndarray | None = None):
        self.seed, self.batch_size, self.num_items = seed, batch_size, num_items
        members = [] if groups is None else [np.flatnonzero(groups == g) for g in np.unique(groups)]
        self.members = members if len(members) > 1 else []
        self.sizes = np.array([len(each) for each in self.members], dtype=np.int64)
        first = seed_of(seed, "phase") % batch_size
        # What each group has of a batch before epoch 0. Laid end to end, so that this epoch has as many
        # batches as one without groups.
        self.phases = (first + np.cumsum(self.sizes) - self.sizes) % batch_size
        self._shuffles: dict[tuple[str | int, ...], dict[int, np.ndarray]] = {}

    def items(self, step: int) -> np.ndarray:
        """Indices of the global batch of `step`, int64 (batch_size,)."""
        if not self.members:
            return self._slice(step, self.num_items)
        epoch = self._epoch_of(step)
        before, after = self._num_batches(epoch), self._num_batches(epoch + 1)
        place = step - int(before.sum())
        batch = int(self._shuffled(epoch, int((after - before).sum()), "batches")[place])
        ends = np.cumsum(after - before)
        group = int(np.searchsorted(ends, batch, side="right"))
        number = int(after[group] - (ends[group] - batch))
        return self.members[group][self._slice(number, len(self.members[group]), group)]

    def _num_batches(self, epoch: int) -> np.ndarray:
        """Of every group before an epoch, int64 (groups,)."""
        return (epoch * self.sizes + self.phases) // self.batch_size

    def _epoch_of(self, step: int) -> int:
        """The epoch whose batches hold that of `step`; an epoch of few items may hold none."""
        epoch = step * self.batch_size // self.num_items
        while self._num_batches(epoch).sum() > step:
            epoch -= 1
        while self._num_batches(epoch + 1).sum() <= step:
            epoch += 1
        return epoch

    def _slice(self, number: int, num: int, *group: int) -> np.ndarray:
        """Batch `number` of the shuffles of `num` items, which follow one another."""
        positions = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs, offsets = np.divmod(positions, num)
        items = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            items[here] = self._shuffled(int(epoch), num, "epoch", *group)[offsets[here]]
        return items

    def _shuffled(self, epoch: int, num: int, what: str, *group: int) -> np.ndarray:
        """A permutation, kept while this epoch or the next is asked for: of a million items one takes longer
        than many a step."""
        kept = self._shuffles.setdefault((what, *group), {})
        if epoch not in kept:
            for old in [each for each in kept if each != epoch - 1]:
                del kept[old]
            kept[epoch] = np.random.default_rng(seed_of(self.seed, what, epoch, *group)).permutation(num)
        return kept[epoch]
