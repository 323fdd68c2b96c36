"""How do processes that accelerate started split one computation and put its parts together?

What is shared are blocks of distances; every process holds all features. Sums, minima and unions of exact
numbers do not depend on the split, so results are the same bits for any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, overload

import torch
from accelerate import PartialState
from accelerate.utils import gather

Item = TypeVar("Item")


class WorkSplit:
    """This process's part of the work; all of it where there is one process."""

    def __init__(self, processes: PartialState | None = None):
        self.state = processes
        self.num = 1 if processes is None else processes.num_processes
        self.index = 0 if processes is None else processes.process_index

    @overload
    def mine(self, items: range) -> range: ...

    @overload
    def mine(self, items: Sequence[Item]) -> Sequence[Item]: ...

    def mine(self, items: Sequence[Item]) -> Sequence[Item]:
        """One of `num` contiguous parts, equal up to one item."""
        return items[len(items) * self.index // self.num : len(items) * (self.index + 1) // self.num]

    def stacked(self, part: torch.Tensor) -> torch.Tensor:
        """(processes, ...) the tensors of all, which have one shape."""
        if self.state is None or self.num == 1:
            return part[None]
        sent = part.to(self.state.device)
        if part.dtype == torch.bool:  # which not every backend sends
            return self.stacked(part.to(torch.uint8)).bool()
        return gather(sent[None].contiguous()).to(part.device)

    def joined(self, part: torch.Tensor, num: int) -> torch.Tensor:
        """(num, ...) what `mine` of a sequence of `num` became in each process, in its order."""
        bounds = [num * i // self.num for i in range(self.num + 1)]
        lengths = [end - start for start, end in zip(bounds, bounds[1:], strict=False)]
        padded = part.new_zeros(max(lengths), *part.shape[1:])
        padded[: len(part)] = part
        parts = self.stacked(padded)
        return torch.cat([one[:length] for one, length in zip(parts, lengths, strict=True)])
