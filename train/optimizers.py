"""Which optimizer steps which parameter?

`adamw`, `adamw8bit` and `prodigy` step all of them. `muon` (Jordan et al. 2024) orthogonalises the steps of
the matrices, and AdamW steps the rest: convolutions, norms, biases. What it was worth on the mini UNet is in
`docs/log.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from train.config import LoopConfig

_SMALLEST_SIDE = 16
"""Matrices with a shorter side, such as low-rank updates, are left to AdamW."""


def make_optimizers(
    trained: Mapping[str, Tensor], loop: LoopConfig, hurry: Mapping[str, float] | None = None
) -> list[torch.optim.Optimizer]:
    """The optimizers of one run, each with its full learning rate as `initial_lr` of its groups.

    `hurry` says how many times faster than the rest some of the tensors learn, where AdamW steps them.
    Raises ValueError where one is asked for that is not installed.
    """
    matrices = [p for p in trained.values() if loop.optimizer == "muon" and _is_matrix(p)]
    mine = {id(p) for p in matrices}
    rest = {name: p for name, p in trained.items() if id(p) not in mine}
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(
                f"this recipe uses Muon, which torch {torch.__version__} does not have: upgrade torch to 2.9 "
                "or later, or choose --optimizer adamw"
            )
        optimizers.append(torch.optim.Muon(matrices, lr=loop.matrix_learning_rate, weight_decay=0.0))
    if rest:
        optimizers.append(_of_all(_grouped(rest, loop, hurry or {}), loop))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _grouped(
    tensors: Mapping[str, Tensor], loop: LoopConfig, hurry: Mapping[str, float]
) -> list[dict[str, Any]]:
    """One group for each rate, in the order in which they come."""
    groups: dict[float, list[Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(hurry.get(name, 1.0), []).append(tensor)
    return [{"params": members, "lr": loop.learning_rate * times} for times, members in groups.items()]


def _of_all(parameters: list[dict[str, Any]], loop: LoopConfig) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {
        "lr": loop.learning_rate,
        "betas": loop.betas,
        "weight_decay": loop.weight_decay,
    }
    if loop.optimizer == "adamw8bit":
        return _installed("bitsandbytes", loop.optimizer).optim.AdamW8bit(parameters, **settings)
    if loop.optimizer == "prodigy":
        return _installed("prodigyopt", loop.optimizer).Prodigy(parameters, **settings)
    return torch.optim.AdamW(parameters, **settings, fused=True)


def _installed(package: str, optimizer: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(
            f"--optimizer {optimizer} needs {package}, which is not installed here ({error}): "
            f"pip install {package}, or choose --optimizer adamw"
        ) from error


def set_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every learning rate to a share of its full one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim == 2 and min(parameter.shape) >= _SMALLEST_SIDE
