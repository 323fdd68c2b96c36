"""What does a user ask of one branch, and what does it do then?

The truth table of the pipeline. For the image and for every condition alike:

    picture given   noise         hold    mask    asked for   the branch
    no              none or 1     no      no      -           runs from pure noise
    yes             none or 0     -       no      no          is held CLEAN
    yes             in (0, 1]     no      no      -           starts there and is denoised to clean
    yes             in (0, 1]     yes     no      no          is held at that level
    yes             none or > 0   no      yes     -           runs; where the mask is black it stays as given

`stages` replaces `noise` and `hold` in asynchronous runs. Everything else contradicts itself and raises
ValueError. Which branches there are, and what comes back, is the business of `unicon.call.request`.

Coarse control has two forms. Held (`noise=0.4, hold=True`) the picture is sampled given exactly that noisy
map, with every solver. Refined (`noise=0.4`) the map is denoised along with the picture. Pairs then have the
right joint law, but for one given map a deterministic solver turns it and a given noise into one outcome and
does not reach the exact posterior, however many steps; solvers that add noise do (`eta=1`, or an ancestral
scheduler; measured in `benchmarks/closed_form.py`). So hold the map, unless the refined map itself is wanted,
and refine with a solver that adds noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unicon.ranges import Range
from unicon.sampling.plans import BranchPlan, Stage, hold, run, staged

IMAGE = "image"
"""Name of the image branch; conditions carry their adapter's name."""

_OFF = "0 switches it off"
_ALLOWED = {
    "noise": Range(
        least=0, most=1, optional=True, hint="it is a fraction of the run, 0 is clean and 1 pure noise"
    ),
    "weight": Range(hint=_OFF),
    "reads": Range(hint=_OFF),
    "mask_guidance": Range(least=0, hint=_OFF),
    "guidance_scale": Range(least=0, optional=True, hint="1 is off"),
}
_PROGRESS = Range(least=0, most=1, hint="0 is pure noise, 1 clean")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Branch:
    """What is known and wanted of one branch; every field is optional."""

    map: Any = None
    """Its picture: a file, PIL image, array (H, W[, 3]) or tensor (3, H, W) of floats in [0, 1], uint8 or
    uint16, or a list of them, one per sample. None: it is generated."""
    noise: float | None = None
    """Fraction of the grid in [0, 1] at which it starts: 0 is clean, 1 pure noise. None: 0 where its picture
    is given whole, else 1."""
    hold: bool = False
    """Keep it at `noise` all the run long instead of denoising it."""
    weight: float = 1.0
    """How strongly the image reads it, any number, 0 is not at all; conditions only."""
    reads: float = 1.0
    """How strongly it reads the image in turn, any number; conditions only."""
    prompt: str | Sequence[str] | None = None
    """Its own prompt, to which a condition adds its adapter's trigger words; none: the image's prompt."""
    negative_prompt: str | Sequence[str] | None = None
    """Its own; none: the call's for the image, the trigger words alone for a condition."""
    mask: Any = None
    """White (1) where it is generated, black (0) where it is kept as given. None: all is treated
    alike."""
    mask_guidance: float = 0.0
    """Weight of reconstruction guidance beside the replacement of the known part, from 0, which is
    replacement alone. Needs a mask."""
    guidance_scale: float | None = None
    """Classifier-free guidance of this branch, from 0; none: the call's for the image, 1 (off) for a
    condition. The unprompted half of the image's guidance reads a condition as it is, or, if the condition
    has a scale other than 1, its unprompted half."""
    stages: tuple[Stage, ...] = ()
    """Progress (from, to) in every stage of an asynchronous run, 0 pure noise, 1 clean; replaces `noise`."""

    def __post_init__(self) -> None:
        for field, allowed in _ALLOWED.items():
            allowed.check(field, getattr(self, field))
        for stage in self.stages:
            if not isinstance(stage, Sequence) or isinstance(stage, str) or len(stage) != 2:
                raise ValueError(f"stages are pairs (from, to) of progress, got {stage!r}")
            for progress in stage:
                _PROGRESS.check("each number of stages", progress)
        if self.mask_guidance and self.mask is None:
            raise ValueError(f"mask_guidance={self.mask_guidance} needs a mask; give one, or leave it out")


def plan_branch(name: str, branch: Branch, *, asked: bool) -> BranchPlan:
    """The row of the truth table (see the module) that `branch` falls into; ValueError if it is in none."""
    if branch.mask is not None and branch.map is None:
        raise ValueError(
            f"{name}: a mask says which part of a picture to keep, but no picture is given; give it"
        )
    plan = _row(name, branch)
    if asked and not plan.moves:
        raise ValueError(
            f"{name}: its picture is given and held, so there is nothing to generate; "
            f"take {name!r} out of outputs, or give it noise"
        )
    return plan


def _row(name: str, branch: Branch) -> BranchPlan:
    if branch.stages:
        return _staged(name, branch)
    if branch.map is None:
        return _from_noise(name, branch)
    if branch.mask is not None:
        return _masked(name, branch)
    noise = branch.noise or 0.0
    return hold(name, noise) if branch.hold or noise == 0 else run(name, noise)


def _staged(name: str, branch: Branch) -> BranchPlan:
    if branch.noise is not None or branch.hold:
        raise ValueError(f"{name}: stages say where the branch is at every time; leave out noise and hold")
    plan = staged(name, *branch.stages)
    if branch.map is None and plan.stages[0][0] > 0:
        raise ValueError(
            f"{name}: its first stage starts at {plan.stages[0][0]}, so its picture must be given"
        )
    if branch.mask is not None and not plan.moves:
        raise ValueError(f"{name}: a masked branch runs where its mask is white, but its stages never move")
    return plan


def _from_noise(name: str, branch: Branch) -> BranchPlan:
    if branch.noise not in (None, 1.0) or branch.hold:
        raise ValueError(
            f"{name}: noise={branch.noise}, hold={branch.hold} start from a picture, but none is given; "
            "give its picture, or leave both out to start from pure noise"
        )
    return run(name)


def _masked(name: str, branch: Branch) -> BranchPlan:
    if branch.hold or branch.noise == 0:
        raise ValueError(f"{name}: a masked branch runs where its mask is white; leave out hold and noise=0")
    return run(name, 1.0 if branch.noise is None else branch.noise)
