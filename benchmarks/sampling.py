"""What does a step cost with an adapter, beside the plain network and beside the least it could cost?

A UNet of Stable Diffusion 1.5's geometry with random weights, an adapter with merged weights, one sample.
Everything is timed in one run, in rounds that time every variant once in shuffled order; a ratio is taken
within its round, and median and quartiles over rounds are reported. Quality is not measured here, nor what
the loop around the network costs (`loop.py`).

    python benchmarks/sampling.py --latents 32 --dtype float32 --guidance off,on --out speed.jsonl

- shortcut: the held-clean condition was recorded once; the recording pass is counted over 20 steps. Its
  floor is a plain call + one read per block of keys and values that are ready.
- two-way: image and condition both run. Its floor is a plain call on both branches + one more self-attention
  per block.
- ControlNet: diffusers' own, on the same guided items.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from floors import OneRead, OneSelfAttention, floor_bytes, with_floor
from timing import processor_name, seconds, working_bytes
from torch import Tensor, nn

from adapters import (
    AdapterConfig,
    JointAdapter,
    Pair,
    graft,
    joint_forward,
    merge_for_inference,
    record_clean,
)
from eval.records import Record, append

SD15 = {"cross_attention_dim": 768}  # all else is diffusers' default
TINY = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
NUM_STEPS = 20
"""Steps of a run, over which the recording pass is counted."""
NUM_TOKENS = 77
FLOORS = {"shortcut": "floor: one read", "two-way": "floor: two branches + self-attention"}
BARS = {"shortcut": 1.10, "two-way": 1.05}
"""Largest acceptable ratio to the variant's floor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One table: what all its variants share."""

    latents: int
    """Side of the latents."""
    dtype: str
    guidance: bool
    """Whether every call holds a prompted and an unprompted half."""
    device: str
    clock: str
    """"wall", or "processor": time of all threads, for a machine that does other work too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to make a step, with the processors it runs on and what it holds beside the UNet."""

    processors: Mapping[str, Any]
    call: Callable[[], object]
    extra_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """A variant's seconds per step in every round, and its peak memory."""

    seconds: np.ndarray
    peak_bytes: int | None
    """Weights and working memory; None where this platform does not tell."""


# ----------------------------------------------------------------------------------------------------------
# what is timed


@dataclass(frozen=True, kw_only=True, slots=True)
class Models:
    """The networks of one dtype, and the attention processors of every variant."""

    unet: UNet2DConditionModel
    controlnet: ControlNetModel
    processors: dict[str, dict[str, Any]]
    merged_bytes: dict[str, int]
    """What merging adds, by adapter."""


@torch.no_grad()
def build(dtype: str, device: str, *, tiny: bool) -> Models:
    """Random weights; one UNet serves all variants, its processors are exchanged between calls."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**(TINY if tiny else SD15)).to(device, getattr(torch, dtype)).eval()
    controlnet = ControlNetModel.from_unet(unet).to(device, getattr(torch, dtype)).eval()
    processors = {
        "base": unet.attn_processors,
        "one read": with_floor(unet, OneRead),
        "one self-attention": with_floor(unet, OneSelfAttention),
    }
    graft(unet, {name: _adapter(unet, config) for name, config in _configs(unet, tiny=tiny).items()})
    merge_for_inference(unet)
    processors["merged"] = unet.attn_processors
    return Models(unet=unet, controlnet=controlnet, processors=processors, merged_bytes=_merged_bytes(unet))


def _configs(unet: UNet2DConditionModel, *, tiny: bool) -> dict[str, AdapterConfig]:
    """The adapter as it is by default, and with less reading at the top resolution."""
    rank, top = 2 if tiny else 64, ("down_blocks.0", f"up_blocks.{len(unet.config.up_block_types) - 1}")
    return {
        "depth": AdapterConfig(condition="depth", rank=rank),
        "pooled": AdapterConfig(condition="depth", rank=rank, pool_keys=2),
        "skipped": AdapterConfig(condition="depth", rank=rank, skip_blocks=top),
    }


def _adapter(unet: UNet2DConditionModel, config: AdapterConfig) -> JointAdapter:
    adapter = JointAdapter.for_unet(unet, config)
    for _, tensor in adapter.tensors():
        nn.init.normal_(tensor, std=0.02)
    return adapter.requires_grad_(False)


def _merged_bytes(unet: UNet2DConditionModel) -> dict[str, int]:
    parts = [item for p in unet.attn_processors.values() for item in p.adapters.items()]
    return {
        name: sum(b.nbytes for n, part in parts if n == name for b in part.buffers())
        for name in dict.fromkeys(name for name, _ in parts)
    }


def inputs(models: Models, setting: Setting, branches: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, timesteps and text of one sample: (guidance * branch) items."""
    items, side = branches * (1 + setting.guidance), setting.latents
    place = {"device": setting.device, "dtype": models.unet.dtype}
    text = torch.randn(items, NUM_TOKENS, models.unet.config.cross_attention_dim, **place)
    timestep = torch.full((items,), 500.0, device=setting.device)
    return torch.randn(items, 4, side, side, **place), timestep, text


