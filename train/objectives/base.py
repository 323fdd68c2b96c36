"""What must an objective offer the loop?

Its forward takes item indices and the random draws for them and returns one loss per item, so that the loop
may split a batch over processes and micro-batches without changing the sum.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from train.randomness import DataOrder, Order, Share


class Draws(Mapping[str, torch.Tensor]):
    """Random numbers of a batch by name, each with the item as its first dimension, on the CPU.

    What is decided by them is decided there, and only what a network takes is moved: a decision on the
    device would make the host wait for all the work that is queued. (No dict, which DDP would move.)
    """

    def __init__(self, **drawn: torch.Tensor):
        self._drawn = drawn

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._drawn[name]

    def __setitem__(self, name: str, drawn: torch.Tensor) -> None:
        self._drawn[name] = drawn

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawn)

    def __len__(self) -> int:
        return len(self._drawn)

    def part(self, start: int, stop: int) -> Draws:
        """The draws of items start..stop."""
        return Draws(**{name: value[start:stop] for name, value in self.items()})


class Objective(nn.Module, abc.ABC):
    """A training objective: parameters that require gradients are the ones trained."""

    @property
    @abc.abstractmethod
    def num_items(self) -> int | None:
        """Size of the training set; None: nobody knows, it is a stream with an `order` of its own."""

    @property
    def device(self) -> torch.device:
        """Where its networks are."""
        return next(self.parameters()).device

    @property
    def groups(self) -> np.ndarray | None:
        """Which items may share a batch, int (num_items,): those of one group. None: all."""
        return None

    def order(self, seed: int, batch_size: int, share: Share, steps: int | None = None) -> Order:
        """Which items are seen when, by one process, in so many steps (None: without end)."""
        assert self.num_items is not None, "a stream has an order of its own"
        return DataOrder(seed, batch_size, self.num_items, self.groups)

    @abc.abstractmethod
    def draw(self, generator: torch.Generator, items: torch.Tensor) -> Draws:
        """Everything random in a batch of these items; of their number and size alone."""

    @abc.abstractmethod
    def forward(self, items: np.ndarray, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Loss per item (n,) and parts of it to log, each (n,), NaN where one is not about an item."""

    def validate(self) -> tuple[dict[str, float], Image.Image] | None:
        """Numbers by name and a picture of what is learnt so far; None where there is nothing to look at."""
        return None

    @abc.abstractmethod
    def export(self, folder: Path) -> None:
        """Write what was learnt in the layout its users load."""

    def trained(self) -> dict[str, nn.Parameter]:
        """The trained tensors by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def among(values: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Values (n,) to log, of items that are `active`; NaN for the others, of which they say nothing."""
    return torch.where(active > 0, values, torch.nan)


def hold(objective: Objective, name: str, grafted: nn.Module) -> None:
    """Keep what is grafted into a network without listing it as a part of its own.

    It is found in the network; found twice, its tensors could not be spread over processes (FSDP).
    """
    object.__setattr__(objective, name, grafted)


def named(module: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """What of a module is trained, by names behind one of its own."""
    return {f"{name}.{each}": p for each, p in module.named_parameters() if p.requires_grad}
