"""How many photographs of a folder become maps in a second, with one process and with two?

    python benchmarks/photos.py [--base mini] [--num 64] [--steps 4] [--processes 1,2] [--rounds 3]

Runs `unicon estimate` as a user does, on a folder of crops of the shipped photograph (or `--photos FOLDER`),
once per round and number of processes, in shuffled order, each into a new folder. Starting (Python,
libraries, weights) takes the same time for ten photos and for ten thousand, so every round also times a
quarter of the photos: what the other three quarters took more is the rate. The ratio to one process is taken
within a round; the table gives the median over rounds, and the least and the greatest. The command's own
processes use the threads that accelerate and torch give them; say what else runs on the machine.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from timing import processor_name

from eval.records import Record, append
from unicon.data.photos import list_photos

ROOT = Path(__file__).resolve().parents[1]
SIDE_PX = 256
"""Of the crops, which are about as costly to read as to write."""
SHARE = 4
"""A round also times the photos divided by this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One command on a part of the photos and on all of them."""

    processes: int
    few_s: float
    all_s: float
    num_few: int
    num_all: int

    @property
    def rate(self) -> float:
        """Photos per second once it is started."""
        return (self.num_all - self.num_few) / max(self.all_s - self.few_s, 1e-9)

    @property
    def start_s(self) -> float:
        """What is left of the time where there are no photos."""
        return self.few_s - self.num_few / self.rate


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = folder / "all"
        if args.photos is None:
            write_crops(photos, args.num)
        else:
            photos = args.photos
        files = list_photos(photos)[: args.num]
        rounds = [one_round(args, files, folder, number) for number in range(args.rounds)]
    records = as_records(args, rounds)
    print(f"{processor_name()}, {args.base}, {args.condition}, {args.steps} steps, {len(files)} photos\n")
    print(table(records))
    for record in records if args.out else ():
        append(args.out, record)
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="mini", help="a base with its adapters (default mini)")
    parser.add_argument("--condition", default="depth", help="what is estimated (default depth)")
    parser.add_argument("--photos", type=Path, help="a folder of photographs (default: crops of our own)")
    parser.add_argument("--num", type=int, default=64, help="photos (default 64)")
    parser.add_argument("--steps", type=int, default=4, help="steps per map (default 4)")
    parser.add_argument("--dtype", default="float32", help="as of the command (default float32)")
    parser.add_argument("--processes", default="1,2", help="numbers of them; the first is the reference")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--out", type=Path, help="file to which records are added, one line of JSON each")
    args = parser.parse_args(argv)
    if args.num < 2 * SHARE or args.rounds < 1:
        parser.error(f"give at least {2 * SHARE} photos and one round")
    args.processes = [int(text) for text in args.processes.split(",")]
    return args


def write_crops(folder: Path, num: int) -> None:
    """Crops of the shipped photograph, no two alike."""
    folder.mkdir()
    with PIL.Image.open(ROOT / "unicon" / "mini" / "photo.jpg") as opened:
        photo = opened.convert("RGB")
    generator = np.random.default_rng(0)
    for number in range(num):
        side = int(min(photo.size) * generator.uniform(0.5, 1.0))
        left, top = (int(generator.integers(0, end - side + 1)) for end in photo.size)
        crop = photo.crop((left, top, left + side, top + side)).resize((SIDE_PX, SIDE_PX))
        crop.save(folder / f"{number:05d}.jpg", quality=95)


def one_round(args: argparse.Namespace, files: Sequence[Path], folder: Path, number: int) -> list[Run]:
    """Every number of processes once, in an order of this round's own."""
    few = files[: len(files) // SHARE]
    jobs = [(processes, part) for processes in args.processes for part in (few, files)]
    random.Random(number).shuffle(jobs)
    taken = {(processes, len(part)): seconds(args, part, processes, folder) for processes, part in jobs}
    return [
        Run(
            processes=processes, few_s=taken[processes, len(few)], all_s=taken[processes, len(files)],
            num_few=len(few), num_all=len(files),
        )
        for processes in args.processes
    ]  # fmt: skip


def seconds(args: argparse.Namespace, files: Sequence[Path], processes: int, folder: Path) -> float:
    """Of one command, from its start to its end. Raises ValueError with what it said if it fails."""
    out = folder / "maps"
    command = [sys.executable, "-m", "unicon", "estimate", *map(str, files), "--base", args.base,
               "--condition", args.condition, "--steps", str(args.steps), "--processes", str(processes),
               "--dtype", args.dtype, "--out", str(out)]  # fmt: skip
    begun = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - begun
    made = len(list(out.rglob(f"*_{args.condition}.png")))
    shutil.rmtree(out, ignore_errors=True)
    if done.returncode or made != len(files):
        raise ValueError(f"{made} of {len(files)} maps, exit code {done.returncode}: {done.stderr[-2000:]}")
    return taken


def as_records(args: argparse.Namespace, rounds: Sequence[Sequence[Run]]) -> list[Record]:
    """One per number of processes."""
    records = []
    for place, processes in enumerate(args.processes):
        runs = [runs[place] for runs in rounds]
        ratios = [runs[place].rate / runs[0].rate for runs in rounds]
        numbers = {
            "photos_per_second": statistics.median(run.rate for run in runs),
            "start_s": statistics.median(run.start_s for run in runs),
            "whole_s": statistics.median(run.all_s for run in runs),
            "ratio": statistics.median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios),
        }  # fmt: skip
        settings = {
            "processes": processes, "base": args.base, "condition": args.condition, "steps": args.steps,
            "dtype": args.dtype, "num": runs[0].num_all, "rounds": len(rounds), "processor": processor_name(),
        }  # fmt: skip
        records.append(Record(name=f"photos/{processes}", numbers=numbers, settings=settings))
    return records


def table(records: Sequence[Record]) -> str:
    """Markdown."""
    rows = ["| processes | photos per second | ratio (least to greatest) | to start, s | whole run, s |",
            "|---|---|---|---|---|"]  # fmt: skip
    for record in records:
        n = record.numbers
        spread = f"{n['ratio']:.2f} ({n['ratio_low']:.2f} to {n['ratio_high']:.2f})"
        cells = [str(record.settings["processes"]), f"{n['photos_per_second']:.2f}", spread]
        rows.append(f"| {' | '.join(cells)} | {n['start_s']:.1f} | {n['whole_s']:.1f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    raise SystemExit(main())
