"""When can a call run backwards, and what comes of it?"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unicon.branch import IMAGE
from unicon.call.request import Request
from unicon.sampling.guidance import Denoiser
from unicon.sampling.inversion import invert
from unicon.sampling.levels import noise_estimate
from unicon.sampling.plans import Trajectory
from unicon.sampling.solvers import Solver


def check_invertible(request: Request, solver: Solver, **unused: object) -> None:
    """ValueError unless the image is given and all else held, by a solver whose steps have an inverse, and
    nothing `unused` is given."""
    image = request.branches[IMAGE]
    if image.map is None or image.mask is not None or image.stages:
        raise ValueError("invert asks which noise a picture comes from: give image, without mask and stages")
    if others := [n for n, plan in request.plans.items() if plan.moves and n != IMAGE]:
        raise ValueError(f"invert: {others[0]} runs, too; give its map, so that it is held, or leave it out")
    if solver.name not in ("ddim", "euler") or solver.eta:
        raise ValueError(
            f"invert needs DDIM's steps without fresh noise, this call has {solver.name} with eta "
            f"{solver.eta}: leave out eta, and pipe.scheduler = "
            "DDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)"
        )
    if given := [name for name, value in unused.items() if value is not None]:
        raise ValueError(f"invert makes no use of {given[0]}; leave it out")


def inverse(denoise: Denoiser, trajectory: Trajectory, clean: Tensor, x: Tensor, bar: Any) -> Tensor:
    """The image's initial noise (sample, C, h, w), as `latents` of a call take it, from its `clean` latents;
    `x` is what a run starts from, of which the held branches count. A progress `bar` counts the steps."""
    index = trajectory.names.index(IMAGE)
    x = x.clone()
    x[index] = clean
    started = invert(denoise, x, trajectory, on_step=bar.update)[index]
    if float(trajectory.positions[0, index]) == 0:
        return started  # from pure noise: it is the latent itself
    return noise_estimate(started[None], x[index][None], trajectory.levels[0, [index]])[0]
