"""What does each branch do in a run?

A plan is data: for each branch a path of progress, from 0 (pure noise) to 1 (CLEAN), in one or several
stages. Which branch gets noise is the direction of the whole method:

    Plan((run("image"), hold("depth")))              control: a picture from a clean map
    Plan((hold("image"), run("depth")))              estimation
    Plan((run("image"), run("depth")))               joint generation
    Plan((run("image"), hold("depth", noise=0.5)))   coarse control, the map held noisy
    Plan((run("image"), run("depth", noise=0.5)))    coarse control, the map refined while the picture forms
    Plan((run("image", noise=0.6), hold("depth")))   editing
    Plan((staged("image", (0, 1), (1, 1)), staged("depth", (0, 0), (0, 1))))   asynchronous: picture first

`Plan.resolve` turns it into the levels of every branch before and after every step. How a step is made is the
business of `solvers` and `loop`; what a branch holds at the start, and its noise, too.

Branches that share a stage but not its length: the branch with the longest way sets the number of steps,
and the others are stretched over it, as in the published method. There a stretched branch stays on the
shared grid, so it stands still in some steps and jumps a whole one in others. Here it moves a little in
every step, to levels between those of the grid; `resolve(published=True)` gives the published levels.
Waiting instead of stretching (both branches end on the same levels) is a plan with stages: staged("image",
(0, .5), (.5, 1)), staged("depth", (.5, .5), (.5, 1)).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unicon.sampling.grids import Grid, steps_for_noise
from unicon.sampling.levels import Levels

Stage = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Known:
    """The given part of a branch, set to its clean latent at the branch's own level after every step."""

    clean: Tensor
    """The clean latent, [sample, C, H, W]; read where `mask` is 0."""
    mask: Tensor
    """1 where the branch is generated, 0 where it is known; broadcastable to `clean`, may be soft."""
    weight: float = 0.0
    """Reconstruction guidance beside the replacement (Ho et al. 2022, w_r); 0 is replacement alone."""

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"reconstruction weight must be 0 or above, got {self.weight}")
        try:
            fits = torch.broadcast_shapes(self.mask.shape, self.clean.shape) == self.clean.shape
        except RuntimeError:
            fits = False
        if not fits:
            raise ValueError(
                f"mask {tuple(self.mask.shape)} does not broadcast to latents {tuple(self.clean.shape)}"
            )
        if not bool(((self.mask >= 0) & (self.mask <= 1)).all()):
            raise ValueError("mask values must be from 0 (known) to 1 (generated)")

    def keep(self, x: Tensor, clean: Tensor | None = None) -> Tensor:
        """x where it is generated, and the clean latent (or `clean` in its place) where it is known."""
        mask = self.mask.to(x)
        return mask * x + (1 - mask) * (self.clean.to(x) if clean is None else clean)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BranchPlan:
    """One branch: its name and its progress (from, to) in every stage. Made by `run`, `hold` and `staged`."""

    name: str
    stages: tuple[Stage, ...]
    known: Known | None = None

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError(f"branch {self.name!r} has no stages; give at least one (from, to)")
        for start, end in self.stages:
            if not 0 <= start <= end <= 1:
                raise ValueError(
                    f"branch {self.name!r}: a stage goes from one progress in [0, 1] to the same or a later "
                    f"one (0 is pure noise, 1 is clean), got ({start}, {end})"
                )
        for (_, end), (start, _) in zip(self.stages[:-1], self.stages[1:], strict=True):
            if end != start:
                raise ValueError(
                    f"branch {self.name!r}: a stage ends at progress {end}, the next starts at {start}"
                )

    @property
    def moves(self) -> bool:
        return self.stages[0][0] < self.stages[-1][1]

    @property
    def is_drawn(self) -> bool:
        """Whether it has noise at first."""
        return self.stages[0][0] < 1

    @property
    def is_given_clean(self) -> bool:
        """Whether it is CLEAN in some step, for others to read."""
        return any(start == 1 for start, _ in self.stages)


def run(name: str, noise: float = 1.0, known: Known | None = None) -> BranchPlan:
    """Denoise a branch to clean, from pure noise or from a noise fraction of the grid in (0, 1]."""
    return BranchPlan(name=name, stages=((_progress(name, noise), 1.0),), known=known)


def hold(name: str, noise: float = 0.0) -> BranchPlan:
    """Keep a branch where it is: CLEAN, or at a noise fraction of the grid."""
    progress = _progress(name, noise)
    return BranchPlan(name=name, stages=((progress, progress),))


