"""Suite `mini`: scenes that training never saw, in every direction, with exact truth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache, partial

import numpy as np

from eval.protocols.map_scores import ALPHA, NEAR_M, TOLERANCE_PX, typical_range
from eval.protocols.mean_maps import mean_map
from eval.protocols.scene_options import add_split_arguments, renderer, training_scenes
from eval.protocols.scene_set import CONDITIONS, SPLITS, SceneSet
from eval.runs import suite
from eval.runs.items import Item, Items, WhenAsked
from eval.runs.measures.depth import DepthMeasure
from eval.runs.measures.edges import EdgeMeasure
from eval.runs.measures.measure import Measure
from eval.runs.measures.pose import PoseMeasure
from eval.runs.measures.spread import SpreadMeasure
from eval.runs.scoring import Benchmark
from unicon.data.scenes import FAR_M
from unicon.sources import MINI

NUM = 100
MEASURES: dict[str, tuple[Measure, ...]] = {
    "depth": (DepthMeasure(low=NEAR_M, high=FAR_M),),
    "edge": (EdgeMeasure(tolerance_px=TOLERANCE_PX),),
    "pose": (PoseMeasure(alpha=ALPHA),),
}
"""The conventions of `eval.protocols.map_scores`."""


def items_of(scenes: SceneSet) -> Items:
    """Scenes as items; noise depends on the scene's seed, as in `unicon eval scenes`."""
    names = [f"scene {seed}" for seed in scenes.seeds]
    truths = {"depth": scenes.metres, "edge": scenes.edges, "pose": scenes.joints}

    def load(place: int) -> Item:
        return Item(
            name=names[place], key=int(scenes.seeds[place]), image=scenes.images[place],
            truth={name: truths[name][place] for name in CONDITIONS}, caption=scenes.captions[place],
            maps=WhenAsked(CONDITIONS, lambda name: scenes.take([place]).maps(name)[0]),
        )  # fmt: skip

    return Items(names, load)


def open_scenes(arguments: argparse.Namespace, conditions: Sequence[str], size_px: int) -> Benchmark:
    """Rendered, or from the cache."""
    render = renderer(arguments, size_px)
    scenes, training = render(arguments.split, arguments.num or NUM), training_scenes(arguments, render)
    return Benchmark(
        items=items_of(scenes),
        measures={name: MEASURES[name] for name in conditions},
        spread={"depth": (SpreadMeasure(high=FAR_M),)},
        # Edges alone choose a threshold, and every validation picture costs a run.
        validation=items_of(render("validation", arguments.validation_num)) if "edge" in conditions else (),
        mean_map=cache(lambda condition, _: np.asarray(mean_map(condition, training), dtype=np.float32)),
        mean_map_name="mean map of the training set",
        depth_range=typical_range(scenes),
        facts={"split": arguments.split, "meaning": SPLITS[arguments.split].meaning, "size_px": size_px},
    )


SUITE = suite.Suite(
    name="mini",
    help=f"scenes that training never saw, every direction (default {NUM} scenes)",
    conditions=CONDITIONS,
    directions=("estimate", "generate", "joint"),
    steps=20,
    judge=MINI,
    open=open_scenes,
    configure=add_split_arguments,
    example="unicon eval mini --num 100 --out runs/eval-mini",
)
main = partial(suite.main, SUITE)
