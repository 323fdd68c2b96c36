"""Suite `folder`: a user's own pairs, in any form that `unicon check` and training read (`docs/data.md`).

The user's map is the truth. A depth map has no unit: it is laid over a range of one to ten, so AbsRel and
delta1 compare models on the same pairs, not with other data. Conditions without a measure of their own are
compared pixel by pixel. A picture without its map, or a map without its picture, is an error that
`unicon check` lists in full.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from eval.runs import suite
from eval.runs.items import Item, Items, WhenAsked
from eval.runs.measures.depth import DepthMeasure
from eval.runs.measures.edges import EdgeMeasure
from eval.runs.measures.measure import Measure
from eval.runs.measures.pictures import LikenessMeasure, ViewMeasure
from eval.runs.measures.pose import PoseMeasure
from eval.runs.measures.spread import SpreadMeasure
from eval.runs.scoring import Benchmark
from eval.runs.truth import DEPTH_RANGE, truth_of_map
from unicon.data.pairs import Entry, open_pairs
from unicon.pictures import as_array, as_pictures, resize
from unicon.sampling.noise import stable_hash

MEASURES: dict[str, tuple[Measure, ...]] = {
    "depth": (DepthMeasure(low=DEPTH_RANGE[0] / 2, high=DEPTH_RANGE[1] * 2),),
    "edge": (EdgeMeasure(),),
    "pose": (PoseMeasure(),),
    "appearance": (ViewMeasure(), LikenessMeasure()),
}
LIKENESS: tuple[Measure, ...] = (LikenessMeasure(),)


def open_folder(arguments: argparse.Namespace, conditions: Sequence[str], size_px: int) -> Benchmark:
    """The first `--num` pairs."""
    pairs = open_pairs(arguments.data, conditions)
    num = suite.first(len(pairs), arguments.num, f"pairs in {arguments.data}")

    joints: dict[str, np.ndarray] = {}

    def load(place: int) -> Item:
        return item_of(pairs[place], conditions, joints)

    return Benchmark(
        items=Items([pairs[n].key for n in range(num)], load),
        measures={name: MEASURES.get(name, LIKENESS) for name in conditions},
        spread={"depth": (SpreadMeasure(),)},
        facts={"source": str(arguments.data)},
    )


def item_of(entry: Entry, conditions: Sequence[str], joints: dict[str, np.ndarray] | None = None) -> Item:
    """One pair; maps take the picture's size. Raises ValueError for one that is not whole.

    A map is read, and its truth made of it, when asked for. `joints`: those known by key, which is added to:
    to find them in a drawing takes longer than all else of a pair, and they are small.
    """
    if entry.image is None or any(name not in entry.maps for name in conditions):
        lacks = "its picture" if entry.image is None else next(n for n in conditions if n not in entry.maps)
        raise ValueError(f"pair {entry.key} lacks {lacks}; unicon check lists every such pair")
    image = np.asarray(entry.image.load())
    known = {} if joints is None else joints
    maps = WhenAsked(conditions, lambda name: _fitted(entry.maps[name].load(), image.shape[:2]))

    def truth(name: str) -> Any:
        if name != "pose":
            return truth_of_map(name, maps[name])
        if entry.key not in known:
            known[entry.key] = truth_of_map(name, maps[name])
        return known[entry.key]

    return Item(
        name=entry.key, key=stable_hash(entry.key), image=image, maps=maps,
        truth=WhenAsked(conditions, truth), caption=entry.captions[0] if entry.captions else "",
    )  # fmt: skip


def _fitted(given: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """A map (H, W, 3) in [0, 1] of this size, resized as the pipeline resizes what it is given."""
    return as_array(resize(as_pictures(given, "map"), *size))[0]


def known(arguments: argparse.Namespace) -> Sequence[str]:
    """The conditions of the pairs; ValueError where there is none."""
    names = open_pairs(arguments.data).conditions
    if not names:
        raise ValueError(f"{arguments.data} holds pictures without maps; unicon annotate makes maps of them")
    return names


def configure(top: argparse.ArgumentParser) -> None:
    """Where the pairs lie."""
    top.add_argument(
        "--data",
        required=True,
        metavar="PAIRS",
        help="folder, metadata.jsonl, parquet, tar or hub id of pairs",
    )


SUITE = suite.Suite(
    name="folder",
    help="your own pairs of pictures and maps",
    conditions=(),
    directions=("estimate", "generate", "joint"),
    steps=20,
    open=open_folder,
    configure=configure,
    known=known,
    example="unicon eval folder --data my_pairs --adapter runs/depth/adapter/export --out runs/eval-mine",
)
main = partial(suite.main, SUITE)
