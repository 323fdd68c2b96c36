"""What is one optimizer step?

The global batch of a step is drawn alike in every process, then sliced by process and micro-batch.
Distribution and mixed precision are accelerate's.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from train import zero
from train.checkpoint import read_state, whole_checkpoints
from train.compiling import compile_blocks
from train.config import LoopConfig
from train.engines import DEEPSPEED, FSDP, asked_for
from train.objectives.base import Objective
from train.optimizers import make_optimizers, restore, set_rates
from train.randomness import Share, step_generator
from train.schedules import rate_share
from train.spread import configure, spread_state, whole, whole_all
from unicon.devices import pick_dtype
from unicon.processes import processes

Tallies = Mapping[str, Tensor]
"""Sum over items and number of items, float32 (2,), of the loss, its parts and the norm of its gradients: of
them come means, however the items were spread over micro-batches, processes and steps."""


class Stepper:
    """An objective on its devices, with its optimizers."""

    def __init__(
        self,
        objective: Objective,
        loop: LoopConfig,
        *,
        log_with: Sequence[str] = (),
        folder: Path | None = None,
    ):
        """Raises ValueError for a batch that does not divide over the processes, and for what FSDP or
        DeepSpeed cannot do where it was asked for."""
        self.objective, self.loop = objective, loop
        self.precision = chosen = precision(loop, folder)
        engine = asked_for()
        if engine is not None:
            engine.check(loop, chosen)
        self.under_zero = engine is DEEPSPEED
        if self.under_zero:
            chosen = "no"  # accelerate would hand it to the engine's own casting, see `train.zero`
        if chosen == "fp16" and processes().device.type == "cpu":
            raise ValueError(
                "--mixed_precision fp16 on a processor, which trains in float32: choose bf16 or no"
            )
        if AcceleratorState._shared_state and (
            self.under_zero or AcceleratorState().mixed_precision != chosen
        ):
            AcceleratorState._reset_state()  # of an earlier run in this process; it is one per process
        self.accelerator = Accelerator(
            mixed_precision=chosen, log_with=list(log_with) or None, project_dir=folder
        )
        if engine is FSDP:
            FSDP.check_started(self.accelerator)
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        self.under_fsdp = plugin is not None
        if plugin is not None:
            configure(plugin)
        self.share = _share_per_process(loop, self.accelerator.num_processes)
        if self.under_zero:
            zero.configure(self.accelerator, loop, self.share, self.precision)
        if loop.gradient_checkpointing:
            _checkpoint(objective)
        if loop.compile:
            compile_blocks(objective)
        if chosen != "no" and not self.under_fsdp:  # which spreads tensors of one format
            store_frozen(objective, torch.bfloat16 if chosen == "bf16" else torch.float16)
        self.model, *self.optimizers = self.accelerator.prepare(
            objective, *make_optimizers(objective.trained(), loop)
        )
        self.trained = objective.trained()  # only now: spread over processes they are other tensors
        process, num_processes = self.accelerator.process_index, self.accelerator.num_processes
        first = process * self.share
        share = Share(process, num_processes, first, first + self.share)
        self.order = objective.order(loop.seed, loop.batch_size, share, loop.steps)

    def __call__(self, step: int) -> Tallies:
        """Take optimizer step number `step`; what this process has of the loss and its parts."""
        accelerator, loop = self.accelerator, self.loop
        set_rates(self.optimizers, rate_share(loop, step))
        items = self.order.items(step)
        draws = self.objective.draw(step_generator(loop.seed, step), torch.from_numpy(items))
        first = accelerator.process_index * self.share
        end, micro = first + self.share, loop.micro_batch or self.share
        tallies: dict[str, Tensor] = {}
        for start in range(first, end, micro):
            stop = min(start + micro, end)
            accelerator.sync_gradients = stop == end  # DeepSpeed's engine steps there
            with contextlib.nullcontext() if stop == end else accelerator.no_sync(self.model):
                with self._enters():
                    losses, parts = self.model(items[start:stop], draws.part(start, stop))
                # DDP averages over processes, so each divides by its own share.
                accelerator.backward(losses.sum() / self.share)
            for name, values in {"loss": losses, **parts}.items():
                tallies[name] = tallies.get(name, 0) + _tally(values.detach().float(), of_all=name == "loss")
        # Below an infinite norm nothing is clipped, and the norm is known all the same.
        norm = accelerator.clip_grad_norm_(self.trained.values(), loop.clip_norm or math.inf)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        norm = whole(torch.as_tensor(norm)).float()
        return {**tallies, "grad_norm": torch.stack([norm, torch.ones_like(norm)])}

    def _enters(self) -> contextlib.AbstractContextManager:
        """The number format of the model's forward, which accelerate sees to everywhere but under FSDP 2."""
        return self.autocast() if self.under_fsdp else contextlib.nullcontext()

    def autocast(self) -> contextlib.AbstractContextManager:
        """The number format of the run, for what does not enter by the model's forward."""
        if self.under_zero and self.precision != "no":
            return torch.autocast(self.accelerator.device.type, torch.bfloat16)
        return self.accelerator.autocast()

    def states(self) -> list[dict[str, Any]]:
        """The optimizers' whole states. All processes must come here."""
        if self.under_zero:
            return [zero.whole_state(o, list(self.trained.values())) for o in self.optimizers]
        return [whole_all(o.state_dict()) for o in self.optimizers]

    def restore(self, states: Sequence[dict[str, Any]]) -> None:
        """Continue from whole states, once the weights that belong to them are in place."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            if self.under_zero:
                zero.restore_state(optimizer, list(self.trained.values()), state)
            else:
                restore(optimizer, spread_state(state, optimizer))

    def places(self) -> list[dict[str, Any]]:
        """Where every process is in its data, for a checkpoint; empty where the step says it all.

        All processes must come here.
        """
        place = self.order.place()
        return [] if place is None else gather_object([place])

    def scaler_state(self) -> dict[str, float]:
        """What gradients are scaled by in fp16, and since when; empty in other formats."""
        scaler = self.accelerator.scaler
        return {} if scaler is None else scaler.state_dict()

    def go_on(self, places: Sequence[dict[str, Any]], scaler: Mapping[str, float]) -> None:
        """From there; `scaler` is `scaler_state`'s. Raises ValueError where other processes were."""
        num = self.accelerator.num_processes
        if places and len(places) != num:
            raise ValueError(
                f"the checkpoint knows where {len(places)} processes are in the stream, this run has {num}: "
                "continue with as many"
            )
        if places:
            self.order.restore(places[self.accelerator.process_index])
        if scaler and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(dict(scaler))


