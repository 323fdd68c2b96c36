"""How fast are pairs read from each kind of source, and what is a cache of encoded pairs worth?

    python benchmarks/pairs.py [--base mini] [--num 64] [--stored 2048] [--steps 12]

The same rendered scenes in every form that `unicon.data.pairs` reads: pairs decoded per second, median over
rounds. Then pairs that are framed already, encoded one at a time and in batches, and training steps of an
adapter on the base, each in turn: from the cache, without one, and without one where no picture is decoded
ahead.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import PIL.Image
import torch
from timing import processor_name

from train.config import LoopConfig
from train.objectives.pairs import PairsConfig
from train.pairs.encoding import PairEncoder
from train.pairs.framing import View
from train.randomness import LookAhead
from train.stepping import Stepper
from unicon import UniConPipeline
from unicon.data.pairs import open_pairs
from unicon.data.scenes import SceneConfig, write_scenes

ROUNDS = 3


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="mini")
    parser.add_argument("--num", type=int, default=64, help="pairs (default 64)")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels (default 128)")
    parser.add_argument("--stored", type=int, help="side that pictures are stored at (default --size)")
    parser.add_argument("--steps", type=int, default=12, help="steps with and without cache (default 12)")
    parser.add_argument("--batch", type=int, default=8, help="pairs per step (default 8)")
    parser.add_argument("--rank", type=int, default=12)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    print(f"{processor_name()}, {args.threads} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        scenes = write_scenes(Path(folder) / "scenes", range(args.num), SceneConfig(size=args.size))
        for path in scenes.rglob("*.png") if args.stored else ():
            PIL.Image.open(path).resize((args.stored, args.stored)).save(path)
        print("\n| source | pairs decoded per second |\n|---|---|")
        for name, source in sources(scenes, Path(folder)).items():
            print(f"| {name} | {np.median([decoded_per_second(source) for _ in range(ROUNDS)]):.0f} |")
        alone, together = encoding_seconds(args, scenes)
        times = step_seconds(args, scenes, Path(folder))
    each = 1e3 * np.array((np.median(alone), np.median(together))) / args.num
    print(f"\nEncoding a pair: {each[0]:.0f} ms alone, {each[1]:.0f} in batches.")
    print(f"Alone to in batches: {spread(alone, together)}")
    with_s, without_s = (float(np.median(times[name])) for name in ("cache", "none"))
    print(
        f"\nSteps of {args.batch} pairs: {1e3 * with_s:.0f} ms from the cache, {1e3 * without_s:.0f} without."
    )
    print(f"Without to with: {spread(times['none'], times['cache'])}")
    in_turn_s = float(np.median(times["in turn"]))
    print(f"Without, and pictures decoded by the loop itself: {1e3 * in_turn_s:.0f} ms.")
    print(f"Decoded by the loop to decoded ahead: {spread(times['in turn'], times['none'])}")


def spread(one: Sequence[float], other: Sequence[float]) -> str:
    """Median and quartiles of the ratio."""
    low, middle, high = np.quantile(np.array(one) / np.array(other), (0.25, 0.5, 0.75))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def sources(scenes: Path, folder: Path) -> dict[str, Path]:
    """The same pairs as rows of metadata.jsonl, as folders, as parquet and as a tar file."""
    import datasets

    pairs = list(open_pairs(scenes, ["depth"]))
    rows = {"image": [], "depth": [], "caption": []}
    with tarfile.open(folder / "pairs.tar", "w") as tar:
        for number, entry in enumerate(pairs):
            assert entry.image is not None
            for name, side in (("image", entry.image), ("depth", entry.maps["depth"])):
                content = side.read()
                target = folder / "folders" / name / f"{number:05d}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
                member = tarfile.TarInfo(f"{number:05d}.{name}.png")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
                rows[name].append({"bytes": content, "path": None})
            rows["caption"].append(entry.captions[0])
    kinds = {"image": datasets.Image(), "depth": datasets.Image(), "caption": datasets.Value("string")}
    datasets.Dataset.from_dict(rows, features=datasets.Features(kinds)).to_parquet(folder / "pairs.parquet")
    return {
        "metadata.jsonl": scenes,
        "folders": folder / "folders",
        "parquet": folder / "pairs.parquet",
        "tar": folder / "pairs.tar",
    }


def decoded_per_second(source: Path) -> float:
    """Both sides of every pair, opening the source included."""
    started = time.perf_counter()
    pairs = open_pairs(source, ["depth"])
    for entry in pairs:
        assert entry.image is not None
        np.asarray(entry.image.load())
        np.asarray(entry.maps["depth"].load())
    return len(pairs) / (time.perf_counter() - started)


def encoding_seconds(args: argparse.Namespace, scenes: Path) -> tuple[list[float], list[float]]:
    """Seconds of each round for all pairs: one at a time, and in batches."""
    views = [View(), View(flip=True)]
    encoder = PairEncoder.of(
        UniConPipeline.from_pretrained(args.base, dtype=torch.float32), None, resolution=0, views=views
    )
    seen = [(number, encoder.see(entry, "depth")) for number, entry in enumerate(open_pairs(scenes))]
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _, pair in seen:
            encoder.encode([pair])
        middle = time.perf_counter()
        for _ in encoder.in_batches(seen):
            pass
        taken[0].append(middle - started)
        taken[1].append(time.perf_counter() - middle)
    return taken


def step_seconds(args: argparse.Namespace, scenes: Path, folder: Path) -> dict[str, list[float]]:
    """Seconds of every step after the first, from the cache, without it, and without it where pictures are
    not decoded ahead: of one after the other."""
    loop = LoopConfig(steps=args.steps + 1, batch_size=args.batch, ema_decay=0.0)
    steppers = {}
    for name, cache in (("cache", "cache"), ("none", ""), ("in turn", "")):
        config = PairsConfig(
            condition="depth",
            data=str(scenes),
            base=args.base,
            rank=args.rank,
            cache=cache,
            validation_pairs=0,
        )
        steppers[name] = Stepper(config.build(folder), loop)
    # Nobody is told what the next step reads.
    steppers["in turn"].order = cast(LookAhead, steppers["in turn"].order).order
    taken: dict[str, list[float]] = {name: [] for name in steppers}
    for step in range(args.steps + 1):
        for name, stepper in steppers.items():
            started = time.perf_counter()
            stepper(step)
            taken[name].append(time.perf_counter() - started)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return {name: values[1:] for name, values in taken.items()}


if __name__ == "__main__":
    main()
