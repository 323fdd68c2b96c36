"""What does a training step compute, and how many steps is a budget?

Counted and not timed, so that what a library or a processor does slowly is not held against a model: the
products and convolutions of the forward and of the backward pass, as torch's `FlopCounterMode` counts them,
two operations for a multiplication and an addition. Elementwise work, optimizers and data are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from train.objectives.base import Objective
from train.randomness import step_generator

ITEMS = 2
"""Items that are counted: levels are drawn in strata, of which one alone might be any."""


def flops_per_item(objective: Objective) -> float:
    """Of one item's share of a step, forward and backward; the objective's gradients are dropped."""
    items = np.arange(ITEMS)
    draws = objective.draw(step_generator(0, 0), torch.from_numpy(items))
    # Fused attention is one operation that the counter does not know on every device.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        losses, _ = objective(items, draws)
        losses.sum().backward()
    objective.zero_grad(set_to_none=True)
    return counter.get_total_flops() / ITEMS


def steps_within(budget: float, per_item: float, batch_size: int) -> int:
    """Steps of `batch_size` items that cost `budget` operations, to the nearest; ValueError for none."""
    steps = round(budget / (per_item * batch_size))
    if steps < 1:
        raise ValueError(
            f"a budget of {budget:.3g} operations is less than one step of {batch_size} items at "
            f"{per_item:.3g} each; raise it"
        )
    return steps
