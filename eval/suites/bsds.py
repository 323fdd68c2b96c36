"""Suite `bsds`: boundaries of photographs by the benchmark of BSDS500.

The folder is one of its official parts. Beside the adapter stands Canny's method, at every threshold. Where
pictures are generated, the map given is that of the annotator with the median number of boundary pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import numpy as np

from eval.data import bsds
from eval.runs import suite
from eval.runs.items import Item, Items
from eval.runs.measures.edges import BoundaryMeasure
from eval.runs.scoring import Benchmark
from unicon.conditions.edges import canny_strength, edges_to_map, strength_to_map
from unicon.sampling.noise import stable_hash
from unicon.typed import positive


def open_photos(arguments: argparse.Namespace, conditions: Sequence[str], size_px: int) -> Benchmark:
    """The first `--num` of a part."""
    photos = bsds(arguments.data, "all")
    photos = photos[: suite.first(len(photos), arguments.num, "pictures")]

    def load(place: int) -> Item:
        photo = photos[place]
        middle = np.argsort(photo.boundaries.sum((1, 2)), kind="stable")[len(photo.boundaries) // 2]
        return Item(
            name=photo.name, key=stable_hash(photo.name), image=photo.image,
            maps={"edge": edges_to_map(photo.boundaries[middle])}, truth={"edge": photo.boundaries},
        )  # fmt: skip

    return Benchmark(
        items=Items(photos.names, load),
        measures={"edge": (BoundaryMeasure(num_thresholds=arguments.thresholds),)},
        methods={"Canny": lambda image: strength_to_map(canny_strength(image))},
        facts={"source": "BSDS500"},
    )


def configure(top: argparse.ArgumentParser) -> None:
    """Where the data lie, and how finely they are measured."""
    top.add_argument(
        "--data", required=True, metavar="DIR", help="one part (test, val, train) with metadata.jsonl"
    )
    top.add_argument(
        "--thresholds",
        type=positive,
        default=99,
        metavar="N",
        help="of the benchmark (default 99, the benchmark's)",
    )


SUITE = suite.Suite(
    name="bsds",
    help="boundaries of photographs (BSDS500)",
    conditions=("edge",),
    directions=("estimate",),
    steps=4,
    open=open_photos,
    configure=configure,
    example="unicon eval bsds --data path/to/bsds500/val --num 20 --out runs/eval-bsds",
)
main = partial(suite.main, SUITE)
