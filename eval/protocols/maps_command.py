"""How is `unicon eval maps` asked for, and what does it write?"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from adapters.files import write_whole
from eval.command import command
from eval.metrics.coco import coco_files
from eval.metrics.depth import Alignment
from eval.metrics.depth_benchmarks import BENCHMARKS
from eval.protocols.map_files import SUFFIXES, Matched, match
from eval.protocols.map_folders import (
    BOUNDARY_DISTANCES,
    Row,
    Scored,
    score_boundaries,
    score_depth,
    score_edges,
    score_normals,
    score_poses,
)
from eval.protocols.results import save, tables
from eval.records import Record
from unicon.typed import positive

PROTOCOLS = {
    "depth": (*BENCHMARKS,),
    "edge": (*BOUNDARY_DISTANCES, "tolerance"),
    "pose": ("joints", "coco"),
    "normal": (),
}
"""By condition; the first of edge and pose is the default, depth has none."""


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval maps",
        description="Score a folder of saved maps against a folder of truths of the same stems.",
        epilog="example: unicon eval maps out/estimates data/depth --condition depth --protocol nyu "
        "--csv depth.csv; docs/metrics.md says what each protocol does",
    )
    top.add_argument("predictions", metavar="PREDICTIONS", help="folder; with --protocol coco a results file")
    top.add_argument("truth", metavar="TRUTH", help="folder; with --protocol coco an annotation file")
    top.add_argument("--condition", required=True, choices=list(SUFFIXES))
    known = "; ".join(f"{name}: {', '.join(each)}" for name, each in PROTOCOLS.items() if each)
    top.add_argument("--protocol", metavar="NAME", help=known)
    top.add_argument("--allow-missing", action="store_true", help="score what there is, count the rest")
    top.add_argument(
        "--allow-resize", action="store_true", help="predictions to their truth's size, linearly"
    )
    top.add_argument("--masks", metavar="DIR", help="STEM_mask or STEM, .npy or .png: pixels that count")
    _add_conditions(top)
    top.add_argument("--csv", metavar="FILE", help="write one row per picture")
    top.add_argument("--out", metavar="FILE", help="append the results to this file of JSON lines")
    return top


def _add_conditions(top: argparse.ArgumentParser) -> None:
    depth = top.add_argument_group("depth")
    depth.add_argument(
        "--alignment", nargs="+", choices=get_args(Alignment), default=["scale_shift"],
        help="how predictions are fitted to the truth; several make several rows (default scale_shift)",
    )  # fmt: skip
    depth.add_argument(
        "--truth-scale", type=float, metavar="X", help="metres = value of a truth's picture / X"
    )
    edge = top.add_argument_group("edge")
    edge.add_argument(
        "--thresholds", type=positive, default=99, metavar="N", help="of bsds and nyud (default 99)"
    )
    edge.add_argument("--raw", action="store_true", help="without non-maximum suppression")
    edge.add_argument("--engine", choices=("own", "pyEdgeEval"), default="own", help="who matches")
    edge.add_argument("--cache", metavar="DIR", help="where counts are kept for the next run")
    edge.add_argument("--tolerance", type=float, default=2.0, metavar="PX", help="of tolerance (default 2)")
    edge.add_argument("--threshold", type=float, default=0.5, help="of tolerance (default 0.5)")
    pose = top.add_argument_group("pose")
    pose.add_argument("--alpha", type=float, default=0.1, help="of PCK (default 0.1)")
    pose.add_argument("--normaliser", choices=("bbox", "torso"), default="bbox", help="of PCK (default bbox)")


def _run(arguments: argparse.Namespace) -> str:
    _check(arguments)
    if arguments.condition == "pose" and arguments.protocol == "coco":
        found = Matched([], [], 0)
        parts = [Scored(numbers=dict(coco_files(arguments.predictions, arguments.truth)), settings={})]
    else:
        found = match(
            arguments.predictions, arguments.truth, arguments.condition,
            allow_missing=arguments.allow_missing,
        )  # fmt: skip
        parts = _scored(arguments, found)
    shared: dict[str, str | int | float | bool] = {
        "predictions": Path(arguments.predictions).name, "truth": Path(arguments.truth).name,
        "num_missing": len(found.missing), "num_extra": found.num_extra, "resized": arguments.allow_resize,
        "masks": arguments.masks or "none",
    }  # fmt: skip
    if arguments.protocol:
        shared["protocol"] = arguments.protocol
    records = [
        Record(name=f"maps/{arguments.condition}", numbers=part.numbers, settings={**shared, **part.settings})
        for part in parts
    ]
    save(arguments.out, records)
    if arguments.csv:
        rows = [{**row, **_told(part)} for part in parts for row in part.rows]
        write_rows(Path(arguments.csv), rows)
    return tables(records)


def _scored(arguments: argparse.Namespace, found: Matched) -> list[Scored]:
    bar = partial(tqdm, desc=arguments.condition, unit="map", leave=False)
    masks = Path(arguments.masks) if arguments.masks else None
    shared = {"progress": bar, "resize": arguments.allow_resize}
    if arguments.condition == "depth":
        return [
            score_depth(
                found.pairs, alignment=alignment, protocol=arguments.protocol, masks=masks,
                truth_scale=arguments.truth_scale, **shared,
            )
            for alignment in arguments.alignment
        ]  # fmt: skip
    if arguments.condition == "normal":
        return score_normals(found.pairs, masks=masks, **shared)
    if arguments.condition == "pose":
        return [
            score_poses(found.pairs, alpha=arguments.alpha, normaliser=arguments.normaliser, progress=bar)
        ]
    if arguments.protocol == "tolerance":
        return [
            score_edges(
                found.pairs, tolerance_px=arguments.tolerance, threshold=arguments.threshold, **shared
            )
        ]
    keep = Path(arguments.cache) if arguments.cache else None
    return [
        score_boundaries(
            found.pairs, protocol=arguments.protocol or "bsds", num_thresholds=arguments.thresholds,
            raw=arguments.raw, engine=arguments.engine, keep=keep, **shared,
        )
    ]  # fmt: skip


def _check(arguments: argparse.Namespace) -> None:
    known = PROTOCOLS[arguments.condition]
    if arguments.protocol is not None and arguments.protocol not in known:
        raise ValueError(
            f"--protocol is {arguments.protocol!r}; {arguments.condition} knows {', '.join(known) or 'none'}"
        )
    if arguments.truth_scale is not None and not arguments.truth_scale > 0:
        raise ValueError(f"--truth-scale is {arguments.truth_scale}; it must be above 0")
    if arguments.masks and not Path(arguments.masks).is_dir():
        raise ValueError(f"--masks {arguments.masks}: no such folder")
    if arguments.masks and arguments.condition not in ("depth", "normal"):
        raise ValueError(f"--masks say which pixels of depth and normals count, not of {arguments.condition}")


def _told(part: Scored) -> dict[str, object]:
    """What tells rows of several ways apart."""
    return {name: part.settings[name] for name in ("alignment",) if name in part.settings}


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A CSV, whole or not at all; nothing where no picture has a number of its own."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda target: target.write_text(text.getvalue(), encoding="utf-8", newline=""))


main = command(parser, _run)
