"""How is a recipe run from the command line?

`unicon train mini-fast --out runs/mini` is `accelerate launch -m train ...`. Running it again continues.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path


def main(argv: list[str] | None = None) -> int:
    """Parse, run the stages in order, return the exit status (0 complete, 3 paused)."""
    args, rest = _parser().parse_known_args(argv)
    try:
        return _run(args, _assignments(rest))
    except (ValueError, OSError) as error:
        print(f"unicon train: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unicon train",
        description="Train a recipe; the same command continues it.",
        epilog="example: unicon train mini-fast --out runs/mini-fast\n"
        "         unicon train mini-fast/unet --out runs/mini-fast --steps 20000\n"
        "         unicon train adapter --data my_pairs --condition depth --rank 32 --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", help="family, or family/stage")
    parser.add_argument("--out", type=Path, default=None, help="folder of the family (default runs/FAMILY)")
    parser.add_argument("--as", dest="name", help="store the stage under another name (for comparisons)")
    parser.add_argument(
        "--photos", help="parquet file or folder with labelled photographs, for recipes that use them"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that render scenes")
    parser.add_argument("--config", type=Path, help="YAML or JSON file with fields; the command line wins")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="a few real steps of one training stage: what is trained, memory, speed, time; nothing is kept",
    )
    parser.add_argument(
        "--stop-after", type=float, default=math.inf, metavar="MINUTES", help="pause a stage after this long"
    )
    return parser


def _assignments(rest: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    while rest:
        key = rest.pop(0)
        if not key.startswith("--"):
            raise ValueError(f"unexpected argument {key!r}; overrides are written --field value")
        key, equals, value = key[2:].partition("=")
        if not equals:
            if not rest:
                raise ValueError(f"--{key} needs a value")
            value = rest.pop(0)
        pairs[key] = value
    return pairs


def _run(args: argparse.Namespace, assignments: dict[str, str]) -> int:
    from train.config import read_assignments
    from train.recipes import stages_of
    from train.stages import run_stage
    from train.times import table
    from unicon.processes import processes

    family, stages = stages_of(args.recipe)
    if args.config is not None:
        assignments = {**read_assignments(args.config), **assignments}
    if (assignments or args.name or args.dry_run) and len(stages) > 1:
        choices = ", ".join(f"{family}/{stage}" for stage in stages)
        raise ValueError(f"overrides, --as and --dry-run need one stage: {choices}")
    folder = args.out or Path("runs") / family
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder}: is a file; choose a folder, or a name that is free")
    for stage in stages.values():
        if not run_stage(stage, folder, args, assignments):
            return 3
    if "/" not in args.recipe and not args.dry_run and processes().is_main_process:
        print(table(folder, list(stages)))
    return 0
