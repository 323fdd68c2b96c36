"""How does one step take a noisy latent from one level to the next?

Every solver here is one formula,

    x_to = alpha_to * clean + keep * noise_estimate + fresh * noise,    keep^2 + fresh^2 = sigma_to^2,

and differs in two choices: which clean estimate goes in (the network's, one extrapolated from the step
before, or the average with a second look), and how much of the noise is fresh. In terms of (x, clean,
level) DDIM at eta 0, Euler on sigma / alpha, Euler in flow matching and the first-order DPM-Solver++ are
the same step; DDIM at eta 1 is Euler ancestral; DPM++ 2M with eta 1 is its SDE variant; all noise fresh is
a consistency model's step.

All of it is elementwise, so every branch may be at its own level. x, clean and noise are [branch, sample,
...] and hold only branches that move; `level_from` is never CLEAN, `level_to` may be. Choosing levels is
not done here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from unicon.sampling.grids import Spacing
from unicon.sampling.levels import Levels, is_flow, noise_estimate, scheduler_config, spread

SolverName = Literal["ddim", "euler", "ancestral", "lcm", "dpmpp_2m", "heun"]


def step(
    x: Tensor,
    clean: Tensor,
    level_from: Levels,
    level_to: Levels,
    fresh: Tensor | None = None,
    noise: Tensor | None = None,
) -> Tensor:
    """The formula above. `fresh`: standard deviation of the new noise, per branch or (branch, sample)."""
    guess = noise_estimate(x, clean, level_from)
    alpha, sigma = spread(level_to.alpha, x), spread(level_to.sigma, x)
    if fresh is None or noise is None:
        return alpha * clean + sigma * guess
    added = spread(fresh, x)
    keep = (sigma.square() - added.square()).clamp(min=0).sqrt()
    return alpha * clean + keep * guess + added * noise


def ddim(
    x: Tensor,
    clean: Tensor,
    level_from: Levels,
    level_to: Levels,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """Song et al. 2021, eq. 12 and 16. eta 0 is deterministic; eta 1 samples the true posterior of a step."""
    return step(x, clean, level_from, level_to, _posterior_noise(level_from, level_to, eta), noise)


def euler(x: Tensor, clean: Tensor, level_from: Levels, level_to: Levels) -> Tensor:
    """Karras et al. 2022, algorithm 1 without the correction. The same step as `ddim`, finite at zero SNR."""
    return step(x, clean, level_from, level_to)


def ancestral(x: Tensor, clean: Tensor, level_from: Levels, level_to: Levels, noise: Tensor) -> Tensor:
    """Euler ancestral: the same step as `ddim` with eta 1."""
    return ddim(x, clean, level_from, level_to, 1.0, noise)


def lcm(x: Tensor, clean: Tensor, level_from: Levels, level_to: Levels, noise: Tensor) -> Tensor:
    """Multistep consistency sampling (Song et al. 2023, algorithm 1): the clean estimate, renoised.

    The boundary scalings of latent consistency models are left out: at timestep 19 and above, the lowest
    such a model is called at, they change the estimate by less than 1e-5.
    """
    return step(x, clean, level_from, level_to, level_to.sigma, noise)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Past:
    """What a multistep solver remembers of the step before, for all branches."""

    clean: Tensor
    """Clean estimates of that step, [branch, sample, ...]."""
    log_snr: Tensor
    """The level they were made at, per branch or (branch, sample); -inf where there is no past to use."""

    def __getitem__(self, branches: Any) -> Past:
        return Past(clean=self.clean[branches], log_snr=self.log_snr[branches])


def dpmpp_2m(
    x: Tensor,
    clean: Tensor,
    level_from: Levels,
    level_to: Levels,
    past: Past | None = None,
    eta: float = 0.0,
    noise: Tensor | None = None,
) -> Tensor:
    """DPM-Solver++(2M), Lu et al. 2022, algorithm 2: the clean estimate extrapolated half a step in log-SNR.

    First order where a step is infinitely long in log-SNR (into CLEAN, out of zero SNR) or has no past.
    """
    if past is not None:
        length = level_to.log_snr - level_from.log_snr
        weight = 0.5 * length / (level_from.log_snr - past.log_snr.to(length))
        weight = torch.where(weight.isfinite(), weight, 0)
        clean = clean + spread(weight, x) * (clean - past.clean)
    return ddim(x, clean, level_from, level_to, eta, noise)


def heun(x_to: Tensor, clean: Tensor, clean_to: Tensor, level_from: Levels, level_to: Levels) -> Tensor:
    """Correct a `step` that led to x_to, with the clean estimate made there. Karras et al. 2022, algorithm 1.

    The trapezoid rule for the noise estimate on the axis sigma / alpha. That axis starts at infinity for a
    branch at zero SNR, so there the clean estimate is averaged instead, which is second order too. Into
    CLEAN there is nothing to correct.
    """
    # how much larger sigma / alpha is before the step than after it
    ratio = level_from.sigma * level_to.alpha / (level_from.alpha * level_to.sigma)
    weight = level_to.alpha * torch.where(level_from.alpha > 0, ratio - 1, 1)
    return x_to + spread(torch.where(level_to.is_clean, 0, weight), x_to) * 0.5 * (clean_to - clean)


def _posterior_noise(level_from: Levels, level_to: Levels, eta: float) -> Tensor | None:
    """eta * sigma_to * sqrt(1 - SNR_from / SNR_to): the noise a true reverse step adds at eta 1."""
    if eta == 0:
        return None
    return eta * level_to.sigma * (-torch.expm1(level_from.log_snr - level_to.log_snr)).sqrt()


_ALWAYS_FRESH = {"ancestral": ancestral, "lcm": lcm}
"""Solvers whose share of fresh noise is their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solver:
    """A solver by name, with its options: what `loop.sample` runs."""

    name: SolverName = "ddim"
    eta: float = 0.0
    """Share of fresh noise of `ddim` and `dpmpp_2m`, 0 (deterministic) to 1 (the SDE)."""

    def __post_init__(self) -> None:
        if self.name not in get_args(SolverName):
            raise ValueError(f"solver {self.name!r} is unknown; known: {', '.join(get_args(SolverName))}")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta must be from 0 to 1, got {self.eta}")
        if self.eta and self.name not in ("ddim", "dpmpp_2m"):
            raise ValueError(
                f"eta belongs to 'ddim' and 'dpmpp_2m'; {self.name!r} takes none, got {self.eta}"
            )

    @property
    def draws_noise(self) -> bool:
        """Whether a step needs fresh noise."""
        return self.name in _ALWAYS_FRESH or self.eta > 0

    def with_eta(self, eta: float) -> Solver:
        """The same with another share of fresh noise. ValueError for one that takes none."""
        if self.name in _ALWAYS_FRESH:
            raise ValueError(
                f"eta is {eta}, but {self.name!r} adds fresh noise in every step, whatever it is: leave eta "
                "out, or choose a scheduler that takes it, such as DDIMScheduler"
            )
        return replace(self, eta=eta)

    @property
    def looks_twice(self) -> bool:
        """Whether a step calls the network a second time, where it arrived."""
        return self.name == "heun"

    def step(
        self,
        x: Tensor,
        clean: Tensor,
        level_from: Levels,
        level_to: Levels,
        past: Past | None,
        noise: Tensor | None,
    ) -> Tensor:
        """One step, by name; for `heun`, the step that `heun` then corrects."""
        if self.name == "dpmpp_2m":
            return dpmpp_2m(x, clean, level_from, level_to, past, self.eta, noise)
        if self.name in _ALWAYS_FRESH:
            assert noise is not None, "draws_noise says so"
            return _ALWAYS_FRESH[self.name](x, clean, level_from, level_to, noise)
        if self.name == "ddim":
            return ddim(x, clean, level_from, level_to, self.eta, noise)
        return euler(x, clean, level_from, level_to)


