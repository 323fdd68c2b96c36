"""Where does the noise of a call come from: its generators, or latents of the user's own?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from unicon.branch import IMAGE
from unicon.sampling.noise import INITIAL, NoiseSource
from unicon.sampling.plans import Trajectory


@dataclass(frozen=True, kw_only=True, slots=True)
class CallNoise:
    """A noise source with the user's latents in place of initial noise."""

    source: NoiseSource
    latents: Mapping[str, Tensor]

    def draw(self, branch: str, step: int, shape: Sequence[int]) -> Tensor:
        if step == INITIAL and branch in self.latents:
            return self.latents[branch]
        return self.source.draw(branch, step, shape)


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
