"""Suite `lsp`: poses of athletes (Leeds Sports Poses, extended), one person in each picture.

The held-out tenth of `eval.data`; 13 of 14 joints have a place among OpenPose's 18.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

import numpy as np

from eval.data import lsp
from eval.runs import suite
from eval.runs.items import Item, Items
from eval.runs.measures.pose import PoseMeasure
from eval.runs.scoring import Benchmark
from unicon.conditions.pose import draw_pose
from unicon.sampling.noise import stable_hash


def open_athletes(arguments: argparse.Namespace, conditions: Sequence[str], size_px: int) -> Benchmark:
    """The first `--num` of a split."""
    photos = lsp(arguments.data, arguments.split)
    photos = photos[: suite.first(len(photos), arguments.num, f"pictures in split {arguments.split}")]

    def load(place: int) -> Item:
        photo = photos[place]
        drawing = draw_pose(list(photo.joints), photo.image.shape[:2])
        return Item(
            name=photo.name, key=stable_hash(photo.name), image=photo.image,
            maps={"pose": drawing.astype(np.float32) / 255}, truth={"pose": photo.joints},
        )  # fmt: skip

    return Benchmark(
        items=Items(photos.names, load),
        measures={"pose": (PoseMeasure(), PoseMeasure(normaliser="torso"))},
        facts={"source": "LSP extended", "split": arguments.split},
    )


def configure(top: argparse.ArgumentParser) -> None:
    """Where the data lie."""
    top.add_argument("--data", required=True, metavar="DIR", help="folder that holds metadata.jsonl")
    top.add_argument(
        "--split", choices=["held_out", "all"], default="held_out", help="a tenth by name (default), or all"
    )


SUITE = suite.Suite(
    name="lsp",
    help="poses of athletes (Leeds Sports Poses, extended)",
    conditions=("pose",),
    directions=("estimate",),
    steps=4,
    open=open_athletes,
    configure=configure,
    example="unicon eval lsp --data path/to/lsp_extended --num 100 --out runs/eval-lsp",
)
main = partial(suite.main, SUITE)
