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
    """The items of every global batch: consecutive slices of one shuffle per epoch, none skipped.

    Where items are grouped (by size), a batch has items of one group. The last batch of a group is filled up
    with items of that group that the epoch has seen already.
    """

    def __init__(self, seed: int, batch_size: int, num_items: int, groups: np.ndarray | None = None):
        self.seed, self.batch_size, self.num_items = seed, batch_size, num_items
        # One group alone needs no filling up: its epochs follow one another within a batch.
        members = [] if groups is None else [np.flatnonzero(groups == g) for g in np.unique(groups)]
        self.members = members if len(members) > 1 else []
        self._shuffles: dict[tuple[str | int, ...], np.ndarray] = {}

    def items(self, step: int) -> np.ndarray:
        """Indices of the global batch of `step`, int64 (batch_size,)."""
        if not self.members:
            return self._of_one_group(step)
        per_epoch = sum(-(-len(members) // self.batch_size) for members in self.members)
        epoch, place = divmod(step, per_epoch)
        order = self._shuffled("batches", epoch, per_epoch)
        return self._batch(epoch, int(order[place]))

    def _of_one_group(self, step: int) -> np.ndarray:
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, offsets = np.divmod(positions, self.num_items)
        items = np.empty(self.batch_size, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            items[here] = self._shuffled("epoch", int(epoch), self.num_items)[offsets[here]]
        return items

    def _batch(self, epoch: int, number: int) -> np.ndarray:
        """Batch `number` of an epoch, counted group by group."""
        for group, members in enumerate(self.members):
            batches = -(-len(members) // self.batch_size)
            if number < batches:
                order = members[self._shuffled("epoch", epoch, len(members), group)]
                return np.resize(np.roll(order, -number * self.batch_size), self.batch_size)
            number -= batches
        raise AssertionError("a batch number below the epoch's length belongs to a group")

    def _shuffled(self, what: str, epoch: int, num: int, *group: int) -> np.ndarray:
        """A permutation, kept while this epoch or the next is asked for: of a million items one takes longer
        than many a step."""
        key = (what, epoch, *group)
        if key not in self._shuffles:
            order = np.random.default_rng(seed_of(self.seed, *key)).permutation(num)
            current = {k: kept for k, kept in self._shuffles.items() if k[1] in (epoch - 1, epoch)}
            self._shuffles = {**current, key: order}
        return self._shuffles[key]
