"""Which levels does a run visit?

A grid is a descending list of timesteps, noisiest first, that ends at CLEAN. Positions on it count steps: 0
is the first timestep, `num_steps` is CLEAN, and a fractional position lies in between, so that branches may
move at different paces. Which branch is where at which time is the business of `plans`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from unicon.sampling.levels import Levels, Schedule

SpacingName = Literal["trailing", "leading", "linspace", "log_snr", "karras", "lcm"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Grid:
    """The levels of one run, from its noisiest timestep to CLEAN."""

    schedule: Schedule
    timesteps: tuple[float, ...]
    """Where the network is called by a branch that runs the whole way: descending, may be fractional."""
    final: float | None = None
    """Timestep after the last step; None is CLEAN. Only a comparison with other code needs anything else."""

    def __post_init__(self) -> None:
        nodes = [*self.timesteps, self._end]
        if not self.timesteps:
            raise ValueError("a grid needs at least one timestep, got none")
        if any(b >= a for a, b in zip(nodes[:-1], nodes[1:], strict=True)):
            raise ValueError(f"timesteps must descend strictly and end above CLEAN, got {self.timesteps}")
        self.schedule.at_timestep(self.timesteps)  # raises where one is outside the schedule

    @property
    def num_steps(self) -> int:
        return len(self.timesteps)

    @property
    def _end(self) -> float:
        """CLEAN continues the timesteps one below 0; in flow matching timestep 0 is CLEAN itself."""
        if self.final is not None:
            return self.final
        return 0.0 if self.schedule.kind == "flow" else -1.0

    def log_snr_between(self, low: float, high: float) -> tuple[float, float]:
        """Log-SNRs of the levels between two noise fractions in [0, 1], both included; a fraction at its end
        of the grid is none, so -inf for `high` 1 and inf for `low` 0."""
        nudge = 1e-3  # of a step: levels are compared in float32

        def log_snr(position: float) -> float:
            return float(self.at(min(max(position, 0.0), self.num_steps)).log_snr)

        return (
            -math.inf if high == 1 else log_snr((1 - high) * self.num_steps - nudge),
            math.inf if low == 0 else log_snr((1 - low) * self.num_steps + nudge),
        )

    def at(self, position: Tensor | Sequence[float] | float) -> Levels:
        """Levels at positions in [0, num_steps], of the positions' shape; exact at whole positions."""
        where = torch.as_tensor(position, dtype=torch.float64)
        nodes = torch.tensor([*self.timesteps, self._end], dtype=torch.float64)
        low = where.floor().long().clamp(0, self.num_steps - 1)
        timestep = torch.lerp(nodes[low], nodes[low + 1], where - low)
        levels = self.schedule.at_timestep(timestep.clamp(min=0))
        return levels if self.final is not None else levels.clean_where(where == self.num_steps)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spacing:
    """How the timesteps of a grid are spread."""

    name: SpacingName = "trailing"
    """trailing, leading, linspace: Lin et al. 2023, table 2. log_snr: uniform in log-SNR. karras: Karras et
    al. 2022, eq. 5, in sigma / alpha. lcm: a subset of the grid a latent consistency model was distilled
    on."""
    steps_offset: int = 0
    """Added to every timestep of `leading`."""
    rho: float = 7.0
    """Exponent of `karras`."""
    ends: Literal["trailing", "leading", "linspace"] = "linspace"
    """Whose first and last timestep `log_snr` and `karras` run between; linspace is the whole schedule."""
    shift: float = 1.0
    """Flow matching only: sigma -> shift * sigma / (1 + (shift - 1) * sigma)."""
    original_steps: int = 50
    """Number of timesteps of the grid that `lcm` chooses from."""

    def __post_init__(self) -> None:
        if self.name not in get_args(SpacingName):
            raise ValueError(f"spacing {self.name!r} is unknown; known: {', '.join(get_args(SpacingName))}")
        if self.shift <= 0:
            raise ValueError(f"shift must be above 0, got {self.shift}")

    def grid(self, schedule: Schedule, num_steps: int) -> Grid:
        """The grid of `num_steps` steps on a schedule."""
        most = self.original_steps if self.name == "lcm" else schedule.last_timestep
        if not 1 <= num_steps <= most:
            raise ValueError(f"num_steps must be 1 to {most} with {self.name!r} spacing, got {num_steps}")
        if schedule.kind == "flow":
            return grid_from_timesteps(schedule, self._flow(schedule, num_steps))
        spread = getattr(self, f"_{self.name}")
        return grid_from_timesteps(schedule, spread(schedule, num_steps))

    def _flow(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        if self.name != "trailing":
            raise ValueError(f"flow matching has 'trailing' spacing only (with a shift), got {self.name!r}")
        sigma = np.arange(num_steps, 0, -1) / num_steps
        return schedule.last_timestep * self.shift * sigma / (1 + (self.shift - 1) * sigma)

    def _trailing(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        # Counting whole steps; diffusers counts down by a float, and at 61 or 103 steps yields one too many.
        return np.round((schedule.last_timestep + 1) * np.arange(num_steps, 0, -1) / num_steps) - 1

    def _leading(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        stride = (schedule.last_timestep + 1) // num_steps
        return np.arange(num_steps - 1, -1, -1) * stride + self.steps_offset

    def _linspace(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        return np.linspace(schedule.last_timestep, 0, num_steps)

    def _log_snr(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        high, low = self._log_snr_ends(schedule, num_steps)
        return _timesteps(schedule, np.linspace(low, high, num_steps))

    def _karras(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        high, low = self._log_snr_ends(schedule, num_steps)
        ends = np.exp(np.array([-low, -high]) / (2 * self.rho))  # (sigma / alpha) ** (1 / rho)
        ratio = np.linspace(ends[0], ends[1], num_steps) ** self.rho
        return _timesteps(schedule, -2 * np.log(ratio))

    def _log_snr_ends(self, schedule: Schedule, num_steps: int) -> tuple[float, float]:
        """Log-SNR of the last and of the first timestep."""
        spread = getattr(self, f"_{self.ends}")(schedule, num_steps)
        # Of a single step, linspace has the first alone.
        last = 0.0 if self.ends == "linspace" else spread[-1]
        high, low = schedule.at_timestep([last, spread[0]]).log_snr.tolist()
        if math.isinf(low):
            raise ValueError(
                f"{self.name!r} spacing needs a finite log-SNR at the noisy end, and this schedule has zero "
                "terminal SNR: use 'trailing', or give timesteps"
            )
        return high, low

    def _lcm(self, schedule: Schedule, num_steps: int) -> np.ndarray:
        stride = (schedule.last_timestep + 1) // self.original_steps
        chosen = np.arange(num_steps) * self.original_steps // num_steps
        return (self.original_steps - chosen) * stride - 1


def grid_from_timesteps(
    schedule: Schedule, timesteps: Sequence[float] | np.ndarray | Tensor, final: float | None = None
) -> Grid:
    """A grid through any descending timesteps, such as a diffusers scheduler's own."""
    return Grid(schedule=schedule, timesteps=tuple(float(t) for t in timesteps), final=final)


def grid_from_sigmas(schedule: Schedule, sigmas: Sequence[float] | np.ndarray) -> Grid:
    """A grid through descending sigma / alpha ("sigmas" of k-diffusion and Euler), without the closing 0.

    In flow matching the sigmas are sigma itself.
    """
    sigma = np.asarray(sigmas, dtype=np.float64)
    if schedule.kind == "flow":
        return grid_from_timesteps(schedule, schedule.last_timestep * sigma)
    return grid_from_timesteps(schedule, _timesteps(schedule, -2 * np.log(sigma)))


def steps_for_noise(noise: float, num_steps: int) -> int:
    """How many of a grid's steps a branch takes that starts at a noise fraction in [0, 1].

    The nearest whole number, and at least one if there is any noise: 0.7 of 20 steps is 14, 0.01 is 1, 0 is
    none.
    """
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is a fraction of the grid, from 0 (clean) to 1 (pure noise), got {noise}")
    return max(int(noise > 0), int(noise * num_steps + 0.5 + 1e-9))


def _timesteps(schedule: Schedule, log_snr: np.ndarray) -> np.ndarray:
    return schedule.at_log_snr(torch.from_numpy(log_snr)).timestep.numpy()
