"""How does a tensor that is spread over processes (FSDP) become whole, and the other way round?

Checkpoints and exports hold whole tensors, so a run may be continued spread in another way. Tensors that are
not spread pass through as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def configure(plugin: Any) -> None:
    """Let accelerate's plugin keep weights and add gradients in float32; fewer bits are autocast's.

    Raises ValueError for FSDP's first version, whose tensors do not say that they are parts.
    """
    version = getattr(plugin, "fsdp_version", 1)  # a plugin that has none knows the first alone
    if version != 2:
        raise ValueError(
            f"FSDP's version {version}: only version 2 is supported; set fsdp_version to 2, or choose "
            '--launch="--config_file fsdp2"'
        )
    from torch.distributed.fsdp import MixedPrecisionPolicy

    plugin.mixed_precision_policy = MixedPrecisionPolicy()


def is_spread(tensor: Tensor) -> bool:
    """Whether this process has a part of it alone."""
    if not torch.distributed.is_available():  # a build without it cannot even import the class
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """All of it. All processes must come here."""
    return tensor.full_tensor() if is_spread(tensor) else tensor  # pyright: ignore[reportCallIssue]


def whole_all(value: Any) -> Any:
    """The same in mappings and lists, as optimizers' states are."""
    if isinstance(value, Tensor):
        return whole(value)
    if isinstance(value, Mapping):
        return {key: whole_all(each) for key, each in value.items()}
    return [whole_all(each) for each in value] if isinstance(value, list) else value


def spread_like(value: Tensor, target: Tensor) -> Tensor:
    """A whole tensor, the same in every process, spread as another of its shape is."""
    if not is_spread(target) or is_spread(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements)


def spread_state(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """An optimizer's whole state as its parameters are spread."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    spread = {
        number: {
            name: spread_like(value, parameters[number])
            if isinstance(value, Tensor) and value.shape == parameters[number].shape
            else value
            for name, value in values.items()
        }
        for number, values in state["state"].items()
    }
    return {**state, "state": spread}


@contextlib.contextmanager
def whole_model(model: nn.Module) -> Iterator[None]:
    """Every parameter whole in every process, for a while, for what does not enter by the model's forward."""
    parts = [part for part in model.modules() if hasattr(part, "unshard")]
    for part in parts:
        part.unshard()  # pyright: ignore[reportCallIssue]
    try:
        yield
    finally:
        for part in parts:
            part.reshard()  # pyright: ignore[reportCallIssue]