def store_frozen(objective: nn.Module, dtype: torch.dtype) -> None:
    """Keep what is frozen of an objective's products and convolutions in the format that autocast computes
    them in: the numbers are the same, for half the memory and without a conversion in every step.

    Everything else keeps its format: autocast leaves norms in float32, and what is trained has to be.
    """
    for module in objective.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            for weight in module.parameters(recurse=False):
                if not weight.requires_grad and weight.is_floating_point():
                    weight.data = weight.data.to(dtype)


def mean_of(tally: Tensor) -> float:
    """The mean that a tally of this process comes to."""
    return float(tally[0] / tally[1])


def _tally(values: Tensor, *, of_all: bool) -> Tensor:
    """The sum of some values and their number, (2,); of parts of the loss only where they are about an item,
    else NaN. Of the loss itself NaN is one."""
    if of_all:
        total = values.sum()
        return torch.stack([total, torch.full_like(total, values.numel())])
    return torch.stack([values.nansum(), values.isfinite().sum().to(values)])


def _checkpoint(objective: Objective) -> None:
    """Raises ValueError where no network of the objective can."""
    able = [m for m in objective.children() if getattr(m, "_supports_gradient_checkpointing", False)]
    if not able:
        raise ValueError(
            f"--gradient_checkpointing true, but no network of a {type(objective).__name__} can; leave it out"
        )
    for network in able:
        network.enable_gradient_checkpointing()  # pyright: ignore[reportCallIssue]


def _share_per_process(loop: LoopConfig, num_processes: int) -> int:
    if loop.batch_size % num_processes:
        raise ValueError(
            f"batch_size {loop.batch_size} does not divide over {num_processes} processes; choose a multiple"
        )
    return loop.batch_size // num_processes


def precision(loop: LoopConfig, folder: Path | None) -> str:
    """The number format of a run, the same in all its processes and as long as it is continued.

    A short probe chooses it, once: asked again, a busy machine might answer otherwise.
    """
    if loop.mixed_precision != "auto":
        return loop.mixed_precision
    found = whole_checkpoints(folder / "checkpoints") if folder is not None else []
    if found and (chosen := read_state(found[-1][1]).get("mixed_precision")):
        return chosen
    answer = [_probed(loop) if processes().is_main_process else ""]
    return broadcast_object_list(answer)[0]


def _probed(loop: LoopConfig) -> str:
    found = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(pick_dtype(processes().device or "cpu"), "no")
    without = loop.optimizer == "muon" or asked_for() is not None
    return "no" if found == "fp16" and without else found
