"""How is a picture that is larger than the base's own drawn, a part at a time and without seams?

All parts of one latent picture are asked at the same level, and their clean estimates are averaged where they
overlap, before the step is made (Bar-Tal et al. 2023, arXiv 2302.08113, eq. 5; weights that fall towards the
borders, as Jimenez 2023, arXiv 2302.02412, has them). So there is one picture at every step, whose parts know
of each other through what they share; nothing is stitched at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from unicon.bases import BaseSize
from unicon.call.network import BranchNetwork
from unicon.sampling.guidance import Variant
from unicon.sampling.levels import Levels

OVERLAP = 0.5
"""Share of a part that its neighbour sees, too, at least."""
MOST_CACHED = 16
"""Parts whose clean branches are computed once; of more, the cache would outgrow what is drawn."""


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a latent picture, in cells."""

    top: int
    left: int
    height: int
    width: int

    @property
    def cells(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def of(self, x: Tensor) -> Tensor:
        """The part of x (..., h, w)."""
        return x[(..., *self.cells)]

    def weight(self) -> Tensor:
        """(height, width), above 0: 1 in the middle, falling towards the borders."""
        down, across = (_hill(side) for side in (self.height, self.width))
        return down[:, None] * across


def windows(height: int, width: int, side: int) -> list[Window]:
    """Windows of `side` cells (or the whole, where that is less) that cover a picture, spread evenly."""
    tall, wide = min(height, side), min(width, side)
    return [Window(t, left, tall, wide) for t in _starts(height, tall) for left in _starts(width, wide)]


def shares(parts: Sequence[Window], x: Tensor) -> list[Tensor]:
    """Their weights over the sum of the weights of all that see a cell, as x (..., h, w) is: at each cell
    they add up to 1."""
    total = torch.zeros(x.shape[-2:], dtype=x.dtype, device=x.device)
    for part in parts:
        total[part.cells] += part.weight().to(x)
    return [part.weight().to(x) / part.of(total) for part in parts]


def _starts(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    step = max(1, int(side * (1 - OVERLAP)))
    num = -(-(length - side) // step) + 1
    return [round(i * (length - side) / (num - 1)) for i in range(num)]


def _hill(side: int) -> Tensor:
    middle = (side - 1) / 2
    return 1 - (torch.arange(side) - middle).abs() / (middle + 1)


@dataclass(kw_only=True, slots=True, eq=False)
class TiledNetwork:
    """The network of a call on overlapping windows; the same `evaluate` as one on the whole."""

    networks: Sequence[BranchNetwork]
    """One per window, each with the cache of its own."""
    windows: Sequence[Window]
    _shares: list[Tensor] | None = field(default=None, init=False)
    """By window, how much of the average its estimate is; the same in every step."""

    @classmethod
    def of(cls, network: BranchNetwork, cells: tuple[int, int], side: int) -> TiledNetwork:
        """For latents of `cells` (height, width), on windows of `side` cells."""
        parts = windows(*cells, side)
        shortcut = network.shortcut and len(parts) <= MOST_CACHED
        return cls(networks=[replace(network, shortcut=shortcut) for _ in parts], windows=parts)

    def evaluate(self, x: Tensor, levels: Levels, variants: Sequence[Variant]) -> Tensor:
        """See `BranchNetwork.evaluate`."""
        if self._shares is None:
            self._shares = shares(self.windows, x)
        total = torch.zeros(len(variants), *x.shape, dtype=x.dtype, device=x.device)
        for network, window, share in zip(self.networks, self.windows, self._shares, strict=True):
            total[(..., *window.cells)] += share * network.evaluate(window.of(x), levels, variants)
        return total

    def forget(self) -> None:
        """See `BranchNetwork.forget`."""
        for network in self.networks:
            network.forget()


def tile_cells(tile_size: int | None, base: BaseSize, factor: int) -> int | None:
    """Sides of the windows in latent cells of `factor` pixels; None for none.

    Raises ValueError for a size off the base's latent grid.
    """
    if tile_size is None:
        return None
    if tile_size % base.multiple_px:
        raise ValueError(
            f"tile_size is {tile_size}; expected a multiple of {base.multiple_px} pixels, this base's latent "
            f"grid, such as {base.own_px}; or 0 for the base's own size"
        )
    return (tile_size or base.own_px) // factor
