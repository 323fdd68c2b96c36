"""How does a user learn, before training, what is wrong with their own pairs, and which pictures are unlike
the rest?
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from unicon.data.pairs import Entry, Pairs
    from unicon.data.pairs.check import Report

EXAMPLE = "%(prog)s my_pairs --conditions depth --out out/check"
SHOWN = 8
"""Pairs on the contact sheet, and problems of each kind on the screen."""
NEIGHBOUR = 3
"""Outliers are told by the distance to this neighbour."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a folder, a parquet, jsonl or tar file, or a hub id")
    parser.add_argument(
        "--conditions", default="", metavar="A,B", help="maps every pair needs (default: all that are there)"
    )
    parser.add_argument(
        "--out", default="out/check", metavar="DIR", help="folder to write (default out/check)"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads that decode (default 2)")
    parser.add_argument(
        "--unaligned", action="store_true",
        help="maps need not lie on their pictures (another view), as --aligned false trains",
    )  # fmt: skip
    parser.add_argument(
        "--unflipped", action="store_true",
        help="maps are not learnt from mirrored, as --flip false trains: poses may be in any colours",
    )  # fmt: skip
    parser.add_argument(
        "--outliers", action="store_true", help="also order the pictures by distance to their neighbours"
    )
    parser.add_argument(
        "--features", default="mini", metavar="MODEL",
        help="whose features --outliers compares: mini, or a folder of a transformers vision model",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Print what was found, write check.json and sheet.png; 1 if a pair cannot be used."""
    from tqdm import tqdm

    from unicon.cli.files import write_json, write_picture
    from unicon.data.pairs import open_pairs
    from unicon.data.pairs.check import check_pairs, usable

    if args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}")
    pairs = open_pairs(args.data, [name for name in args.conditions.split(",") if name])
    out = Path(args.out)
    report = check_pairs(
        pairs,
        workers=args.workers,
        aligned=not args.unaligned,
        flipped=not args.unflipped,
        progress=lambda it: tqdm(it, total=len(pairs), unit="pair", desc="checking"),
    )
    write_json(out / "check.json", report.as_json())
    if report.num_usable:
        entries = evenly(usable(pairs, report), report.num_usable)
        write_picture(out / "sheet.png", sheet(entries, pairs.conditions))
    print("\n".join(_lines(report, args.data)))
    if not args.conditions:
        for name, text in pairs.unread().items():
            print(f"\n{name} is left out: {text}")
    print(f"all of it in {out / 'check.json'}" + (", a look at it in sheet.png" if report.num_usable else ""))
    if args.outliers:
        print(_outliers(pairs, report, args.features, out))
    return int(report.num_usable < report.num_pairs)


def _lines(report: Report, data: str) -> list[str]:
    from unicon.data.pairs.check import DOUBTFUL, UNUSABLE
    from unicon.data.pairs.ranges import KINDS

    sizes = ", ".join(f"{size} ({count})" for size, count in islice(report.sizes.items(), 3))
    more = ", ..." if len(report.sizes) > 3 else ""
    lines = [
        f"{data}: {report.num_usable} of {report.num_pairs} pairs can be used; conditions "
        f"{', '.join(report.conditions) or 'none'}; {report.num_captions} captions; sizes {sizes}{more}"
    ]
    for kind, count in report.counts.items():
        keeps_out = "not used" if kind in UNUSABLE else "used"
        lines.append(f"\n{kind}: {count} ({(UNUSABLE | DOUBTFUL)[kind]}; {keeps_out})")
        found = [p for p in report.problems if p.kind == kind]
        if count == report.num_pairs and kind not in UNUSABLE | KINDS:  # the count says it
            continue
        for problem in found[:SHOWN]:
            # What could not be read says itself where it lies.
            text = problem.text.removeprefix(f"{problem.place}: ")
            lines.append(f"  {problem.place or problem.key}: {text}")
        if count > SHOWN:
            lines.append(f"  and {count - SHOWN} more")
    return lines


def evenly(entries: Iterable[Entry], num: int) -> list[Entry]:
    """A few of `num` entries, from all over the set."""
    return list(islice(entries, 0, None, -(-num // SHOWN)))


def sheet(entries: Sequence[Entry], conditions: Sequence[str]) -> Image.Image:
    """A row for each pair: the picture and its maps."""
    from unicon.sheets import contact_sheet

    pictures = [[entry.image, *(entry.maps.get(name) for name in conditions)] for entry in entries]
    return contact_sheet(
        [[None if picture is None else picture.load() for picture in row] for row in pictures],
        row_labels=[entry.key[-24:] for entry in entries],
        column_labels=["image", *conditions],
    )


def _outliers(pairs: Pairs, report: Report, model: str, out: Path) -> str:
    """Write outliers.json and outliers.png, and say what stands out."""
    from eval.features import Extractor
    from eval.manifold.sets import outlier_order
    from eval.pictures import Pictures
    from unicon.cli.files import write_json, write_picture
    from unicon.data.pairs.check import usable
    from unicon.sheets import contact_sheet

    images = [(entry.key, entry.image) for entry in usable(pairs, report) if entry.image is not None]
    if len(images) <= NEIGHBOUR:
        return f"outliers: {len(images)} usable pictures are too few; {NEIGHBOUR + 1} or more can be ordered"
    pictures = Pictures(tuple(key for key, _ in images), lambda n: images[n][1].load())
    found = Extractor(model)(pictures)
    order = outlier_order(found.values, NEIGHBOUR)
    ranked = [
        {"key": found.names[place], "distance": float(radius)}
        for place, radius in zip(order.index, order.radii, strict=True)
    ]
    write_json(out / "outliers.json", {"features": found.source, "neighbour": NEIGHBOUR, "pictures": ranked})
    shown = min(SHOWN, len(ranked) // 2)
    rows = [[pictures.load(n) for n in part] for part in (order.index[:shown], order.index[-shown:])]
    notes = [[f"{row['distance']:.3g}" for row in part] for part in (ranked[:shown], ranked[-shown:])]
    write_picture(
        out / "outliers.png",
        contact_sheet(
            rows, row_labels=["most unlike", "most alike"], column_labels=[""] * len(rows[0]), notes=notes
        ),
    )
    lines = [f"  {row['key']}: {row['distance']:.3g}" for row in ranked[:SHOWN]]
    return "\n".join(
        [
            f"\noutliers: {order.beyond()} of {len(ranked)} pictures lie unusually far from their "
            f"{NEIGHBOUR} nearest (features: {found.source}); the farthest:",
            *lines,
            f"all in order in {out / 'outliers.json'}, both ends in outliers.png",
        ]
    )
