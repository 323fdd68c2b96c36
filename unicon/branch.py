"""What does a user ask of one branch, and what does it do then?

The truth table of the pipeline. For the image and for every condition alike:

    picture given   noise         hold    mask    asked for   the branch
    no              none or 1     -       no      -           runs from pure noise
    yes             none or 0     -       no      no          is held CLEAN
    yes             in (0, 1]     no      no      -           starts there and is denoised to clean
    yes             in (0, 1]     yes     no      -           is held at that level
    yes             none or > 0   no      yes     -           runs; outside the mask it stays as given

Everything else contradicts itself and raises ValueError. The image is always in the run; a condition is when
its picture is given or it is asked for in `outputs`. What comes back is what was asked for, or every branch
that runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unicon.sampling.plans import BranchPlan, Known, Stage, hold, run, staged

IMAGE = "image"
"""Name of the image branch; conditions carry their adapter's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """What is known and wanted of one branch; every field is optional."""

    map: Any = None
    """Its picture: PIL image, float array in [0, 1] or uint8 (H, W[, 3]), tensor (3, H, W), or a list of them."""
    noise: float | None = None
    """Fraction of the grid in [0, 1] at which it starts: 0 is clean, 1 pure noise."""
    hold: bool = False
    """Keep it at `noise` all the run long instead of denoising it."""
    weight: float = 1.0
    """How strongly it is read by the image (ignored for the image itself)."""
    prompt: str | Sequence[str] | None = None
    """Its own prompt; none: the adapter's trigger words and the image's prompt."""
    negative_prompt: str | Sequence[str] | None = None
    mask: Any = None
    """White (1) where it is generated, black (0) where it is kept as given."""
    mask_guidance: float = 0.0
    """Weight of reconstruction guidance beside the replacement of the known part; 0 is replacement alone."""
    guidance_scale: float | None = None
    """Classifier-free guidance of this branch; none: the call's for the image, 1 (off) for a condition."""
    stages: tuple[Stage, ...] = ()
    """Progress (from, to) in every stage of an asynchronous run, 0 pure noise, 1 clean; replaces `noise`."""

    def __post_init__(self) -> None:
        if self.noise is not None and not 0 <= self.noise <= 1:
            raise ValueError(f"noise is a fraction of the grid from 0 (clean) to 1 (pure noise), got {self.noise}")
        if self.mask_guidance and self.mask is None:
            raise ValueError(f"mask_guidance={self.mask_guidance} needs a mask; give one, or leave it out")


def plan_branch(name: str, branch: Branch, *, asked: bool, known: Known | None = None) -> BranchPlan:
    """The row of the truth table (see the module) that `branch` falls into; ValueError where it is in none."""
    given = branch.map is not None
    if branch.mask is not None and not given:
        raise ValueError(f"{name}: a mask says which part of a picture to keep, but no picture is given")
    if branch.stages:
        return _staged(name, branch, known)
    if not given:
        return _from_noise(name, branch)
    if branch.mask is not None:
        return _masked(name, branch, known)
    noise = branch.noise or 0.0
    if branch.hold or noise == 0:
        if asked:
            raise ValueError(
                f"{name}: its picture is given and held, so there is nothing to generate; "
                f"take {name!r} out of outputs, or give it noise"
            )
        return hold(name, noise)
    return run(name, noise)


def _staged(name: str, branch: Branch, known: Known | None) -> BranchPlan:
    if branch.noise is not None or branch.hold:
        raise ValueError(f"{name}: stages say where the branch is at every time; leave out noise and hold")
    if branch.map is None and branch.stages[0][0] > 0:
        raise ValueError(f"{name}: its first stage starts at {branch.stages[0][0]}, so its picture must be given")
    return staged(name, *branch.stages, known=known)


def _from_noise(name: str, branch: Branch) -> BranchPlan:
    if branch.noise not in (None, 1.0) or branch.hold:
        raise ValueError(
            f"{name}: noise={branch.noise}, hold={branch.hold} start from a picture, but none is given; "
            "give its picture, or leave both out to start from pure noise"
        )
    return run(name)


def _masked(name: str, branch: Branch, known: Known | None) -> BranchPlan:
    if branch.hold or branch.noise == 0:
        raise ValueError(f"{name}: a masked branch runs where its mask is white; leave out hold and noise=0")
    return run(name, 1.0 if branch.noise is None else branch.noise, known=known)
