"""Where does a call's noise come from, generators or latents of the user's own, and how much is it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from unicon.branch import IMAGE
from unicon.ranges import Range
from unicon.sampling.noise import INITIAL, NoiseSource
from unicon.sampling.plans import Trajectory

_TEMPERATURE = Range(least=0, hint="0 is the mean, 1 samples")


@dataclass(frozen=True, kw_only=True, slots=True)
class CallNoise:
    """A noise source with the user's latents in place of initial noise, each branch at its temperature."""

    source: NoiseSource
    latents: Mapping[str, Tensor]
    temperatures: Mapping[str, float]
    """Branch name -> factor of all its noise, initial and fresh."""

    def draw(self, branch: str, step: int, shape: Sequence[int]) -> Tensor:
        given = self.latents.get(branch) if step == INITIAL else None
        noise = self.source.draw(branch, step, shape) if given is None else given
        factor = self.temperatures.get(branch, 1.0)
        return noise if factor == 1 else noise * factor


def given_temperatures(temperature: Mapping[str, float] | float, trajectory: Trajectory) -> dict[str, float]:
    """The temperature of every branch that has one; ValueError for unknown branches, negative or not finite.

    Of jointly Gaussian branches a run at temperature T ends at the mean of the exact law and T^2 times its
    covariance (`benchmarks/closed_form.py`): 1 samples, 0 answers with the mean.
    """
    given = temperature if isinstance(temperature, Mapping) else dict.fromkeys(trajectory.names, temperature)
    for name, value in given.items():
        if name not in trajectory.names:
            raise ValueError(f"temperature of {name!r}, but this call has only {', '.join(trajectory.names)}")
        _TEMPERATURE.check(f"temperature of {name!r}", value)
    return {name: float(value) for name, value in given.items()}


def given_latents(
    latents: Mapping[str, Tensor] | Tensor | None, trajectory: Trajectory, shape: Sequence[int]
) -> dict[str, Tensor]:
    """The user's initial noise by branch, float32.

    Raises ValueError for unknown or noiseless branches, wrong shapes, NaN.
    """
    given = {IMAGE: latents} if isinstance(latents, Tensor) else dict(latents or {})
    for name, value in given.items():
        if name not in trajectory.names:
            raise ValueError(f"latents of {name!r}, but this call has only {', '.join(trajectory.names)}")
        if bool(trajectory.levels.is_clean[0, trajectory.names.index(name)]):
            raise ValueError(f"latents of {name!r}: it starts clean and takes no noise; leave them out")
        if tuple(value.shape) != tuple(shape):
            raise ValueError(f"latents of {name!r} have shape {tuple(value.shape)}; expected {tuple(shape)}")
        if not bool(value.isfinite().all()):
            raise ValueError(f"latents of {name!r} hold NaN or infinity; draw them again, or leave them out")
    return {name: value.float() for name, value in given.items()}
