"""How is `unicon eval scenes` asked for, and what does it write?

One record per row, written as soon as a condition is measured, so an interrupted run keeps what it has.
"""

from __future__ import annotations

import argparse
from functools import partial

from eval.command import command
from eval.protocols import scenes
from eval.protocols.drawing import Painter
from eval.protocols.map_scores import ALPHA, NEAR_M, TOLERANCE_PX
from eval.protocols.readers import BASE, PipelineReader, Reader, load_judge, reader_in_words
from eval.protocols.results import Outcome, record, save, tables
from eval.protocols.scene_options import add_split_arguments, renderer, training_scenes
from eval.protocols.scene_set import CONDITIONS, check_conditions
from eval.protocols.setup import (
    add_reader_arguments,
    add_run_arguments,
    add_temperature_argument,
    load_pipeline,
)
from eval.records import Record
from unicon.bases import base_size
from unicon.data.scenes import FAR_M
from unicon.pipeline import UniConPipeline
from unicon.sources import MINI
from unicon.typed import positive, temperature

DEFAULT_NUM = {"estimate": 500, "generate": 100, "joint": 100}
CONVENTIONS = {
    "depth": f"truth in metres, scale and shift fit in depth, no sky, clip {NEAR_M:g} to {FAR_M:g} m",
    "edge": f"within {TOLERANCE_PX:g} px after thinning, threshold from validation scenes, picture mean",
    "pose": f"PCK@{ALPHA:g} of the figure's box, pooled over visible joints",
}


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval scenes",
        description="Measure estimation, generation or joint generation on scenes training never saw.",
        epilog="example: unicon eval scenes --base mini --conditions depth,edge,pose --direction estimate "
        "--num 500 --seeds 3 --steps 20 --out results/scenes.jsonl",
    )
    top.add_argument("--base", default="mini", help='folder of a base with adapters, or "mini" (default)')
    top.add_argument(
        "--conditions", default="depth,edge,pose", metavar="LIST", help="default depth,edge,pose"
    )
    top.add_argument("--direction", choices=list(DEFAULT_NUM), default="estimate")
    top.add_argument(
        "--num", type=positive, metavar="N", help="scenes (default 500, 100 for generate and joint)"
    )
    top.add_argument(
        "--seeds", type=positive, default=3, metavar="N", help="repeats with other noise (default 3)"
    )
    add_reader_arguments(top, judge=MINI)
    top.add_argument(
        "--guidance",
        type=float,
        default=1.0,
        metavar="S",
        help="text guidance when generating (default 1: off)",
    )
    add_temperature_argument(top)
    _add_ensemble(top)
    add_split_arguments(top)
    add_run_arguments(top, steps=20)
    return top


def _add_ensemble(top: argparse.ArgumentParser) -> None:
    top.add_argument(
        "--ensemble",
        type=int,
        default=0,
        metavar="N",
        help="also measure depth by an ensemble of N, 2 or more",
    )
    top.add_argument(
        "--ensemble-num",
        type=positive,
        default=100,
        metavar="N",
        help="scenes for the ensemble (default 100)",
    )
    top.add_argument(
        "--ensemble-temperature",
        type=temperature,
        default=1.0,
        metavar="T",
        help="of its members: 1 samples (default), more spreads them, for a model that is too sure",
    )


def _run(arguments: argparse.Namespace) -> str:
    conditions = arguments.conditions.split(",")
    _check(arguments, conditions)
    pipe = load_pipeline(arguments.base, arguments.device, arguments.dtype, conditions)
    readers = _readers(arguments, pipe, conditions)  # refused, if at all, before scenes are rendered
    splits = _splits(arguments, pipe)
    records: list[Record] = []
    for condition in conditions:
        fresh = [
            record(f"scenes/{arguments.direction}/{condition}/{arguments.split}", outcome, settings)
            for outcome, settings in _measure(arguments, pipe, readers, splits, condition)
        ]
        save(arguments.out, fresh)
        records += fresh
    return tables(records)


