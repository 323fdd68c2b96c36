"""Is one joint adapter as good as models that are made for one direction alone, at equal compute?

    python benchmarks/comparison.py --data runs/peers [--condition depth] [--out runs/comparison]
        [--stop-after MINUTES]
    python benchmarks/comparison.py --condition depth --tables     # of what is there so far

All systems learn from the latents and scenes below `--data` (`unicon train peers/scenes`, then
`peers/latents`, or a mini family's folder) on the same frozen base, and each may compute as many
operations, forward and backward (`train.flops`), as our adapter does in `--steps` steps of 24 pairs:
diffusers' ControlNet and T2I-Adapter (a picture from its map), a Marigold-style estimator (a map from its
picture), a JointNet and an adapter on tied levels (both at once). The specialists are trained once more
with a third each: one per direction together cost what our one adapter costs. Rates of AdamW are those of
the recipe (`unicon train peers --help`), or of three the highest that is not clearly worse in a trial of
a tenth of the steps, by the training loss of its second half, on pairs that were not seen yet.

Measured on scenes that nothing was trained on, with the base's own solver and no guidance, by
`eval.protocols.scenes`: `generate`, the map that a judge reads from the picture against the exact map given;
`estimate`, the map against the exact one; `joint`, the map that the judge reads from the picture against the
map drawn with it. Systems that know one level for both sides are given the other one by replacement. Beside
that, how often mini's CLIP finds a picture's own caption nearest of all: a map can be followed in a picture
that shows nothing.

Running it again goes on: each result is a line of results.jsonl, a training half done continues, and what
was drawn is kept, so that another `--judge` reads the same pictures. Another base, and other data, want an
`--out` of their own, and are refused in one that is taken. Its parts, one question each, are in
`model_comparison/`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from model_comparison.budget import OPTIONS, Budget
from model_comparison.jobs import run
from model_comparison.place import Place
from model_comparison.sheet import write_sheet
from model_comparison.systems import NUMBER, jobs
from model_comparison.tables import write_tables

from eval.peers.peer import DIRECTIONS
from unicon.sources import MINI


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--data", type=Path, default=Path("runs/peers"), help="with scenes/ and latents/")
    parser.add_argument("--base", default="mini", help="mini, or a base's folder")
    parser.add_argument("--condition", choices=list(NUMBER), default="depth")
    parser.add_argument("--judge", default="mini", help="who reads maps: mini, base, or a folder")
    parser.add_argument("--directions", default=",".join(DIRECTIONS), help="all of them by default")
    parser.add_argument("--num-scenes", type=int, default=8192, help="that are trained on")
    parser.add_argument("--stop-after", type=float, default=math.inf, metavar="MINUTES")
    parser.add_argument("--tables", action="store_true", help="of what is there; nothing is trained")
    for option, text in OPTIONS.items():
        value = getattr(Budget(), option[2:].replace("-", "_"))
        parser.add_argument(option, type=type(value), default=value, help=f"{text} (default {value})")
    args = parser.parse_args(argv)
    budget = Budget(**{name: getattr(args, name) for name in asdict(Budget())})
    base = args.base if args.base == MINI else str(Path(args.base).resolve())
    place = Place(
        out=args.out, data=args.data, base=base, condition=args.condition, judge=args.judge,
        budget=budget, num_scenes=args.num_scenes,
    )  # fmt: skip
    directions = args.directions.split(",")
    if unknown := [name for name in directions if name not in DIRECTIONS]:
        parser.error(f"--directions: {unknown[0]!r} is none of {', '.join(DIRECTIONS)}")
    todo = [job for job in jobs() if job.direction in directions]
    if args.tables:
        left = sum(not place.is_done(job) for job in todo)
    else:
        left = run(place, todo, args.stop_after * 60)
    if args.tables or place.done("score"):  # stopped early, there is nothing to tell yet
        print(write_tables(place), write_sheet(place), sep="\n")
    print(f"{left} measurements left; run the same command again" if left else "all of it is there")
    return 3 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
