"""How does a whole run go?

Call the denoiser where the branches are, step those that move, leave the others alone bitwise, put known
parts back, repeat. Prompts, networks, progress bars and devices are the caller's: it wraps the network in a
denoiser and watches the run through a hook. Arithmetic is in the dtype of x (float32 or float64); the
denoiser may compute in any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unicon.sampling.guidance import Denoiser, reconstruct
from unicon.sampling.levels import Levels, add_noise
from unicon.sampling.noise import INITIAL
from unicon.sampling.plans import Step, Trajectory, span
from unicon.sampling.solvers import Past, Solver, heun


class Noise(Protocol):
    """Where noise comes from: `noise.NoiseSource`, or anything that draws like it."""

    def draw(self, branch: str, step: int, shape: Sequence[int]) -> Tensor: ...


@dataclass(kw_only=True, slots=True, eq=False)
class State:
    """What the hook sees after a step; it may assign `x`, and set `stop` to end the run there."""

    index: int
    """The step just made, from 0."""
    num_steps: int
    x: Tensor
    """Latents after the step, [branch, sample, C, H, W]."""
    clean: Tensor
    """Clean estimates the step was made with."""
    levels: Levels
    """Levels of x, one per branch."""
    stop: bool = False


def start(
    trajectory: Trajectory,
    clean: Mapping[str, Tensor],
    noise: Noise,
    shape: Sequence[int],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Latents before the first step, [branch, *shape] with shape (sample, C, H, W).

    A branch that starts at pure noise is its initial noise; CLEAN, it is its clean latent; in between, the
    noised clean latent. `clean` gives those latents by branch name, each broadcastable to `shape`.
    """

    def drawn(name: str) -> Tensor:
        return noise.draw(name, INITIAL, shape[1:]).to(device, dtype)

    branches = []
    for index, name in enumerate(trajectory.names):
        level = trajectory.levels[0, index]
        if float(trajectory.positions[0, index]) == 0:
            branches.append(drawn(name))
        elif name in clean:
            given = clean[name].to(device, dtype).expand(tuple(shape))
            branches.append(given if bool(level.is_clean) else add_noise(given, drawn(name), level))
        else:
            raise ValueError(
                f"branch {name!r} does not start from pure noise, so it needs a latent to start from"
            )
    return torch.stack(branches)


def sample(
    denoise: Denoiser,
    x: Tensor,
    trajectory: Trajectory,
    solver: Solver,
    noise: Noise,
    *,
    on_step: Callable[[State], None] | None = None,
) -> Tensor:
    """Run a trajectory from the latents of `start`; returns the latents at its end.

    denoise: (x, levels) -> clean estimates, both for all branches; called once per step, twice for `heun`.
    Raises ValueError for x in half precision, of the wrong number of branches, or with NaN or infinity in it.
    """
    _check(x, trajectory)
    if any(part.weight > 0 for part in trajectory.known.values()):
        denoise = reconstruct(denoise, trajectory.known)
    past = None
    levels = trajectory.levels.to(x.device, x.dtype)  # once: every transfer waits for the device
    drawn = {i: noise.draw(trajectory.names[i], INITIAL, x.shape[2:]).to(x) for i in trajectory.known}
    x = _put_back(x, trajectory, levels[0], drawn)
    for step in trajectory.steps():
        level_from, level_to = levels[step.index], levels[step.index + 1]
        clean = denoise(x, level_from)
        fresh = _fresh(solver, noise, trajectory, step, x)
        stepped = _advance(x, clean, level_from, level_to, step.moving, solver, past, fresh)
        x = _put_back(stepped, trajectory, level_to, drawn)
        if solver.looks_twice and not bool(step.level_to[step.moving].is_clean.all()):
            corrected = _correct(stepped, clean, denoise(x, level_to), level_from, level_to, step.moving)
            x = _put_back(corrected, trajectory, level_to, drawn)
        past = _remember(clean, level_from, step.moving)
        if on_step is not None:
            state = State(
                index=step.index, num_steps=trajectory.num_steps, x=x, clean=clean, levels=step.level_to
            )
            on_step(state)
            x = state.x
            if state.stop:
                break
    return x


def _advance(
    x: Tensor,
    clean: Tensor,
    level_from: Levels,
    level_to: Levels,
    moving: list[int],
    solver: Solver,
    past: Past | None,
    fresh: Tensor | None,
) -> Tensor:
    """x after one step: moving branches at their next level, the others untouched."""
    at = span(moving)
    moved_past = None if past is None else past[at]
    stepped = solver.step(x[at], clean[at], level_from[at], level_to[at], moved_past, fresh)
    return _replace(x, at, stepped)


def _correct(
    x: Tensor, clean: Tensor, clean_to: Tensor, level_from: Levels, level_to: Levels, moving: list[int]
) -> Tensor:
    """x after the second look of `heun`."""
    at = span(moving)
    return _replace(x, at, heun(x[at], clean[at], clean_to[at], level_from[at], level_to[at]))


def _replace(x: Tensor, branches: slice | list[int], values: Tensor) -> Tensor:
    out = x.clone()
    out[branches] = values
    return out


def _fresh(solver: Solver, noise: Noise, trajectory: Trajectory, step: Step, x: Tensor) -> Tensor | None:
    """New noise for the moving branches, each by its own name."""
    if not solver.draws_noise:
        return None
    drawn = [noise.draw(trajectory.names[i], step.index, x.shape[2:]) for i in step.moving]
    return torch.stack(drawn).to(x)


def _remember(clean: Tensor, levels: Levels, moving: list[int]) -> Past:
    """A branch that stood still has no past: its estimate changed because of the others, not along its own
    path."""
    log_snr, at = torch.full_like(levels.alpha, -torch.inf), span(moving)
    log_snr[at] = levels.log_snr[at]
    return Past(clean=clean, log_snr=log_snr)


def _put_back(x: Tensor, trajectory: Trajectory, levels: Levels, drawn: Mapping[int, Tensor]) -> Tensor:
    """Known parts at their branch's level, always with the initial noise that was drawn for the branch."""
    for branch, part in trajectory.known.items():
        known = add_noise(part.clean.to(x), drawn[branch], levels[branch])
        x = _replace(x, span([branch]), part.keep(x[branch], known))
    return x


def _check(x: Tensor, trajectory: Trajectory) -> None:
    if x.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"sampling arithmetic is in float32 or float64, got {x.dtype}; let the denoiser cast"
        )
    if x.ndim < 2 or len(x) != len(trajectory.names):
        raise ValueError(
            f"x must be [branch, sample, ...] with branches {trajectory.names}, got {tuple(x.shape)}"
        )
    if not bool(x.isfinite().all()):
        broken = [
            name
            for name, branch in zip(trajectory.names, x, strict=True)
            if not bool(branch.isfinite().all())
        ]
        raise ValueError(f"latents of branch {', '.join(broken)} hold NaN or infinity")
