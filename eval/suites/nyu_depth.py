"""Suite `nyu_depth`: depth of real rooms (NYU Depth v2), zero-shot for the mini base.

The held-out tenth of `eval.data`, or the rooms that its `train` leaves out, whole pictures; scale and shift
fitted per picture over all pixels, in depth or in disparity. This copy of the data has lost its metric scale,
so predictions that were fitted in depth are clipped from below only.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache, partial

import numpy as np

from eval.baselines import NYU_LOW
from eval.data import RoomSplit, nyu_depth
from eval.runs import suite
from eval.runs.items import Item, Items
from eval.runs.measures.depth import DepthMeasure
from eval.runs.measures.measure import Measure, Redraws
from eval.runs.measures.spread import SpreadMeasure
from eval.runs.scoring import Benchmark
from unicon.conditions.palettes import depth_to_map
from unicon.sampling.noise import stable_hash

OTHERS: dict[str, tuple[RoomSplit, str]] = {
    "held_out": ("rest", "mean map of the other nine tenths"),
    "other_rooms": ("train", "mean map of the other rooms"),
}
"""Splits that are measured, and which pictures' mean map they are measured beside."""

NYU_HIGH = 256 / 255
"""The first value beyond the picture's largest depth, which 8 bits cannot say: a disparity near 0 has no
inverse that one could average."""
MEASURES = {
    "scale_shift": DepthMeasure(low=NYU_LOW),
    "disparity": DepthMeasure(low=NYU_LOW, high=NYU_HIGH, alignment="disparity"),
}


def open_rooms(arguments: argparse.Namespace, conditions: Sequence[str], size_px: int) -> Benchmark:
    """The first `--num` of a split; the mean map is that of all other pictures."""
    photos = nyu_depth(arguments.data, arguments.split)
    photos = photos[: suite.first(len(photos), arguments.num, f"pictures in split {arguments.split}")]

    def load(place: int) -> Item:
        photo = photos[place]
        return Item(
            name=photo.name, key=stable_hash(photo.name), image=photo.image,
            maps={"depth": depth_to_map(photo.depth, photo.depth > 0)}, truth={"depth": photo.depth},
        )  # fmt: skip

    @cache
    def mean(condition: str, measure: Measure) -> np.ndarray:
        others = [photo.depth for photo in nyu_depth(arguments.data, OTHERS[arguments.split][0])]
        drawn = [measure.redrawn(depth) if isinstance(measure, Redraws) else None for depth in others]
        planes = [
            1 - _filled(depth) if map is None else map[..., 0]
            for depth, map in zip(others, drawn, strict=True)
        ]
        return np.repeat(np.mean(planes, axis=0)[..., None], 3, axis=-1).astype(np.float32)

    return Benchmark(
        items=Items(photos.names, load),
        measures={"depth": tuple(MEASURES[name] for name in dict.fromkeys(arguments.alignment))},
        spread={"depth": (SpreadMeasure(),)} if "scale_shift" in arguments.alignment else {},
        mean_map=mean if arguments.split in OTHERS else None,
        mean_map_name=OTHERS[arguments.split][1] if arguments.split in OTHERS else "",
        facts={"source": "NYU Depth v2", "split": arguments.split},
    )


def _filled(depth: np.ndarray) -> np.ndarray:
    """Depth (H, W), what is not measured (0) amid the rest."""
    seen = depth > 0
    return np.where(seen, depth, np.median(depth[seen])) if seen.any() else depth


def configure(top: argparse.ArgumentParser) -> None:
    """Where the data lie."""
    top.add_argument("--data", required=True, metavar="DIR", help="folder that holds metadata.jsonl")
    top.add_argument(
        "--split", choices=[*OTHERS, "all"], default="held_out",
        help="a tenth by name (default), stretches of neighbours, or all",
    )  # fmt: skip
    top.add_argument(
        "--alignment", nargs="+", choices=list(MEASURES), default=["scale_shift"],
        help="the fit in depth (default), in disparity for adapters whose maps are linear in 1/depth, or "
        "both, in columns of their own",
    )  # fmt: skip


SUITE = suite.Suite(
    name="nyu_depth",
    help="depth of real rooms (NYU Depth v2)",
    conditions=("depth",),
    directions=("estimate",),
    steps=4,
    open=open_rooms,
    configure=configure,
    example="unicon eval nyu_depth --data path/to/nyu_depth_v2 --ensemble 10 --out runs/eval-nyu",
)
main = partial(suite.main, SUITE)
