"""Which scenes are measured, and what stands beside them, as a command's options say?"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Protocol

from eval.protocols.scene_set import SPLITS, TEST_SPLITS, SceneSet, scene_set
from unicon.typed import positive


class Renderer(Protocol):
    """Renders, or reads from the cache."""

    def __call__(self, split: str, num: int) -> SceneSet: ...


def add_scene_arguments(top: argparse.ArgumentParser) -> None:
    """--cache and --workers of rendered scenes."""
    top.add_argument("--cache", metavar="DIR", help="where rendered scenes are kept (default: user cache)")
    top.add_argument(
        "--workers", type=positive, default=1, metavar="N", help="processes that render (default 1)"
    )


def add_split_arguments(top: argparse.ArgumentParser) -> None:
    """--split, --training, --training-num and --validation-num, and those of `add_scene_arguments`."""
    splits = "; ".join(f"{name}: {SPLITS[name].meaning}" for name in TEST_SPLITS)
    top.add_argument("--split", choices=TEST_SPLITS, default="standard", help=splits)
    top.add_argument(
        "--training", metavar="DIR",
        help="rendered training scenes for mean maps (default: some are rendered)",
    )  # fmt: skip
    top.add_argument(
        "--training-num", type=positive, default=256, metavar="N",
        help="training scenes to render (default 256)",
    )  # fmt: skip
    top.add_argument(
        "--validation-num", type=positive, default=64, metavar="N",
        help="scenes edge thresholds are chosen on (default 64)",
    )  # fmt: skip
    add_scene_arguments(top)


def renderer(arguments: argparse.Namespace, size_px: int) -> Renderer:
    """By `add_scene_arguments`."""
    return partial(scene_set, size_px=size_px, cache_folder=arguments.cache, workers=arguments.workers)


def training_scenes(arguments: argparse.Namespace, render: Renderer) -> SceneSet | Path:
    """What mean maps are taken from, by `add_split_arguments`."""
    if arguments.training:
        return Path(arguments.training)
    return render("training", arguments.training_num)
