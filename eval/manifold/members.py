"""Which points lie in which balls, exactly, and what is counted of it?

Every pair whose lower bound is below the ball's radius is looked at; one whose upper bound is not below it,
too, is decided in float64. Of the members of a block only what the metrics need is kept: the smallest ball of
every point, the number of balls it lies in, and which balls hold any.
"""

from __future__ import annotations

import torch

from eval.manifold.blocks import Block
from eval.manifold.bounds import Bounded, Frame
from eval.manifold.exact import squared_distances
from eval.manifold.sharing import WorkSplit


class Members:
    """Points against the balls of one k."""

    def __init__(
        self, points: Bounded, centres: Bounded, squared_radii: torch.Tensor, frame: Frame, *, closed: bool
    ):
        """`squared_radii` (C,) float64, in the features' own units. `closed`: `in_any` counts borders; a ball
        of radius 0 holds copies of its centre then, and else nothing."""
        self.points, self.centres, self.frame, self.radii = points, centres, frame, squared_radii
        self.reach = frame.threshold(squared_radii * frame.scale**2)
        self.closed = closed
        if not closed:  # copies of a centre without a radius need no look
            self.reach[squared_radii == 0] = -torch.inf
        self.smallest = torch.full((len(points),), torch.inf, dtype=torch.float64, device=frame.device)
        self.num_balls = torch.zeros(len(points), dtype=torch.int64, device=frame.device)
        self.holds = torch.zeros(len(centres), dtype=torch.bool, device=frame.device)
        self.on_border = torch.zeros(len(points), dtype=torch.bool, device=frame.device)
        self.num_decided = torch.zeros((), dtype=torch.int64, device=frame.device)

    def add(self, block: Block) -> None:
        """Count the pairs of a block; its rows are points, its columns centres."""
        at = (block.lower < self.reach[block.j]).nonzero()
        if not len(at):
            return
        i, j = at[:, 0] + block.i.start, at[:, 1] + block.j.start
        inside, border = self._decide(i, j, block.lower[at[:, 0], at[:, 1]])
        self.on_border[i[border]] = True
        i, j = i[inside], j[inside]
        self.smallest.scatter_reduce_(0, i, self.radii[j], "amin")
        self.num_balls += torch.bincount(i, minlength=len(self.num_balls))
        self.holds[j] = True

    def _decide(self, i: torch.Tensor, j: torch.Tensor, lower: torch.Tensor):
        """(inside, on the border) of candidate pairs."""
        width = self.points.width[i] + self.centres.width[j]
        _, high = self.frame.bracket(lower, width, self.points.extra[i] + self.centres.extra[j])
        inside = high < self.radii[j] * self.frame.scale**2
        border = torch.zeros_like(inside)
        doubt = (~inside).nonzero()[:, 0]
        self.num_decided += len(doubt)
        rows = (self.points.rows, i[doubt], self.centres.rows, j[doubt])
        exact = squared_distances(*rows, self.frame.device)
        inside[doubt] = exact < self.radii[j[doubt]]
        border[doubt] = exact == self.radii[j[doubt]]
        return inside, border

    def merge(self, split: WorkSplit) -> None:
        """Take in what the other processes counted."""
        self.smallest = split.stacked(self.smallest).amin(0)
        self.num_balls = split.stacked(self.num_balls).sum(0)
        self.num_decided = split.stacked(self.num_decided).sum(0)
        for name in ("holds", "on_border"):
            setattr(self, name, split.stacked(getattr(self, name)).any(0))

    def in_any(self) -> torch.Tensor:
        """(P,) bool: points that lie in a ball."""
        inside = self.num_balls > 0
        return inside | self.on_border if self.closed else inside