def solver_from_scheduler(scheduler: Any) -> tuple[Solver, Spacing]:
    """The solver and spacing that a diffusers scheduler (object, config or dict) asks for.

    Raises ValueError for a scheduler that has no counterpart here, and for options that would change its
    result. All end at CLEAN, also where a diffusers config stops at timestep 0 (`set_alpha_to_one=False`).
    Spacings are those of Lin et al. 2023, table 2, from which the multistep solvers of diffusers deviate in
    linspace and leading; `grid_from_timesteps(schedule, scheduler.timesteps)` gives theirs. DPM++ 2M stands
    in for PNDM, with which Stable Diffusion 1.5 ships and whose own formula is not offered.
    """
    config = scheduler_config(scheduler)
    name = config.get("_class_name")
    if name not in _SOLVERS:
        raise ValueError(
            f"no solver stands for scheduler {name!r}; known: {', '.join(sorted(_SOLVERS))}: take one of "
            "them, such as DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)"
        )
    _refuse_options(config)
    solver = _dpm_solver(config) if name == "DPMSolverMultistepScheduler" else _SOLVERS[name]
    return solver, _spacing(config)


_SOLVERS = {
    "DDIMScheduler": Solver(name="ddim"),
    "DDPMScheduler": Solver(name="ancestral"),
    "DPMSolverMultistepScheduler": Solver(name="dpmpp_2m"),
    "EulerAncestralDiscreteScheduler": Solver(name="ancestral"),
    "EulerDiscreteScheduler": Solver(name="euler"),
    "FlowMatchEulerDiscreteScheduler": Solver(name="euler"),
    "HeunDiscreteScheduler": Solver(name="heun"),
    "LCMScheduler": Solver(name="lcm"),
    "PNDMScheduler": Solver(name="dpmpp_2m"),
}

