"""Who may watch a run, and change its latents or stop it on the way?

diffusers' conventions: a progress bar, and `callback_on_step_end(pipe, step, timestep, tensors)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from torch import Tensor

from unicon.call.network import BranchNetwork
from unicon.call.tiles import TiledNetwork
from unicon.sampling.loop import State
from unicon.sampling.plans import Trajectory

TENSORS = ("latents", "clean")
"""What a callback may ask for: latents after the step, and the clean estimates it was made with."""

Callback = Callable[..., dict[str, Any] | None]


class Watch:
    """What happens after every step."""

    def __init__(
        self,
        pipe: Any,
        callback: Callback | None,
        inputs: Sequence[str],
        network: BranchNetwork | TiledNetwork,
        bar: Any,
    ):
        if isinstance(callback, (PipelineCallback, MultiPipelineCallbacks)):
            inputs = callback.tensor_inputs
        if unknown := sorted(set(inputs) - set(TENSORS)):
            raise ValueError(f"callback input {unknown[0]!r} is unknown; choose from {', '.join(TENSORS)}")
        self.pipe, self.callback, self.inputs = pipe, callback, inputs
        self.network, self.bar = network, bar

    def after(self, state: State, trajectory: Trajectory) -> None:
        """Show the step, call the callback, take over what it changed."""
        self.bar.update()
        if self.callback is not None:
            tensors = {"latents": state.x, "clean": state.clean}
            told = trajectory.levels[state.index].timestep
            wanted = {name: tensors[name] for name in self.inputs}
            version = _version(state.x)
            changed = self.callback(self.pipe, state.index, told, wanted) or {}
            self._take(changed, state, version)
        state.stop = self.pipe.interrupt

    def _take(self, changed: dict[str, Any], state: State, version: int | None) -> None:
        unchanged = {"clean": state.clean}  # callbacks may hand back all they were given
        for name, value in changed.items():
            if name != "latents" and value is not unchanged.get(name):
                raise ValueError(f"the callback returned {name!r}; it may change latents, and nothing else")
        if "latents" not in changed:
            return
        latents = changed["latents"]
        if latents.shape != state.x.shape:
            shapes = f"{tuple(latents.shape)}; expected {tuple(state.x.shape)}"
            raise ValueError(f"the callback returned latents of shape {shapes}")
        if latents is state.x and version is not None and version == _version(state.x):
            return  # all that was given, handed back as it was: what was computed of it still holds
        self.network.forget()
        state.x = latents.to(state.x)


def _version(x: Tensor) -> int | None:
    """How often a tensor was changed in place; None where nobody counts."""
    return None if x.is_inference() else x._version
