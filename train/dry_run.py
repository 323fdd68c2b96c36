"""What will a run cost? Found out by a few of its own steps, of which nothing is kept."""

from __future__ import annotations

import math
import statistics
import sys
import time
from datetime import timedelta

import torch
from accelerate import Accelerator

from train.config import RunConfig, as_json
from train.objectives.base import Objective
from train.stepping import Stepper, mean_of

STEPS = 5
WARM_UP = 2
"""Steps that are not timed: memory is taken and kernels are chosen in them."""


def dry_run(config: RunConfig, objective: Objective) -> None:
    """Print the resolved config, what is trained, the peak of memory, the speed, and the whole run's time."""
    stepper = Stepper(objective, config.loop)
    seconds, losses = [], []
    for step in range(WARM_UP + STEPS):
        started = time.monotonic()
        losses.append(mean_of(stepper(step)["loss"]))
        seconds.append(time.monotonic() - started)
    if not stepper.accelerator.is_main_process:
        return
    per_step = statistics.median(seconds[WARM_UP:])
    trained = sum(p.numel() for p in objective.trained().values())
    total = sum(p.numel() for p in objective.parameters())
    whole = timedelta(seconds=round(per_step * config.loop.steps))
    print(as_json(config))
    print(f"trained: {trained:,} parameters, {trained / total:.1%} of {total:,}")
    print(f"items: {_epochs(config, objective.num_items)}")
    print(f"loss of {len(losses)} steps: {losses[0]:.4f} to {losses[-1]:.4f}")
    print(f"peak memory: {_peak_memory(stepper.accelerator)}, without looking at pictures")
    print(f"speed: {1 / per_step:.2f} steps a second, {config.loop.batch_size / per_step:.1f} items a second")
    print(f"time: {whole} for {config.loop.steps:,} steps, without looking at pictures and checkpoints")
    if not all(math.isfinite(loss) for loss in losses):
        raise ValueError(f"the loss of the first steps is {losses}; nothing was started")


def _epochs(config: RunConfig, num_items: int | None) -> str:
    batch_size = config.loop.batch_size
    if num_items is None:
        return f"a stream, {batch_size} a step, {config.loop.steps * batch_size:,} in all"
    epochs = config.loop.steps * batch_size / num_items
    return f"{num_items:,}, {batch_size} a step: each seen {epochs:.3g} times"


def _peak_memory(accelerator: Accelerator) -> str:
    if accelerator.device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB on the GPU"
    try:
        import resource
    except ImportError:  # Windows
        return "not told by this platform"
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{most / (2**30 if sys.platform == 'darwin' else 2**20):.2f} GiB of main memory"
