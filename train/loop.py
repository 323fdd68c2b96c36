"""How does one run train, log, stop and continue?

The loop knows no objective: it feeds item indices and draws, steps the optimizer, keeps the moving average
and writes checkpoints. Distribution and mixed precision are accelerate's.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import Accelerator
from PIL import Image
from tqdm import tqdm

from eval.records import commit, versions
from train.checkpoint import Checkpoint, read_checkpoint, whole_checkpoints, write_checkpoint
from train.compiling import compile_blocks
from train.config import LoopConfig, RunConfig, as_json
from train.objectives.base import Objective
from train.optimizers import make_optimizers, set_rates
from train.randomness import DataOrder, step_generator


def fit(objective: Objective, config: RunConfig, folder: Path, *, stop_after: float = math.inf) -> bool:
    """Train until `config.loop.steps` or for `stop_after` seconds; True when the run is complete.

    Continues from the newest whole checkpoint under `folder`. SIGTERM and SIGINT save and stop.
    Raises ValueError on a batch that does not divide over the processes and on a loss that is not finite.
    """
    loop = config.loop
    accelerator = Accelerator(mixed_precision=_precision(loop))
    share = _share_per_process(loop, accelerator.num_processes)
    if loop.compile:
        compile_blocks(objective)
    trained = objective.trained()
    model, *optimizers = accelerator.prepare(objective, *make_optimizers(trained, loop))
    average = {name: p.detach().clone() for name, p in trained.items()} if loop.ema_decay else {}
    order = DataOrder(loop.seed, loop.batch_size, objective.num_items, objective.groups)
    start = _resume(folder, trained, average, optimizers)
    log = RunLog(folder, config, accelerator.is_main_process, start)
    stop = _StopSignal()
    started = time.monotonic()
    step = start
    for step in range(start, loop.steps):
        losses = _train_step(accelerator, model, optimizers, loop, order, share, step, objective)
        _update_average(average, trained, loop.ema_decay, step)
        log.step(step, losses)
        done = step + 1
        if loop.validate_every and done % loop.validate_every == 0:
            _validate(accelerator, objective, average, log, done, compiled=loop.compile)
        pause = _any(accelerator, stop.requested or time.monotonic() - started > stop_after)
        if done % loop.checkpoint_every == 0 or done == loop.steps or pause:
            log.flush()
            if accelerator.is_main_process:
                state = Checkpoint(done, dict(trained), average, [o.state_dict() for o in optimizers])
                write_checkpoint(folder / "checkpoints", state, loop.keep_checkpoints)
        if pause and done < loop.steps:
            log.close(f"stopped at step {done} of {loop.steps}; run the same command again to continue")
            accelerator.wait_for_everyone()
            return False
    if accelerator.is_main_process:
        _load(trained, average)
        _export(objective, folder / "export")
    accelerator.wait_for_everyone()  # what follows reads the export
    log.close(f"{config.name}: {loop.steps} steps done, exported to {folder / 'export'}")
    return True


def _any(accelerator: Accelerator, mine: bool) -> bool:
    """Whether it holds in any process: all must leave the loop at the same step."""
    if accelerator.num_processes == 1:
        return mine
    count = accelerator.reduce(torch.tensor(float(mine), device=accelerator.device), "sum")
    return bool(torch.as_tensor(count) > 0)


def _train_step(
    accelerator,
    model,
    optimizers,
    loop: LoopConfig,
    order: DataOrder,
    share: int,
    step: int,
    objective: Objective,
):
    set_rates(optimizers, rate_share(loop, step))
    items = torch.from_numpy(order.items(step))
    draws = objective.draw(step_generator(loop.seed, step), items)
    first = accelerator.process_index * share
    micro = loop.micro_batch or share
    sums: dict[str, torch.Tensor] = {}
    for start in range(first, first + share, micro):
        stop = min(start + micro, first + share)
        last = stop == first + share
        with contextlib.nullcontext() if last else accelerator.no_sync(model):
            losses, parts = model(items[start:stop], draws.part(start, stop, accelerator.device))
            # DDP averages over processes, so each divides by its own share.
            accelerator.backward(losses.sum() / share)
        for name, value in {"loss": losses, **parts}.items():
            sums[name] = sums.get(name, 0) + value.detach().float().sum() / share
    sums["grad_norm"] = accelerator.clip_grad_norm_(objective.trained().values(), loop.clip_norm)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return sums


def _validate(accelerator, objective: Objective, average, log: RunLog, step: int, *, compiled: bool) -> None:
    """Look at the moving average, which will be exported. Every process does: weights may be spread."""
    started = time.monotonic()
    # Other batch sizes, once in a while, are not worth compiling for.
    stance = torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()
    with _instead(objective.trained(), average), accelerator.autocast(), stance:
        seen = objective.validate()
    if seen is not None:
        log.validation(step, *seen)
    log.clock += time.monotonic() - started  # no part of the rate of training


@contextlib.contextmanager
def _instead(trained: Mapping[str, torch.Tensor], average: Mapping[str, torch.Tensor]):
    """The moving average in place of the trained tensors, for a while."""
    kept = {name: tensor.detach().clone() for name, tensor in trained.items()} if average else {}
    _load(trained, average)
    try:
        yield
    finally:
        _load(trained, kept)


def rate_share(loop: LoopConfig, step: int) -> float:
    """Share of the full learning rate: warm-up, stable, linear decay (Hu et al. 2024).

    The stable phase can be continued for longer later.
    """
    warm = min(1.0, (step + 1) / max(1, loop.warmup_steps))
    decay_steps = loop.decay_share * loop.steps
    left = (loop.steps - step) / decay_steps if decay_steps else 1.0
    return min(warm, left, 1.0)


@torch.no_grad()
def _update_average(average, trained, decay: float, step: int) -> None:
    if average:
        # Early on the average is short, so that the random start is forgotten.
        weight = 1 - min(decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(average.values()), [p.detach() for p in trained.values()], weight)


def _resume(folder: Path, trained, average, optimizers) -> int:
    found = whole_checkpoints(folder / "checkpoints")
    if not found:
        return 0
    checkpoint = read_checkpoint(found[-1][1])
    _load(trained, checkpoint.trained)
    _load(average, checkpoint.average)
    for optimizer, state in zip(optimizers, checkpoint.optimizers, strict=True):
        optimizer.load_state_dict(state)
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
        target[name].copy_(value)


def _export(objective: Objective, target: Path) -> None:
    """Write the export under a temporary name first: its presence says that the run is complete."""
    temporary = target.with_name(f".{target.name}_{os.getpid()}")
    objective.export(temporary)
    if target.exists():
        shutil.rmtree(target)
    os.replace(temporary, target)


def _share_per_process(loop: LoopConfig, num_processes: int) -> int:
    if loop.batch_size % num_processes:
        raise ValueError(
            f"batch_size {loop.batch_size} does not divide over {num_processes} processes; choose a multiple"
        )
    return loop.batch_size // num_processes


def _precision(loop: LoopConfig) -> str:
    if loop.mixed_precision != "auto":
        return loop.mixed_precision
    from unicon.devices import pick_dtype

    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(pick_dtype(device), "no")
    return "no" if found == "fp16" and loop.optimizer == "muon" else found  # see LoopConfig


class _StopSignal:
    """Remembers a request to stop, so that a step is never cut in the middle."""

    def __init__(self):
        self.requested = False
        for name in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):  # not in the main thread: the host handles signals
                signal.signal(name, self._request)

    def _request(self, *_):
        self.requested = True


class RunLog:
    """Config, versions and JSON-lines metrics of a run folder, and its progress bar.

    Values stay on the device until `log_every` steps have passed, so logging does not stall it.
    """

    def __init__(self, folder: Path, config: RunConfig, is_main: bool, start: int):
        self.folder, self.loop, self.is_main = folder, config.loop, is_main
        self.pending: list[tuple[int, dict[str, torch.Tensor]]] = []
        self.clock = time.monotonic()
        self.bar = tqdm(
            total=config.loop.steps, initial=start, desc=config.name, disable=not is_main, unit="step"
        )
        if is_main:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(as_json(config))
            (folder / "versions.json").write_text(json.dumps({"commit": commit(), **versions()}, indent=2))

    def step(self, step: int, values: dict[str, torch.Tensor]) -> None:
        self.pending.append((step, values))
        self.bar.update()
        if len(self.pending) >= self.loop.log_every:
            self.flush()

    def flush(self) -> None:
        if not self.pending:
            return
        means = {k: sum(float(v[k]) for _, v in self.pending) / len(self.pending) for k in self.pending[0][1]}
        now = time.monotonic()
        record = {
            "step": self.pending[-1][0] + 1,
            **means,
            "lr": self.loop.learning_rate * rate_share(self.loop, self.pending[-1][0]),
            "items_per_second": len(self.pending) * self.loop.batch_size / (now - self.clock),
        }
        self.clock, self.pending = now, []
        if not math.isfinite(means["loss"]):
            raise ValueError(
                f"the loss is {means['loss']} at step {record['step']}; the last checkpoint is untouched: "
                "continue from it with a lower --learning_rate or --mixed_precision no"
            )
        if self.is_main:
            with (self.folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(record) + "\n")
            self.bar.set_postfix(loss=f"{means['loss']:.4f}", rate=f"{record['items_per_second']:.0f}/s")

    def validation(self, step: int, numbers: Mapping[str, float], sheet: Image.Image) -> None:
        """One line of `validation.jsonl`, and `validation/step_XXXXXXXX.png`."""
        if not self.is_main:
            return
        folder = self.folder / "validation"
        folder.mkdir(exist_ok=True)
        sheet.save(folder / f"step_{step:08d}.png")
        with (self.folder / "validation.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        self.bar.write(f"step {step}: " + ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))

    def close(self, message: str) -> None:
        self.flush()
        self.bar.close()
        if self.is_main:
            print(message)