def staged(name: str, *stages: Stage) -> BranchPlan:
    """A branch with a (from, to) of its own in every stage of an asynchronous plan."""
    return BranchPlan(name=name, stages=stages)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What all branches do, in batch order. A branch that is held need not repeat its stage."""

    branches: tuple[BranchPlan, ...]

    def __post_init__(self) -> None:
        names = [branch.name for branch in self.branches]
        if len(set(names)) < len(names):
            raise ValueError(f"branch names must differ, got {', '.join(names)}")
        if not any(branch.moves for branch in self.branches):
            raise ValueError(
                f"nothing runs in this plan ({', '.join(names) or 'it has no branches'}); "
                "give at least one branch noise"
            )
        counts = {branch.name: len(branch.stages) for branch in self.branches if branch.moves}
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"branches must have the same number of stages, got {counts}; repeat (p, p) to wait"
            )
        for index, stage in enumerate(zip(*self._stages(), strict=True)):
            if all(start == end for start, end in stage):
                raise ValueError(f"nothing runs in stage {index + 1} of this plan; leave it out")

    def resolve(self, grid: Grid, *, published: bool = False) -> Trajectory:
        """The levels of every branch at every step of a run over `grid`.

        A stage takes as many steps as the longest way in it has on the grid, so pure noise to clean takes
        `grid.num_steps`, and a whole plan may take more or fewer. A branch that runs starts at the whole
        step nearest to its fraction (`steps_for_noise`); one that only holds sits exactly at it.
        `published` reproduces the levels of the published code, where a clean branch sits at the last
        timestep and takes one step, the very last.
        """
        stages, num = self._stages(), grid.num_steps
        positions = _published_positions(stages, num) if published else _positions(stages, num)
        return Trajectory(
            names=tuple(branch.name for branch in self.branches),
            positions=positions,
            levels=grid.at(positions),
            known={i: branch.known for i, branch in enumerate(self.branches) if branch.known is not None},
        )

    def _stages(self) -> list[tuple[Stage, ...]]:
        """Stages per branch, those of a held branch repeated to the plan's number."""
        count = max(len(branch.stages) for branch in self.branches)
        return [
            branch.stages if len(branch.stages) == count else branch.stages[:1] * count
            for branch in self.branches
        ]


def span(branches: Sequence[int]) -> slice | list[int]:
    """Ascending branches as an index: where they follow one another a slice, which copies nothing, and of
    which a device need not be told."""
    if branches and branches[-1] - branches[0] + 1 == len(branches):
        return slice(branches[0], branches[-1] + 1)
    return list(branches)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """One step of a run."""

    index: int
    level_from: Levels
    """One level per branch; the network is called here."""
    level_to: Levels
    moving: list[int]
    """Branches whose level changes; the others are left alone."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trajectory:
    """A plan on a grid: where every branch is before the first step and after each one."""

    names: tuple[str, ...]
    positions: Tensor
    """Positions on the grid, [num_steps + 1, branch], float64."""
    levels: Levels
    """Levels there, of the same shape."""
    known: dict[int, Known]
    """Known parts by branch index."""

    @property
    def num_steps(self) -> int:
        return len(self.positions) - 1

    def steps(self) -> Iterator[Step]:
        for index in range(self.num_steps):
            moved = self.positions[index + 1] != self.positions[index]
            yield Step(
                index=index,
                level_from=self.levels[index],
                level_to=self.levels[index + 1],
                moving=moved.nonzero().flatten().tolist(),
            )


def _positions(stages: list[tuple[Stage, ...]], num_steps: int) -> Tensor:
    """Grid positions [steps + 1, branch], every branch moving evenly through each stage."""
    ends = torch.tensor([_stage_ends(path, num_steps) for path in stages], dtype=torch.float64).T
    pieces = [ends[:1]]
    for stage, (start, end) in enumerate(zip(ends[:-1], ends[1:], strict=True), start=1):
        count = int((end - start).max())
        if count == 0:
            raise ValueError(f"stage {stage} is less than one of {num_steps} steps; take more steps")
        ramp = torch.arange(1, count + 1, dtype=torch.float64)[:, None] / count
        pieces.append(torch.where(ramp == 1, end, start + (end - start) * ramp))
    return torch.cat(pieces)


def _stage_ends(path: tuple[Stage, ...], num_steps: int) -> list[float]:
    """Where a branch starts and where each stage ends, in steps: whole if it moves, exact if it only
    holds."""
    noise = [1 - path[0][0], *(1 - end for _, end in path)]
    if noise[0] == noise[-1]:
        return [num_steps * (1 - share) for share in noise]
    return [num_steps - steps_for_noise(share, num_steps) for share in noise]


def _published_positions(stages: list[tuple[Stage, ...]], num_steps: int) -> Tensor:
    """The published rule: whole positions up to num_steps - 1, then one last step for all branches."""
    rows: list[list[int]] = []
    for stage in zip(*stages, strict=True):
        spans = [(int(a * (num_steps - 1)), int(b * (num_steps - 1))) for a, b in stage]
        count = max(b - a + 1 for a, b in spans)
        first = int(bool(rows))  # a later stage begins where the one before ended
        rows += [[a + (b - a + 1) * i // count for a, b in spans] for i in range(first, count)]
    return torch.tensor([*rows, [num_steps] * len(stages)], dtype=torch.float64)


def _progress(name: str, noise: float) -> float:
    if not 0 <= noise <= 1:
        raise ValueError(
            f"branch {name!r}: noise is a fraction from 0 (clean) to 1 (pure noise), got {noise}"
        )
    return 1.0 - noise
