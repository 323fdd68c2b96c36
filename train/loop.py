"""How does one run go on, stop and continue?

The loop knows no objective: it takes steps (`train.stepping`), keeps the moving average, looks at pairs that
are not trained on, and writes checkpoints.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from adapters.files import whole_folder
from train.agreement import Agreement
from train.checkpoint import (
    Checkpoint,
    forget_unfinished,
    read_checkpoint,
    whole_checkpoints,
    write_checkpoint,
)
from train.config import RunConfig
from train.going_on import says_how_to_go_on, says_what_a_look_needs
from train.objectives.base import Objective
from train.run_log import RunLog, trackers
from train.spread import spread_like, whole_all, whole_model
from train.stepping import Stepper


def fit(
    objective: Objective,
    config: RunConfig,
    folder: Path,
    *,
    stop_after: float = math.inf,
    on_checkpoint: Callable[[], None] | None = None,
) -> bool:
    """Train until `config.loop.steps` or for `stop_after` seconds; True when the run is complete.

    `on_checkpoint` is called when one was written. Continues from the newest whole checkpoint under `folder`.
    SIGTERM and SIGINT save and stop; an error gets a note of the newest whole checkpoint. Raises ValueError
    on a batch that does not divide over the processes and on a loss that is not finite.
    """
    loop = config.loop
    stepper = Stepper(objective, loop, log_with=trackers(loop.trackers), folder=folder)
    accelerator, trained = stepper.accelerator, stepper.trained
    average = {name: p.detach().clone() for name, p in trained.items()} if loop.ema_decay else {}
    fixed = {"optimizer": loop.optimizer, "mixed_precision": stepper.precision}
    start = _resume(folder, stepper, average, fixed)
    if accelerator.is_main_process:
        forget_unfinished(folder / "checkpoints")
    log = RunLog(folder, config, accelerator, start)
    agree = Agreement(accelerator)
    started = time.monotonic()
    # The bar is closed by an error, too, whose message then has a line of its own.
    with says_how_to_go_on(folder), log.bar, contextlib.closing(stepper.order), _stop_signals() as stop:
        for step in range(start, loop.steps):
            losses = stepper(step)
            _update_average(average, trained, loop.ema_decay, step)
            log.step(step, losses)
            done = step + 1
            pause = agree(stop.requested or time.monotonic() - started > stop_after)
            if done % loop.checkpoint_every == 0 or done == loop.steps or pause:
                log.flush()
                # All processes: weights, states and places may be spread over them.
                tensors, means = whole_all(trained), whole_all(average)
                state = Checkpoint(
                    done, tensors, means, stepper.states(), fixed, stepper.places(), stepper.scaler_state()
                )
                if accelerator.is_main_process:
                    write_checkpoint(folder / "checkpoints", state, loop.keep_checkpoints)
                if on_checkpoint is not None:
                    on_checkpoint()
            # After the checkpoint: it may fail.
            if loop.validate_every and done % loop.validate_every == 0 and not pause:
                with says_what_a_look_needs(config.objective):
                    _validate(stepper, average, log, done)
            if pause and done < loop.steps:
                log.close(f"stopped at step {done} of {loop.steps}; run the same command again to continue")
                accelerator.wait_for_everyone()
                return False
    _load(trained, average)
    with says_how_to_go_on(folder), whole_model(stepper.model):
        if accelerator.is_main_process:
            _export(objective, folder / "export")
    accelerator.wait_for_everyone()  # what follows reads the export
    log.close(f"{config.name}: {loop.steps} steps done, exported to {folder / 'export'}")
    return True


def _validate(stepper: Stepper, average, log: RunLog, step: int) -> None:
    """Look at the moving average, which will be exported. Every process does: weights may be spread."""
    started, objective = time.monotonic(), stepper.objective
    # Other batch sizes, once in a while, are not worth compiling for.
    stance = torch.compiler.set_stance("force_eager") if stepper.loop.compile else contextlib.nullcontext()
    averaged = _instead(objective.trained(), average)
    with averaged, whole_model(objective), stepper.autocast(), stance:
        seen = objective.validate()
    if seen is not None:
        log.validation(step, *seen)
    log.leave_out(time.monotonic() - started)


@contextlib.contextmanager
def _instead(trained: Mapping[str, torch.Tensor], average: Mapping[str, torch.Tensor]):
    """The moving average in place of the trained tensors, for a while."""
    kept = {name: tensor.detach().clone() for name, tensor in trained.items()} if average else {}
    _load(trained, average)
    try:
        yield
    finally:
        _load(trained, kept)


@torch.no_grad()
def _update_average(average, trained, decay: float, step: int) -> None:
    if average:
        # Early on the average is short, so that the random start is forgotten.
        weight = 1 - min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(average.values()), [p.detach() for p in trained.values()], weight)


def _resume(folder: Path, stepper: Stepper, average, fixed: Mapping[str, str]) -> int:
    """Put the newest whole checkpoint in place; the step to go on from. ValueError for one of another run."""
    found = whole_checkpoints(folder / "checkpoints")
    if not found:
        return 0
    checkpoint = read_checkpoint(found[-1][1])
    for name, value in checkpoint.fixed.items():
        if fixed.get(name) != value:
            raise ValueError(
                f"{found[-1][1]} was trained with --{name} {value}, this run has {fixed.get(name)}: continue "
                "with the same, or choose another --out"
            )
    _load(stepper.trained, checkpoint.trained)
    if average:  # one that begins now, begins with what was trained
        _load(average, checkpoint.average or checkpoint.trained)
    stepper.go_on(checkpoint.places, checkpoint.scaler)
    stepper.restore(checkpoint.optimizers)
    return checkpoint.step


@torch.no_grad()
def _load(target: Mapping[str, torch.Tensor], source: Mapping[str, torch.Tensor]) -> None:
    if source and target.keys() != source.keys():
        changed = sorted(target.keys() ^ source.keys())[:4]
        raise ValueError(
            f"the checkpoint holds other tensors than this recipe trains ({', '.join(changed)}, ...); "
            "continue with the recipe it was started with, or choose another --out"
        )
    for name, value in source.items():
        if target[name].shape != value.shape:
            raise ValueError(
                f"the checkpoint holds {name} of shape {tuple(value.shape)}, this recipe trains one of "
                f"{tuple(target[name].shape)}; continue with the fields it was started with (config.json), "
                "or choose another --out"
            )
        target[name].copy_(spread_like(value, target[name]))


def _export(objective: Objective, target: Path) -> None:
    """Write the export whole: its presence says that the run is complete."""
    with whole_folder(target) as new:
        objective.export(new)


class _StopSignal:
    """Remembers a request to stop, so that a step is never cut in the middle."""

    def __init__(self):
        self.requested = False

    def request(self, *_) -> None:
        self.requested = True


@contextlib.contextmanager
def _stop_signals() -> Iterator[_StopSignal]:
    """SIGTERM and SIGINT as requests to stop, for a while; what they did before they do again."""
    stop, before = _StopSignal(), {}
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # not in the main thread: the host handles signals
            before[name] = signal.signal(name, stop.request)
    try:
        yield stop
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