def variants(models: Models, setting: Setting) -> dict[str, Variant]:
    """Every way to make a step. "recording" is no step: it is counted into the shortcuts."""
    unet, on = models.unet, models.processors
    one, two = inputs(models, setting, 1), inputs(models, setting, 2)
    return {
        "plain": Variant(processors=on["base"], call=lambda: unet(*one)),
        FLOORS["shortcut"]: Variant(
            processors=on["one read"], call=lambda: unet(*one), extra_bytes=floor_bytes(on["one read"])
        ),
        **_shortcuts(models, one, setting),
        "plain, two branches": Variant(processors=on["base"], call=lambda: unet(*two)),
        FLOORS["two-way"]: Variant(
            processors=on["one self-attention"],
            call=lambda: unet(*two),
            extra_bytes=floor_bytes(on["one self-attention"]),
        ),
        "two-way": _two_way(models, two, setting),
        "ControlNet": _controlnet(models, one, setting),
    }


def _shortcuts(models: Models, batch: Sequence[Tensor], setting: Setting) -> dict[str, Variant]:
    """The shortcut under every adapter, and the recording pass, which one item serves."""
    names = {"depth": "shortcut", "pooled": "shortcut, keys pooled", "skipped": "shortcut, top skipped"}
    steps = {label: _shortcut(models, batch, setting, name) for name, label in names.items()}
    recording = Variant(processors=models.processors["merged"], call=_recording(models, batch, "depth"))
    return {**steps, "recording": recording}


def _recording(models: Models, batch: Sequence[Tensor], adapter: str) -> Callable[[], Any]:
    pairs = [Pair(image=0, condition=1, adapter=adapter, condition_weight=0.0)]
    x, _, text = (tensor[:1] for tensor in batch)
    return lambda: record_clean(models.unet, x, 0.0, text, pairs=pairs, branches=[1])


def _shortcut(models: Models, batch: Sequence[Tensor], setting: Setting, adapter: str) -> Variant:
    models.unet.set_attn_processor(dict(models.processors["merged"]))
    cache = _recording(models, batch, adapter)()
    pairs = [Pair(image=0, condition=1, adapter=adapter, condition_weight=0.0)]
    halves = 1 + setting.guidance
    return Variant(
        processors=models.processors["merged"],
        call=lambda: joint_forward(
            models.unet, *batch, pairs=pairs, num_branches=2, num_guidance=halves, cache=cache
        ),
        extra_bytes=models.merged_bytes[adapter] + cache.num_bytes,
    )


