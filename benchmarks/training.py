"""What does a training step cost, beside a plain LoRA step and beside the least it could cost?

A frozen UNet with random weights; forward, backward and the optimizer's step of one pair, which is two items.
Everything is timed in one run, in rounds that time every variant once in shuffled order; a ratio is taken
within its round, and median and quartiles over rounds are reported. What encoding costs is `pairs.py`.

    python benchmarks/training.py --geometry sd15 --latents 16,32 --dtype float32,bfloat16 --out speed.jsonl

- plain LoRA: peft's, of the same rank on all attentions, on as many items, stock processors.
- floor: the same + one more self-attention per block, whose frozen weights are passed through twice.
- joint: ours, both branches read, with gates per pair as the trainer has them.
"""

from __future__ import annotations

import argparse
import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from floors import OneSelfAttention, with_floor
from sampling import SD15, TINY
from timing import processor_name, seconds, working_bytes
from torch import Tensor

from adapters import AdapterConfig, JointAdapter, Pair, graft, joint_forward
from eval.records import Record, append
from unicon.sources import find_base

RANKS = {"sd15": 64, "mini": 12, "tiny": 2}
NUM_TOKENS = {"sd15": 77, "mini": 32, "tiny": 7}
FLOOR = "floor: LoRA + self-attention"
BAR_FLOOR, BAR_LORA = 1.05, 1.3
"""Largest acceptable ratios of a joint step to its floor, and to a plain LoRA step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Networks:
    """One UNet with peft's LoRA, one with a joint adapter."""

    plain: UNet2DConditionModel
    processors: dict[str, dict[str, Any]]
    """Of the plain one: stock, and the floor's."""
    joint: UNet2DConditionModel
    optimizers: dict[str, torch.optim.Optimizer]


def build(geometry: str, device: str) -> Networks:
    """Random weights but for the mini base; both UNets have the same."""
    from peft import LoraConfig

    plain, joint = (_unet(geometry).to(device).requires_grad_(False).train() for _ in range(2))
    joint.load_state_dict(plain.state_dict())
    processors = {"plain LoRA": plain.attn_processors, FLOOR: with_floor(plain, OneSelfAttention)}
    rank = RANKS[geometry]
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    plain.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
    clean = {"locality": 11.0, "clean_timestep": 150} if geometry == "mini" else {}
    adapter = JointAdapter.for_unet(joint, AdapterConfig(condition="depth", rank=rank, **clean))
    graft(joint, {"depth": adapter})
    trained = {
        "plain": [p for p in plain.parameters() if p.requires_grad],
        "joint": list(adapter.parameters()),
    }
    optimizers: dict[str, torch.optim.Optimizer] = {
        name: torch.optim.AdamW(parameters, lr=1e-6, fused=True) for name, parameters in trained.items()
    }
    return Networks(plain=plain, processors=processors, joint=joint, optimizers=optimizers)


def _unet(geometry: str) -> UNet2DConditionModel:
    torch.manual_seed(0)
    if geometry == "mini":
        return UNet2DConditionModel.from_pretrained(find_base("mini"), subfolder="unet", dtype=torch.float32)
    return UNet2DConditionModel(**(TINY if geometry == "tiny" else SD15))