def _check(arguments: argparse.Namespace, conditions: list[str]) -> None:
    check_conditions(conditions)
    if arguments.num is None:
        arguments.num = DEFAULT_NUM[arguments.direction]
    if arguments.num < 2:
        raise ValueError("--num is 1; the shuffled references need at least 2 scenes")
    if arguments.ensemble and (arguments.ensemble < 2 or arguments.direction != "estimate"):
        raise ValueError(f"--ensemble is {arguments.ensemble}; it takes 2 or more, and --direction estimate")


def _splits(arguments: argparse.Namespace, pipe: UniConPipeline) -> scenes.SceneSplits:
    render = renderer(arguments, base_size(pipe.unet, pipe.vae).own_px)
    return scenes.SceneSplits(
        test=render(arguments.split, arguments.num),
        validation=render("validation", arguments.validation_num),
        training=training_scenes(arguments, render),
    )


def _readers(arguments: argparse.Namespace, pipe: UniConPipeline, conditions: list[str]) -> list[Reader]:
    """Those whose estimates are scored, or the one that reads pictures back."""
    size = arguments.batch_size
    own = PipelineReader(pipe=pipe, steps=arguments.steps, batch_size=size, temperature=arguments.temperature)
    load = partial(load_judge, pipe=pipe, steps=arguments.steps, batch_size=size, conditions=conditions)
    if arguments.direction == "estimate":
        return [own, *([load(arguments.regressor)] if arguments.regressor else [])]
    return [own if arguments.judge == BASE else load(arguments.judge)]


def _measure(
    arguments: argparse.Namespace,
    pipe: UniConPipeline,
    readers: list[Reader],
    splits: scenes.SceneSplits,
    condition: str,
) -> list[tuple[Outcome, dict[str, str | int | float | bool]]]:
    """Rows and their settings."""
    seeds, size = range(arguments.seeds), arguments.batch_size
    settings = _settings(arguments, pipe, condition)
    if arguments.direction == "estimate":
        outcomes = scenes.estimation(readers, condition, splits, seeds)
        rows = [(outcome, settings) for outcome in outcomes]
        if condition == "depth" and arguments.ensemble:  # its spread is to be the posterior's
            drawn = {**settings, "temperature": arguments.ensemble_temperature}
            rows += [(outcome, drawn) for outcome in _ensemble(arguments, pipe, splits)]
        return rows
    (judge,) = readers
    painter = Painter(pipe=pipe, steps=arguments.steps, batch_size=size, guidance_scale=arguments.guidance)
    measure = scenes.generation if arguments.direction == "generate" else scenes.joint
    outcomes = measure(painter, judge, condition, splits, seeds)
    settings |= {"read_by": reader_in_words(arguments.judge), "guidance": arguments.guidance}
    return [(outcome, settings) for outcome in outcomes]


def _ensemble(
    arguments: argparse.Namespace, pipe: UniConPipeline, splits: scenes.SceneSplits
) -> list[Outcome]:
    few = scenes.SceneSplits(
        test=splits.test.take(range(min(arguments.ensemble_num, len(splits.test)))),
        validation=splits.validation,
        training=splits.training,
    )
    reader = PipelineReader(
        pipe=pipe,
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        members=arguments.ensemble,
        temperature=arguments.ensemble_temperature,
    )
    return scenes.ensemble(reader, few, 0)


def _settings(
    arguments: argparse.Namespace, pipe: UniConPipeline, condition: str
) -> dict[str, str | int | float | bool]:
    return {
        "base": str(arguments.base),
        "steps": arguments.steps,
        "temperature": arguments.temperature,
        "dtype": str(pipe.unet.dtype).removeprefix("torch."),
        "scenes": arguments.num,
        "convention": CONVENTIONS[condition],
    }


assert set(CONVENTIONS) == set(CONDITIONS)


main = command(parser, _run)
