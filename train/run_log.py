"""What can be read of a run: its own files, its progress bar, and trackers that were asked for.

The files are always written, so a tracker is never needed to know how a run went.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.tracking import get_available_trackers
from accelerate.utils import LoggerType
from PIL import Image
from tqdm import tqdm

from adapters.files import write_whole
from eval.records import commit, versions
from train.checkpoint import whole_checkpoints
from train.config import RunConfig, as_json
from train.curves import draw_curves
from train.made import same_place
from train.names import closest
from train.schedules import rate_share
from train.stepping import Tallies
from train.validation import not_heeded

CONFIG, METRICS, VALIDATION, CURVES = "config.json", "metrics.jsonl", "validation.jsonl", "curves.png"
SHEETS = "validation"
WHAT_IT_IS = (
    "condition", "peer", "maps", "base", "data", "start_from", "trigger", "phrase",
    "scenes", "latents", "photo_shards", "photo_latents", "embeddings", "num_scenes",
    "rank", "locality", "clean_timestep", "condition_lora", "skip_blocks", "pool_keys", "lora_rank",
    "channels", "blocks", "layers", "heads", "layers_per_block", "head_width", "latent_channels",
    "num_tokens", "token_width", "components", "buckets", "text_width", "text_layers", "image_width",
    "image_layers", "patch_size", "projection", "vocabulary", "max_tokens",
)  # fmt: skip
"""Fields of objectives that say what is trained, on what, from what and of which form. A run goes on, and is
done, only with the same; rates, shares and levels may change on the way."""


def check_same_run(folder: Path, config: RunConfig) -> None:
    """ValueError where what was trained in `folder` is something else than `config` says."""
    path = folder / CONFIG
    if not path.is_file() or not ((folder / "export").exists() or whole_checkpoints(folder / "checkpoints")):
        return
    before, now = (json.loads(text)["objective"] for text in (path.read_text(), as_json(config)))
    for name in WHAT_IT_IS:
        if name in before and name in now and not _same(before[name], now[name]):
            was, is_now = (
                f"--{name} {one}" if one != "" else f"no --{name}" for one in (before[name], now[name])
            )
            on = f" (there, --start_from {folder / 'export'} trains on)" if "start_from" in now else ""
            raise ValueError(
                f"{folder} holds a run with {was}, this one has {is_now}: choose another --out{on}, or give "
                "the same"
            )


def _same(before: object, now: object) -> bool:
    return same_place(before, now) if isinstance(before, str) and isinstance(now, str) else before == now


class RunLog:
    """Config, versions and JSON-lines metrics of a run folder, its progress bar, and trackers.

    Values stay on the device until `log_every` steps have passed, so logging does not stall it.
    """

    def __init__(self, folder: Path, config: RunConfig, accelerator: Accelerator, start: int):
        self.folder, self.loop, self.accelerator = folder, config.loop, accelerator
        self.is_main = is_main = accelerator.is_main_process
        self.pending: list[tuple[int, Tallies]] = []
        self.clock = time.monotonic()
        self.bar = tqdm(
            total=config.loop.steps, initial=start, desc=config.name, disable=not is_main, unit="step"
        )
        if is_main:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / CONFIG, lambda path: path.write_text(as_json(config)))
            (folder / "versions.json").write_text(json.dumps({"commit": commit(), **versions()}, indent=2))
            _keep_until(folder / METRICS, start)
            if _keep_until(folder / VALIDATION, start):
                (folder / CURVES).unlink(missing_ok=True)  # of lines that are no more; the next look draws it
            for sheet in (folder / SHEETS).glob(f"step_{'[0-9]' * 8}.png"):
                if int(sheet.stem.removeprefix("step_")) > start:
                    sheet.unlink()
        if config.loop.trackers:
            wandb = {"dir": str(folder), "name": folder.parent.name}  # else below the current folder
            accelerator.init_trackers(config.name, config=_flat(config), init_kwargs={"wandb": wandb})

    def step(self, step: int, tallies: Tallies) -> None:
        self.pending.append((step, tallies))
        self.bar.update()
        if len(self.pending) >= self.loop.log_every:
            self.flush()

    def flush(self) -> None:
        if not self.pending:
            return
        means = self._means()
        now = time.monotonic()
        record = {
            "step": self.pending[-1][0] + 1,
            **means,
            "lr": self.loop.learning_rate * rate_share(self.loop, self.pending[-1][0]),
            "items_per_second": len(self.pending) * self.loop.batch_size / (now - self.clock),
        }
        self.clock, self.pending = now, []
        # In fp16 a step whose gradients are too large is left out, and its norm is infinite.
        told = {"loss": "the loss"}
        told |= {"grad_norm": "the norm of the gradients"} if self.accelerator.scaler is None else {}
        for name, words in told.items():
            if not math.isfinite(means[name]):
                raise ValueError(
                    f"{words} is {means[name]} at step {record['step']}; the last checkpoint is untouched: "
                    "continue from it with a lower --learning_rate, or start anew with --mixed_precision no"
                )
        if self.is_main:
            with (self.folder / METRICS).open("a") as file:
                file.write(json.dumps(record) + "\n")
            self.accelerator.log({k: v for k, v in record.items() if k != "step"}, step=record["step"])
            self.bar.set_postfix(loss=f"{means['loss']:.4f}", rate=f"{record['items_per_second']:.0f}/s")

    def _means(self) -> dict[str, float]:
        """Over the items of the pending steps and of all processes, which come here at the same steps."""
        rows = torch.stack([torch.stack(list(tallies.values())) for _, tallies in self.pending])
        sums = self.accelerator.reduce(rows.sum(0), "sum")
        named = zip(self.pending[0][1], torch.as_tensor(sums).tolist(), strict=True)
        return {name: total / num for name, (total, num) in named if num}

    def validation(self, step: int, numbers: Mapping[str, float], sheet: Image.Image) -> None:
        """One line of `validation.jsonl`, `validation/step_<number>.png`, and all lines as `curves.png`."""
        if not self.is_main:
            return
        folder = self.folder / SHEETS
        folder.mkdir(exist_ok=True)
        sheet.save(folder / f"step_{step:08d}.png")
        with (self.folder / VALIDATION).open("a") as file:
            file.write(json.dumps({"step": step, **numbers}) + "\n")
        rows = (self.folder / VALIDATION).read_text().splitlines()
        draw_curves([json.loads(row) for row in rows], self.folder / CURVES)
        self.accelerator.log({f"validation/{name}": value for name, value in numbers.items()}, step=step)
        for tracker in self.accelerator.trackers:
            if not hasattr(tracker, "log_images"):  # not every one knows pictures
                continue
            layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({"validation": np.asarray(sheet)[None]}, step=step, **layout)
        self.bar.write(f"step {step}: " + ", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
        if ignored := not_heeded(numbers):
            self.bar.write(f"  the other side is not heeded yet in {' and '.join(ignored)}")

    def leave_out(self, seconds: float) -> None:
        """Time that is no part of the rate of training."""
        self.clock += seconds

    def close(self, message: str) -> None:
        self.flush()
        self.bar.close()
        for tracker in self.accelerator.trackers:  # end_training would part the processes, too
            tracker.finish()
        if self.is_main:
            print(message)


def _keep_until(path: Path, step: int) -> bool:
    """Drop what a run wrote after the checkpoint it is continued from: it is about to be written again.

    Whether there was anything to drop.
    """
    if not path.exists():
        return False
    lines = path.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if kept != lines:
        write_whole(path, lambda target: target.write_text("".join(kept)))
    return kept != lines


def trackers(names: str) -> list[str]:
    """The trackers that a text names, separated by commas. ValueError for one that cannot be used here."""
    asked = [name.strip() for name in names.split(",") if name.strip()]
    known = [str(tracker) for tracker in LoggerType if tracker != LoggerType.ALL]
    usable = [str(tracker) for tracker in get_available_trackers()]
    for name in asked:
        if name not in known:
            raise ValueError(f"--trackers {name}: accelerate knows no such tracker; {closest(name, known)}")
        if name not in usable:
            install = f"pip install {name.replace('_', '-')}"
            raise ValueError(
                f"--trackers {name}: not installed here; {install}, or choose from "
                f"{', '.join(usable) or 'none'}"
            )
    return asked


def _flat(config: RunConfig) -> dict[str, Any]:
    """Fields by their full names, as trackers store them."""
    sections = {"loop": config.loop, "objective": config.objective}
    fields = {f"{s}.{k}": v for s, value in sections.items() for k, v in dataclasses.asdict(value).items()}
    return {name: v if isinstance(v, (bool, int, float, str)) else str(v) for name, v in fields.items()}
