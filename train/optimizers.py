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


def make_optimizers(trained: Mapping[str, Tensor], loop: LoopConfig) -> list[torch.optim.Optimizer]:
    """The optimizers of one run, each with its full learning rate as `initial_lr` of its groups.

    Raises ValueError where one is asked for that is not installed.
    """
    matrices = [p for p in trained.values() if loop.optimizer == "muon" and _is_matrix(p)]
    mine = {id(p) for p in matrices}
    rest = [p for p in trained.values() if id(p) not in mine]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(
                f"this recipe uses Muon, which torch {torch.__version__} does not have: upgrade torch to 2.9 "
                "or later, or choose --optimizer adamw"
            )
        optimizers.append(torch.optim.Muon(matrices, lr=loop.matrix_learning_rate, weight_decay=0.0))
    if rest:
        optimizers.append(_of_all(rest, loop))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _of_all(parameters: list[Tensor], loop: LoopConfig) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {
        "lr": loop.learning_rate,
        "betas": loop.betas,
        "weight_decay": loop.weight_decay,
    }
    if loop.optimizer == "adamw8bit":
        return _installed("bitsandbytes", loop.optimizer).optim.AdamW8bit(parameters, **settings)
    if loop.optimizer == "prodigy":
        prodigy = _installed("prodigyopt", loop.optimizer).Prodigy
        return prodigy(parameters, **settings, safeguard_warmup=loop.warmup_steps > 0)
    return torch.optim.AdamW(parameters, **settings, fused=True)


def _installed(package: str, optimizer: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(
            f"--optimizer {optimizer} needs {package}, which is not installed here ({error}): "
            f"pip install {package}, or choose --optimizer adamw"
        ) from error


_SETTINGS = ("lr", "initial_lr", "betas", "weight_decay", "momentum")


def restore(optimizer: Any, state: dict[str, Any]) -> None:
    """Continue from a stored state with the rates and decays of this run, not those it was stored with."""
    own = [{key: group[key] for key in _SETTINGS if key in group} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, settings in zip(optimizer.param_groups, own, strict=True):
        group.update(settings)


def set_rates(optimizers: list[torch.optim.Optimizer], share: float) -> None:
    """Set every learning rate to a share of its full one."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * share


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim == 2 and min(parameter.shape) >= _SMALLEST_SIDE
