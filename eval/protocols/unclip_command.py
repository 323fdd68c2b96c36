"""How is `unicon eval unclip` asked for, and what does it write?"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from eval.command import run_command
from eval.protocols.scene_options import add_scene_arguments, renderer
from eval.protocols.setup import (
    add_dtype_argument,
    add_judge_argument,
    add_machine_arguments,
    load_pipeline,
)
from eval.protocols.unclip import WAYS, Bench, Budget, cells, done, run, ways_of
from eval.protocols.unclip_report import write_report
from unicon.bases import base_size
from unicon.priors import find_prior
from unicon.sources import MINI, find_decoder
from unicon.typed import positive

BUDGET_HELP = {
    "--num": "captions",
    "--draws": "pictures of each caption",
    "--reals": "true pictures that sets are compared with",
    "--steps": "of a drawing",
    "--condition": "whose true map is given to half of the sets",
}


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval unclip",
        description="Measure which of unCLIP's orderings appear: decoder conditions, guidance, priors.",
        epilog="example: unicon eval unclip --stop-after 60\n"
        "         unicon eval unclip --decoder runs/mini/decoder/export --prior runs/mini/prior/export",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--base", default="mini", help="mini, or a folder or id of another base (default mini)")
    top.add_argument("--decoder", metavar="DIR", help="a decoder adapter, in the place of the base's own")
    top.add_argument(
        "--prior", action="append", default=[], metavar="DIR", help="of either kind; twice for both"
    )
    top.add_argument(
        "--guidance", type=float, nargs="+", default=[1.0, 2.0, 4.0], metavar="S", help="default 1 2 4"
    )
    add_judge_argument(top, judge=MINI)
    top.add_argument("--seeds", type=positive, default=3, metavar="N", help="repetitions (default 3)")
    top.add_argument(
        "--caption-guidance", type=float, metavar="S",
        help="of captions, where an embedding is told (default: as --guidance, which is then of both)",
    )  # fmt: skip
    top.add_argument(
        "--guidance-below", type=float, default=1.0, metavar="NOISE",
        help="guide at this share of noise and below, not above (default 1: always)",
    )  # fmt: skip
    top.add_argument(
        "--told", nargs="+", choices=WAYS, metavar="WAY",
        help=f"only these: {', '.join(WAYS)} (default: all for which the parts are there)",
    )  # fmt: skip
    for name in BUDGET_HELP:
        value = getattr(Budget(), name.removeprefix("--"))
        metavar = "N" if isinstance(value, int) else "NAME"
        text = f"{BUDGET_HELP[name]} (default {value})"
        top.add_argument(name, type=type(value), default=value, metavar=metavar, help=text)
    add_dtype_argument(top)
    add_scene_arguments(top)
    top.add_argument(
        "--stop-after", type=float, default=math.inf, metavar="MINUTES", help="stop then; again to go on"
    )
    top.add_argument("--tables", action="store_true", help="of what is there; nothing is drawn")
    add_machine_arguments(top, folder="runs/unclip")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, measure, write tables and plots below --out; 2 with the reason on bad input, 3 if work is
    left."""
    top = parser()
    arguments = top.parse_args(argv)
    left: list[int] = []
    run_command(top, partial(_run, arguments, left))
    return 3 if any(left) else 0


def _run(arguments: argparse.Namespace, left: list[int]) -> str:
    budget = Budget(**{name: getattr(arguments, name) for name in asdict(Budget())})
    out, weights = Path(arguments.out), None
    if not arguments.tables:
        _check_parts(arguments)
        pipe = load_pipeline(arguments.base, arguments.device, arguments.dtype, [budget.condition])
        if arguments.decoder is not None:
            pipe.load_decoder(arguments.decoder, replace=True)
        for folder in arguments.prior:
            pipe.load_prior(folder)
        ways = ways_of(pipe, arguments.told)
        scenes = renderer(arguments, base_size(pipe.unet, pipe.vae).own_px)("standard", budget.reals)
        bench = Bench(pipe, scenes, budget, arguments.batch_size, arguments.judge)
        weights = bench.weights
        todo = cells(ways, list(dict.fromkeys(arguments.guidance)), arguments.seeds)
        left.append(run(bench, out, todo, arguments.stop_after * 60))
    records = done(out, budget, weights)
    if not records:
        raise ValueError(f"{out}: holds no results of this budget; run without --tables first")
    more = f"\n{left[0]} sets left; run the same command again" if any(left) else ""
    return write_report(out, records) + more


def _check_parts(arguments: argparse.Namespace) -> None:
    """ValueError for a --decoder or a --prior that is none, before a base is loaded."""
    if arguments.decoder is not None:
        find_decoder(arguments.decoder)
    for folder in arguments.prior:
        find_prior(folder)
