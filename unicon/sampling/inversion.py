"""Which noise does a picture come from?

DDIM run backwards (Song et al. 2021, section 4.3): each deterministic step x_to = alpha_to * clean(x) +
sigma_to * noise(x) is solved for x, by repeated substitution (as Pan et al. 2023, arXiv 2309.04907), so that
running forwards again gives the picture back. With one substitution it is the usual approximation. Known
parts and steps with fresh noise have no inverse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unicon.sampling.guidance import Denoiser
from unicon.sampling.levels import Levels, noise_estimate, spread
from unicon.sampling.plans import Trajectory, span

SUBSTITUTIONS = 5
"""Each makes the error several times smaller; `docs/unclip.md` has numbers."""


def invert(
    denoise: Denoiser,
    x: Tensor,
    trajectory: Trajectory,
    *,
    substitutions: int = SUBSTITUTIONS,
    on_step: Callable[[], Any] = lambda: None,
) -> Tensor:
    """The latents a trajectory starts from, of those it ends with, [branch, sample, ...] both.

    `denoise` is called `substitutions` times per step, `on_step` after each. Held branches stay as they are.
    """
    assert not trajectory.known, "a run with known parts has no inverse"
    levels = trajectory.levels.to(x.device, x.dtype)
    for step in reversed(list(trajectory.steps())):
        moving, level_from, level_to = span(step.moving), levels[step.index], levels[step.index + 1]
        target, x = x[moving], x.clone()
        for _ in range(substitutions):
            clean = denoise(x, level_from)[moving]
            x[moving] = _substituted(x[moving], clean, target, level_from[moving], level_to[moving])
        on_step()
    return x


def _substituted(x: Tensor, clean: Tensor, target: Tensor, level_from: Levels, level_to: Levels) -> Tensor:
    """The x that a step takes to `target`, if either its noise or its clean estimate are as at this x: of the
    two whichever the result depends on less, for data of unit variance."""
    a, s = spread(level_from.alpha, x), spread(level_from.sigma, x)
    a_to, s_to = spread(level_to.alpha, x), spread(level_to.sigma, x)
    tiny = torch.finfo(x.dtype).tiny
    noise = noise_estimate(x, clean, level_from)
    by_noise = a / a_to * (target - s_to * noise) + s * noise
    by_clean = a * clean + s * (target - a_to * clean) / s_to.clamp(min=tiny)
    from_noise = s * (s - a * s_to / a_to).abs()
    from_clean = torch.where(s_to > 0, a * (a - s * a_to / s_to.clamp(min=tiny)).abs(), torch.inf)
    return torch.where(from_noise <= from_clean, by_noise, by_clean)