_HARMLESS: dict[str, tuple[Any, ...]] = {
    "thresholding": (False,),
    "clip_sample": (False,),
    "use_beta_sigmas": (False, None),
    "final_sigmas_type": ("zero",),
    "timestep_type": ("discrete",),
    "variance_type": (None, "fixed_small", "fixed_small_log"),
    "use_dynamic_shifting": (False,),
    "invert_sigmas": (False,),
    "shift_terminal": (None,),
    "stochastic_sampling": (False,),
    "lambda_min_clipped": (-math.inf,),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "interpolation_type": ("linear",),
}


def _refuse_options(config: Mapping[str, Any]) -> None:
    for option, harmless in _HARMLESS.items():
        if option in config and config[option] not in harmless:
            raise ValueError(
                f"{config['_class_name']} option {option}={config[option]!r} is not supported; "
                f"set it to {harmless[0]!r}: {config['_class_name']}.from_config(pipe.scheduler.config, "
                f"{option}={harmless[0]!r})"
            )


def _dpm_solver(config: Mapping[str, Any]) -> Solver:
    algorithm, order = config.get("algorithm_type", "dpmsolver++"), config.get("solver_order", 2)
    midpoint = order == 1 or config.get("solver_type", "midpoint") == "midpoint"
    if algorithm not in ("dpmsolver++", "sde-dpmsolver++") or order not in (1, 2) or not midpoint:
        raise ValueError(
            "DPMSolverMultistepScheduler is supported as dpmsolver++ or sde-dpmsolver++ of order 1 or 2 with "
            f"solver_type 'midpoint', got {algorithm!r}, order {order}, {config.get('solver_type')!r}"
        )
    eta = 1.0 if algorithm.startswith("sde") else 0.0
    return Solver(name="dpmpp_2m" if order == 2 else "ddim", eta=eta)


def _spacing(config: Mapping[str, Any]) -> Spacing:
    if is_flow(config):
        if named := [n for n in ("use_karras_sigmas", "use_exponential_sigmas") if config.get(n)]:
            raise ValueError(
                f"{config['_class_name']} option {named[0]}=True is not supported in flow matching; set it "
                "to False"
            )
        return Spacing(shift=config.get("shift", config.get("flow_shift", 1.0)))
    if config["_class_name"] == "LCMScheduler":
        return Spacing(name="lcm", original_steps=config.get("original_inference_steps", 50))
    kind, offset = config["_class_name"], config.get("steps_offset", 0)
    default = "linspace" if kind.startswith(("Euler", "Heun", "DPM")) else "leading"
    named = config.get("timestep_spacing", default)
    # diffusers' Euler and Heun take the ends from the spaced timesteps, its DPM-Solver from the schedule.
    ends = named if kind.startswith(("Euler", "Heun")) else "linspace"
    if config.get("use_karras_sigmas"):
        return Spacing(name="karras", ends=ends, steps_offset=offset)
    if config.get("use_exponential_sigmas") or config.get("use_lu_lambdas"):
        return Spacing(name="log_snr", ends=ends, steps_offset=offset)
    return Spacing(name=named, steps_offset=offset)