def _two_way(models: Models, batch: Sequence[Tensor], setting: Setting) -> Variant:
    pairs = [Pair(image=0, condition=1, adapter="depth")]
    halves = 1 + setting.guidance
    return Variant(
        processors=models.processors["merged"],
        call=lambda: joint_forward(models.unet, *batch, pairs=pairs, num_branches=2, num_guidance=halves),
        extra_bytes=models.merged_bytes["depth"],
    )


def _controlnet(models: Models, batch: Sequence[Tensor], setting: Setting) -> Variant:
    side = 8 * setting.latents
    hint = torch.rand(len(batch[0]), 3, side, side, device=setting.device, dtype=models.unet.dtype)

    def call() -> None:
        x, timestep, text = batch
        down, middle = models.controlnet(x, timestep, text, controlnet_cond=hint, return_dict=False)
        models.unet(
            x, timestep, text, down_block_additional_residuals=down, mid_block_additional_residual=middle
        )

    weights = sum(p.nbytes for p in models.controlnet.parameters())
    return Variant(processors=models.processors["base"], call=call, extra_bytes=weights)


@torch.no_grad()
def measure(models: Models, setting: Setting, rounds: int) -> dict[str, Result]:
    """Warm up every variant, then time each once a round; the recording is counted into the shortcuts."""
    ways = variants(models, setting)
    peaks = {name: _peak_bytes(models, way, setting) for name, way in ways.items()}
    rounds_s: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for number in range(rounds):
        random.Random(number).shuffle(order)
        for name in order:
            rounds_s[name].append(_seconds(models, ways[name], setting))
    recording = np.array(rounds_s["recording"]) / NUM_STEPS
    return {
        name: Result(
            seconds=np.array(values) + (recording if name.startswith("shortcut") else 0),
            peak_bytes=peaks[name],
        )
        for name, values in rounds_s.items()
    }


def _seconds(models: Models, way: Variant, setting: Setting) -> float:
    models.unet.set_attn_processor(dict(way.processors))
    return seconds(way.call, setting.device, setting.clock)


def _peak_bytes(models: Models, way: Variant, setting: Setting) -> int | None:
    """Weights and the most that a second call adds; both calls are the warm-up too."""
    _seconds(models, way, setting)
    working = working_bytes(way.call, setting.device)
    weights = sum(p.nbytes for p in models.unet.parameters())
    return None if working is None else weights + way.extra_bytes + working


# ----------------------------------------------------------------------------------------------------------
# what is reported


def ratio(results: Mapping[str, Result], name: str, other: str) -> tuple[float, float, float]:
    """Median and quartiles over rounds of the time of `name` to that of `other` in the same round."""
    quotients = results[name].seconds / results[other].seconds
    low, median, high = np.quantile(quotients, (0.25, 0.5, 0.75))
    return float(median), float(low), float(high)


def verdicts(results: Mapping[str, Result]) -> list[str]:
    """A line per bar: the variant against its floor, and the shortcut against ControlNet."""
    lines = [
        _verdict(f"{name} to its floor", ratio(results, name, FLOORS[name]), bar)
        for name, bar in BARS.items()
    ]
    ours = [name for name in results if name.startswith("shortcut")]
    return lines + [
        _verdict(f"{name} to ControlNet", ratio(results, name, "ControlNet"), 1.0) for name in ours
    ]


def _verdict(what: str, found: tuple[float, float, float], bar: float) -> str:
    median, low, high = found
    outcome = "met" if high <= bar else "missed" if low > bar else "undecided, the bar is within the spread"
    return f"- {what}: {median:.3f} ({low:.3f} to {high:.3f}), bar {bar:.2f}: {outcome}"


def table(results: Mapping[str, Result]) -> str:
    """Markdown: milliseconds per step, ratio to the plain call with its quartiles, peak memory."""
    rows = ["| variant | ms per step | to plain | 25% to 75% | peak GiB |", "|---|---|---|---|---|"]
    for name, result in results.items():
        median, low, high = ratio(results, name, "plain")
        peak = "" if result.peak_bytes is None else f"{result.peak_bytes / 2**30:.2f}"
        time_ms = 1e3 * np.median(result.seconds)
        rows.append(f"| {name} | {time_ms:.0f} | {median:.3f} | {low:.3f} to {high:.3f} | {peak} |")
    return "\n".join(rows)


