"""How is a suite asked for on the command line, and what becomes of its run?

`unicon eval SUITE --base ... --adapter ... --data ... --out DIR`. A suite says what it measures on
(`Suite.open`) and what else it takes (`Suite.configure`); the rest is the same for all.
"""

from __future__ import annotations

import argparse
import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from eval.command import run_command
from eval.features import model_folder
from eval.protocols.readers import BASE, check_reader
from eval.protocols.setup import (
    add_dtype_argument,
    add_reader_arguments,
    add_temperature_argument,
    load_pipeline,
)
from eval.runs.costs import Costs
from eval.runs.engine import carry_out
from eval.runs.items import DIRECTIONS, Direction
from eval.runs.page import as_html
from eval.runs.report import REPORT, SCORES, as_csv, as_report, as_scores, claim, text_tables
from eval.runs.scoring import Benchmark
from eval.runs.settings import RunSettings
from eval.runs.store import write_text
from unicon.bases import base_size
from unicon.processes import share
from unicon.sources import adapter_name
from unicon.typed import named_place, positive, work_sizes

OPENING = "opening base and data"
"""The first part of what a run costs; rendering is in it where the data are rendered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """What is particular to one suite."""

    name: str
    help: str
    conditions: tuple[str, ...]
    """Asked for where --conditions is not given; empty: those of the data that the base has adapters for."""
    directions: tuple[Direction, ...]
    """Asked for where --directions is not given."""
    steps: int
    judge: str = BASE
    """What reads maps from generated pictures where --judge is not given (`eval.protocols.readers`)."""
    open: Callable[[argparse.Namespace, Sequence[str], int], Benchmark]
    """By arguments, conditions and the base's own size in pixels. Raises ValueError for fewer pictures than
    asked."""
    configure: Callable[[argparse.ArgumentParser], None]
    """Adds its own options."""
    known: Callable[[argparse.Namespace], Sequence[str]] | None = None
    """Conditions that the data have, where that depends on it."""
    example: str


def main(suite: Suite, argv: Sequence[str] | None) -> int:
    """Run, or continue; 2 with the reason on bad input."""
    argv = list(argv or [])
    top = parser(suite)
    arguments = top.parse_args(argv)
    return run_command(top, partial(_run, suite, arguments, f"unicon eval {suite.name} {shlex.join(argv)}"))


def parser(suite: Suite) -> argparse.ArgumentParser:
    """Arguments of one suite."""
    top = argparse.ArgumentParser(
        prog=f"unicon eval {suite.name}",
        description=f"{suite.help[0].upper()}{suite.help[1:]}. Writes a folder with report.html, report.json "
        "and every picture; the same command continues a run that was stopped.",
        epilog=f"example: {suite.example}",
    )
    top.add_argument("--out", required=True, metavar="DIR", help="the run's folder")
    top.add_argument("--base", default="mini", help='a base, or "mini" (default)')
    top.add_argument(
        "--adapter", action="append", default=[], metavar="[NAME=]FOLDER",
        help="load an adapter beside those of the base, or in the place of one; may be repeated",
    )  # fmt: skip
    top.add_argument(
        "--conditions", metavar="LIST", help=f"default {','.join(suite.conditions) or 'all of the data'}"
    )
    top.add_argument("--directions", metavar="LIST", help=f"default {','.join(suite.directions)}")
    top.add_argument(
        "--num", type=positive, metavar="N", help="the first N pictures (default: see the suite)"
    )
    top.add_argument(
        "--seeds", type=positive, default=3, metavar="N", help="repeats with other noise (default 3)"
    )
    top.add_argument(
        "--steps", type=positive, default=suite.steps, metavar="N", help=f"default {suite.steps}"
    )
    top.add_argument(
        "--ensemble", type=positive, default=1, metavar="N", help="estimates combined to a map (default 1)"
    )
    add_temperature_argument(top)
    top.add_argument(
        "--work-size", type=work_sizes, metavar="PX[,PX]",
        help="longer side that pictures are worked on at where the base reads maps (default: the base's "
        "own); several: an ensemble of --ensemble estimates at each",
    )  # fmt: skip
    top.add_argument(
        "--mirrored", action="store_true",
        help="where the base reads maps, from mirror images as well: an ensemble of twice as many",
    )  # fmt: skip
    top.add_argument(
        "--guidance", type=float, default=1.0, metavar="S", help="by the text, in pictures (default 1: off)"
    )
    add_reader_arguments(top, judge=suite.judge)
    top.add_argument(
        "--features",
        default="mini",
        metavar="MODEL",
        help="in which sets of pictures are compared: mini (default), a transformers vision model, none",
    )
    top.add_argument(
        "--batch-size", type=positive, default=16, metavar="N", help="samples per call (default 16)"
    )
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    add_dtype_argument(top)
    suite.configure(top)
    return top


def _run(suite: Suite, arguments: argparse.Namespace, command: str) -> str:
    began = time.monotonic()
    conditions = _conditions(suite, arguments)
    directions = _directions(suite, arguments)
    group, folder = share(), Path(arguments.out)
    if arguments.features != "none":
        model_folder(arguments.features)  # before anything is rendered or drawn
    check_reader(arguments.judge, conditions if {*directions} - {"estimate"} else ())
    check_reader(arguments.regressor, conditions if "estimate" in directions else ())
    for text in arguments.adapter:
        if (name := adapter_name(text)) not in conditions:
            raise ValueError(
                f"--adapter {text} is an adapter for {name!r}, measured is {', '.join(conditions)}: write "
                f"{conditions[0]}={named_place(text)[1]} to measure it as that"
            )
    pipe = load_pipeline(arguments.base, arguments.device, arguments.dtype, conditions, arguments.adapter)
    if group.is_first:
        benchmark = suite.open(arguments, conditions, base_size(pipe.unet, pipe.vae).own_px)
        claim(folder, suite.name, command)
        group.wait()
    else:  # what the first renders into a cache, the others find there
        group.wait()
        benchmark = suite.open(arguments, conditions, base_size(pipe.unet, pipe.vae).own_px)
    opened = time.monotonic()
    settings = RunSettings(
        base=str(arguments.base), adapters=tuple(arguments.adapter), conditions=tuple(conditions),
        directions=tuple(directions), num_seeds=arguments.seeds, steps=arguments.steps,
        ensemble=arguments.ensemble, temperature=arguments.temperature, work_px=arguments.work_size,
        mirrored=arguments.mirrored,
        guidance=arguments.guidance,
        judge=None if arguments.judge == BASE else arguments.judge, regressor=arguments.regressor,
        features=None if arguments.features == "none" else arguments.features,
        dtype=str(pipe.unet.dtype).removeprefix("torch."),
    )  # fmt: skip
    costs = Costs.of(folder, is_first=group.is_first)
    with costs.part(OPENING) as cost:
        cost.seconds += opened - began
    found = carry_out(
        settings, benchmark, pipe, folder, batch_size=arguments.batch_size, share=group, costs=costs
    )
    if not group.is_first:
        return ""
    report = as_report(
        suite=suite.name, command=command, settings=settings, benchmark=benchmark, found=found,
        seconds=time.monotonic() - began, costs=costs,
    )  # fmt: skip
    texts = {
        "scores.csv": as_csv(found),
        SCORES: json.dumps(as_scores(found), allow_nan=False) + "\n",
        "report.html": as_html(report, found, benchmark),
        REPORT: json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False) + "\n",  # last: it is whole
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return f"{text_tables(report)}\n\n{folder / 'report.html'}"


def _conditions(suite: Suite, arguments: argparse.Namespace) -> list[str]:
    known = list(suite.known(arguments)) if suite.known else list(suite.conditions)
    if arguments.conditions is None:
        return known
    return _chosen(arguments.conditions, known, "--conditions", suite.name)


def _directions(suite: Suite, arguments: argparse.Namespace) -> list[Direction]:
    if arguments.directions is None:
        return list(suite.directions)
    chosen = _chosen(arguments.directions, DIRECTIONS, "--directions", suite.name)
    return [direction for direction in DIRECTIONS if direction in chosen]


def _chosen(text: str, known: Sequence[str], option: str, suite: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"{option} {text}: {suite} has no {unknown[0]!r}, only {', '.join(known)}")
    return names


def first(num_there: int, num_asked: int | None, what: str) -> int:
    """How many to take; ValueError where fewer are there than were asked for."""
    if num_asked is not None and num_asked > num_there:
        raise ValueError(
            f"--num is {num_asked}, but there are {num_there} {what}; ask for at most {num_there}"
        )
    return num_there if num_asked is None else num_asked
