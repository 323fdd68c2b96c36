"""What does the pipeline add to a step, beyond the calls of the network?

The time between two steps of a real run, less the time inside the UNet's own forward. It depends little on
the size of the network, so it is given in milliseconds: put it beside the milliseconds of `sampling.py`.

    python benchmarks/loop.py --base mini
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import processor_name

from eval.records import Record, append
from unicon.bases import base_size
from unicon.pipeline import UniConPipeline


class NetworkClock:
    """Seconds spent inside a module's forward since `read` was last called."""

    def __init__(self, module: torch.nn.Module):
        self.total, self.begun = 0.0, 0.0
        self.hooks = (
            module.register_forward_pre_hook(self._start),
            module.register_forward_hook(self._stop),
        )

    def read(self) -> float:
        total, self.total = self.total, 0.0
        return total

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()

    def _start(self, *_: object) -> None:
        self.begun = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self.total += time.perf_counter() - self.begun


def modes(pipe: UniConPipeline, condition: str) -> dict[str, dict[str, Any]]:
    """The call's arguments for every direction."""
    side = base_size(pipe.unet, pipe.vae).own_px
    picture = torch.rand(3, side, side).numpy().transpose(1, 2, 0)
    return {
        "map to image": {condition: picture},
        "map to image, guided": {condition: picture, "guidance_scale": 5.0},
        "map to image, two-way": {condition: picture, "held_clean": "two_way"},
        "image to map": {"image": picture, "outputs": [condition]},
        "both": {"outputs": ["image", condition]},
    }


def overheads(pipe: UniConPipeline, call: Mapping[str, Any], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """(seconds around the network, seconds inside it) of every step but the first."""
    clock = NetworkClock(pipe.unet)
    marks: list[float] = []
    inside: list[float] = []

    def watch(*_: Any) -> dict[str, Any]:
        marks.append(time.perf_counter())
        inside.append(clock.read())
        return {}

    call = {"guidance_scale": 1.0, **call}
    pipe("a", num_inference_steps=steps, output_type="latent", callback_on_step_end=watch, **call)
    clock.remove()
    return np.diff(marks) - inside[1:], np.array(inside[1:])


def measure(pipe: UniConPipeline, steps: int, condition: str) -> list[Record]:
    """A warm-up and a run of every direction."""
    return [_measured(pipe, name, call, steps) for name, call in modes(pipe, condition).items()]


def _measured(pipe: UniConPipeline, name: str, call: Mapping[str, Any], steps: int) -> Record:
    overheads(pipe, call, 3)
    around, inside = (1e3 * seconds for seconds in overheads(pipe, call, steps))
    low, median, high = (float(v) for v in np.quantile(around, (0.25, 0.5, 0.75)))
    numbers = {"around_ms": median, "around_ms_low": low, "around_ms_high": high}
    settings = {"steps": steps, "threads": torch.get_num_threads(), "processor": processor_name()}
    numbers["network_ms"] = float(np.median(inside))
    return Record(name=f"loop/{name}", numbers=numbers, settings=settings)


def table(records: Sequence[Record]) -> str:
    """Markdown."""
    rows = ["| direction | around the network, ms per step | 25% to 75% | in it, ms |", "|---|---|---|---|"]
    for record in records:
        n = record.numbers
        spread = f"{n['around_ms_low']:.2f} to {n['around_ms_high']:.2f}"
        name = record.name.removeprefix("loop/")
        rows.append(f"| {name} | {n['around_ms']:.2f} | {spread} | {n['network_ms']:.1f} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="mini", help="a base with its adapters (default mini)")
    parser.add_argument("--condition", default="depth", help="an adapter of the base (default depth)")
    parser.add_argument("--steps", type=int, default=50, help="steps per run (default 50)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--out", type=Path, help="file to which records are added, one line of JSON each")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pipe = UniConPipeline.from_pretrained(args.base)
    pipe.set_progress_bar_config(disable=True)
    records = measure(pipe, args.steps, args.condition)
    print(f"{processor_name()}, {args.threads} threads, {args.base}, {args.steps} steps\n")
    print(table(records))
    for record in records if args.out else ():
        append(args.out, record)


if __name__ == "__main__":
    main()