def steps(networks: Networks, args: Setting) -> dict[str, Callable[[], None]]:
    """Every way to learn from `pairs` pairs."""
    items, unet = 2 * args.pairs, networks.joint
    x = torch.randn(items, unet.config["in_channels"], args.latents, args.latents, device=args.device)
    text = torch.randn(
        items, NUM_TOKENS[args.geometry], unet.config["cross_attention_dim"], device=args.device
    )
    timestep = torch.randint(0, 1000, (items,), device=args.device).float()
    target, gates = torch.randn_like(x), torch.ones(args.pairs, device=args.device)
    pair = Pair(image=0, condition=1, adapter="depth", image_weight=gates, condition_weight=gates)

    def plain() -> None:
        _learn(lambda: networks.plain(x, timestep, text).sample, target, networks.optimizers["plain"], args)

    def joint() -> None:
        _learn(
            lambda: joint_forward(unet, x, timestep, text, pairs=[pair], num_branches=2),
            target,
            networks.optimizers["joint"],
            args,
        )

    return {"plain LoRA": plain, FLOOR: plain, "joint": joint}


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One table: what all its variants share."""

    geometry: str
    latents: int
    dtype: str
    pairs: int
    device: str
    clock: str


def _learn(
    forward: Callable[[], Tensor], target: Tensor, optimizer: torch.optim.Optimizer, args: Setting
) -> None:
    mixed = args.dtype != "float32"
    casting = torch.autocast(args.device, torch.bfloat16) if mixed else contextlib.nullcontext()
    with casting:
        loss = (forward().float() - target).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """Seconds per step in every round, and what a step adds to the memory in use."""

    seconds: np.ndarray
    working_bytes: int | None


def measure(networks: Networks, args: Setting, rounds: int) -> dict[str, Result]:
    """Warm up every variant, then time each once a round."""
    ways = steps(networks, args)
    working, taken = {}, {name: [] for name in ways}
    for name, way in ways.items():
        _prepare(networks, name)
        way()
        working[name] = working_bytes(way, args.device)
    order = list(ways)
    for number in range(rounds):
        random.Random(number).shuffle(order)
        for name in order:
            _prepare(networks, name)
            taken[name].append(seconds(ways[name], args.device, args.clock))
    return {n: Result(seconds=np.array(taken[n]), working_bytes=working[n]) for n in ways}


def _prepare(networks: Networks, name: str) -> None:
    if name in networks.processors:
        networks.plain.set_attn_processor(dict(networks.processors[name]))


def ratio(results: Mapping[str, Result], name: str, other: str) -> tuple[float, float, float]:
    """Median and quartiles over rounds of the time of `name` to that of `other` in the same round."""
    quotients = results[name].seconds / results[other].seconds
    low, median, high = np.quantile(quotients, (0.25, 0.5, 0.75))
    return float(median), float(low), float(high)


def report(networks: Networks, setting: Setting, args: argparse.Namespace) -> None:
    """Measure one setting; print its table and keep its records."""
    results = measure(networks, setting, args.rounds)
    print(f"\n## {setting.geometry}, {setting.latents}x{setting.latents} latents, {setting.dtype}\n")
    print("| variant | ms per step | to plain LoRA | 25% to 75% | working GiB |\n|---|---|---|---|---|")
    for name, result in results.items():
        median, low, high = ratio(results, name, "plain LoRA")
        memory = "" if result.working_bytes is None else f"{result.working_bytes / 2**30:.2f}"
        time_ms = 1e3 * np.median(result.seconds)
        print(f"| {name} | {time_ms:.0f} | {median:.3f} | {low:.3f} to {high:.3f} | {memory} |")
    for other, bar in ((FLOOR, BAR_FLOOR), ("plain LoRA", BAR_LORA)):
        median, low, high = ratio(results, "joint", other)
        met = "met" if high <= bar else "missed" if low > bar else "undecided, the bar is within the spread"
        print(f"- joint to {other}: {median:.3f} ({low:.3f} to {high:.3f}), bar {bar:.2f}: {met}", flush=True)
    shared = {field: getattr(setting, field) for field in Setting.__slots__}
    shared |= {"rounds": args.rounds, "threads": torch.get_num_threads(), "processor": processor_name()}
    for name, result in results.items() if args.out else ():
        numbers: dict[str, float | int] = {
            "seconds": float(np.median(result.seconds)),
            "to_lora": ratio(results, name, "plain LoRA")[0],
            "to_floor": ratio(results, name, FLOOR)[0],
        }
        if result.working_bytes is not None:
            numbers["working_bytes"] = result.working_bytes
        append(args.out, Record(name=f"training/{name}", numbers=numbers, settings=shared))


def main(argv: Sequence[str] | None = None) -> None:
    args = parse(argv)
    torch.set_num_threads(args.threads)
    machine = f"{processor_name()}, {args.device}, {args.threads} threads"
    print(f"{machine}, {args.rounds} rounds, {args.clock} time, torch {torch.__version__}")
    networks = build(args.geometry, args.device)
    for side, dtype in product(args.latents.split(","), args.dtype.split(",")):
        setting = Setting(
            geometry=args.geometry,
            latents=int(side),
            dtype=dtype,
            pairs=args.pairs,
            device=args.device,
            clock=args.clock,
        )
        report(networks, setting, args)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--geometry", default="sd15", choices=list(RANKS))
    parser.add_argument("--latents", default="16,32", help="sides of the latents (default 16,32)")
    parser.add_argument(
        "--dtype", default="float32,bfloat16", help="bfloat16 is mixed precision, as in training"
    )
    parser.add_argument("--pairs", type=int, default=1, help="pairs per step (default 1)")
    parser.add_argument("--rounds", type=int, default=5, help="times that every variant is timed (default 5)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", default="wall", choices=["wall", "processor"])
    parser.add_argument("--out", type=Path, help="file to which records are added, one line of JSON each")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