def records(results: Mapping[str, Result], settings: Mapping[str, Any], merged_bytes: int) -> list[Record]:
    """One record per variant."""
    return [
        Record(
            name=f"sampling/{name}", numbers=_numbers(results, name, merged_bytes), settings=dict(settings)
        )
        for name in results
    ]


def _numbers(results: Mapping[str, Result], name: str, merged_bytes: int) -> dict[str, float | int]:
    median, low, high = ratio(results, name, "plain")
    numbers = {"seconds": float(np.median(results[name].seconds))}
    numbers |= {"to_plain": median, "to_plain_low": low, "to_plain_high": high, "merged_bytes": merged_bytes}
    if name in FLOORS:
        numbers["to_floor"] = ratio(results, name, FLOORS[name])[0]
    if results[name].peak_bytes is not None:
        numbers["peak_bytes"] = results[name].peak_bytes
    return numbers


def report(models: Models, setting: Setting, args: argparse.Namespace) -> None:
    """Measure one setting; print its table and keep its records."""
    results = measure(models, setting, args.rounds)
    shared = {
        **{field: getattr(setting, field) for field in Setting.__slots__},
        "rounds": args.rounds,
        "threads": torch.get_num_threads(),
        "processor": processor_name(),
        "tiny": args.tiny,
        "steps": NUM_STEPS,
    }
    guidance = "on" if setting.guidance else "off"
    print(f"\n## {setting.latents}x{setting.latents} latents, {setting.dtype}, guidance {guidance}\n")
    print(table(results), *verdicts(results), sep="\n", flush=True)
    for record in records(results, shared, models.merged_bytes["depth"]) if args.out else ():
        append(args.out, record)


def run(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    machine = f"{processor_name()}, {args.device}, {args.threads} threads"
    print(f"{machine}, {args.rounds} rounds, {args.clock} time, torch {torch.__version__}")
    for dtype in args.dtype:
        models = build(dtype, args.device, tiny=args.tiny)
        added = ", ".join(f"{name} {count / 2**20:.0f} MiB" for name, count in models.merged_bytes.items())
        print(f"\nMerging adds, {dtype}: {added}")
        for side, guidance in product(args.latents, args.guidance):
            setting = Setting(
                latents=side, dtype=dtype, guidance=guidance == "on", device=args.device, clock=args.clock
            )
            report(models, setting, args)
        del models  # before the next are built


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(name: str, default: Any, help: str, **more: Any) -> None:
        parser.add_argument(name, default=default, help=f"{help} (default {default})", **more)

    add("--latents", "32,64", "sides of the latents", type=_several(int))
    add("--dtype", "float32,bfloat16", "dtypes", type=_several(_one_of("float32", "bfloat16", "float16")))
    add("--guidance", "off,on", "without and with a second half", type=_several(_one_of("off", "on")))
    add("--rounds", 5, "times that every variant is timed", type=int)
    add("--threads", torch.get_num_threads(), "threads of torch", type=int)
    add("--device", "cpu", "where to run")
    add("--clock", "wall", "processor time where other work runs", choices=["wall", "processor"])
    add("--out", None, "file to which records are added, one line of JSON each", type=Path)
    parser.add_argument("--tiny", action="store_true", help="a small geometry, to test the script")
    return parser.parse_args(argv)


def _several(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    return lambda text: [kind(part) for part in text.split(",")]


def _one_of(*allowed: str) -> Callable[[str], str]:
    def value(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"got {text!r}, choose from {', '.join(allowed)}")
        return text

    return value


if __name__ == "__main__":
    run(parse())
