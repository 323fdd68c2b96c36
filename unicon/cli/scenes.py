"""How does a user get procedural scenes as files: pictures, exact maps, captions and a contact sheet?"""

from __future__ import annotations

import argparse
from pathlib import Path

from unicon.cli.files import write_picture
from unicon.cli.options import add_output_options

EXAMPLE = "%(prog)s --count 8 --size 128 --seed 0 --out out/scenes"
SHEET_ROWS = 8
"""Scenes on the contact sheet; more are written, but not shown."""


def configure(parser: argparse.ArgumentParser) -> None:
    add_output_options(parser, out="out/scenes")
    parser.add_argument("--count", type=int, default=8, metavar="N", help="number of scenes (default 8)")
    parser.add_argument("--size", type=int, default=128, metavar="PX", help="side in pixels (default 128)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--held-out", action="store_true", help="only kinds and lights training never sees")


def run(args: argparse.Namespace) -> None:
    """Write the scenes that are not there yet, and the sheet."""
    from unicon.data.scenes import render, write_scenes

    if args.count < 1:
        raise ValueError(f"--count must be at least 1, got {args.count}")
    out, config = Path(args.out), scene_config(size=args.size, held_out=args.held_out)
    seeds = range(args.seed, args.seed + args.count)
    write_scenes(out, seeds, config, num_workers=args.workers)
    write_picture(out / "sheet.png", sheet([render(seed, config) for seed in seeds[:SHEET_ROWS]]))
    print(f"{args.count} scenes and sheet.png in {out}")


def scene_config(*, size: int, held_out: bool):
    """What may occur in the scenes: what training sees, or what it never does."""
    from unicon.data.scenes import HELD_OUT_KINDS, HELD_OUT_LIGHTS, SceneConfig

    if held_out:
        return SceneConfig(size=size, kinds=HELD_OUT_KINDS, lights=HELD_OUT_LIGHTS)
    return SceneConfig(size=size)


def sheet(scenes):
    """A row for each scene: the picture and its maps, as an adapter sees them."""
    from unicon.sheets import contact_sheet, picture

    names = ("image", "depth", "edges", "pose", "normal", "second_image")
    rows = [[None if cell is None else picture(cell) for cell in cells(scene)] for scene in scenes]
    labels = [f"seed {scene.seed}" for scene in scenes]
    return contact_sheet(rows, row_labels=labels, column_labels=[name.replace("_", " ") for name in names])


def cells(scene) -> tuple:
    """The columns of the sheet as arrays."""
    from unicon.conditions.palettes import depth_to_map

    depth, normal = depth_to_map(scene.depth), (scene.normal + 1) / 2
    return (scene.image, depth, scene.edges, scene.pose, normal, scene.second_image)
