"""How does a user make pairs for training out of photographs alone?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.cli import pair_making
from unicon.cli.options import seed
from unicon.cli.pair_making import APPEARANCE, VIEWS, Maker, Task
from unicon.cli.photo_batches import left_out
from unicon.cli.shares import add_processes_option, launched
from unicon.processes import Share, share
from unicon.typed import positive

if TYPE_CHECKING:
    from unicon.data.captioner import Captioner
    from unicon.data.pairs.writing import PairFolder

EXAMPLE = "%(prog)s photos --condition depth --caption --out my_pairs"
LIBRARIES = (
    "unicon-diffusion",
    "torch",
    "transformers",
    "controlnet-aux",
    "opencv-python-headless",
    "pillow",
)
"""Those that decide what a map looks like."""
FILES = "files were left out"
"""How those that no pair was made of are counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="DIR", help="folders of pictures (or videos), or files")
    parser.add_argument("--out", required=True, metavar="PAIRS", help="folder of pairs to write or continue")
    parser.add_argument(
        "--condition", required=True, metavar="NAME",
        help="the map: depth, edge, pose, normal, or appearance (another view of the subject)",
    )  # fmt: skip
    parser.add_argument(
        "--annotator", metavar="NAME",
        help=f"default: the condition's first in docs/annotators.md; for appearance {', '.join(VIEWS)}",
    )  # fmt: skip
    parser.add_argument("--weights", metavar="FOLDER", help="the annotator's weights, if not from the hub")
    parser.add_argument("--recursive", action="store_true", help="also the folders within a folder")
    parser.add_argument(
        "--longest", type=int, default=0, metavar="PX",
        help="make larger pictures this long at most; 0 (default): as they are",
    )  # fmt: skip
    parser.add_argument(
        "--caption", nargs="?", const="", metavar="MODEL",
        help="caption pictures without a STEM.txt beside them, with BLIP or a transformers folder or hub id",
    )  # fmt: skip
    parser.add_argument("--views", type=positive, metavar="N", help="pairs of crops per photo (default 1)")
    parser.add_argument("--every", type=float, metavar="S", help="seconds between frames (default 1)")
    parser.add_argument("--seed", type=seed, help="of the crops (default 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    add_processes_option(parser)


def run(args: argparse.Namespace) -> int:
    """Annotate what is not there yet; 1 if files had to be left out, 2 if all had."""
    from eval.records import versions
    from unicon.data.pairs.writing import PairFolder

    if (code := launched(args, args.given)) is not None:
        return code
    check(args)
    kind = view_kind(args)
    tasks = pair_making.find_tasks(args.photos, recursive=args.recursive, views=kind)
    ours, folder = share(), PairFolder(Path(args.out), args.condition)
    maker, facts = open_maker(args, kind)
    captioner = open_captioner(args)
    facts |= {"captioner": captioner and captioner.source, "versions": versions(LIBRARIES)}
    folder.check_same(facts)
    ours.wait()
    if ours.is_first:
        folder.state(facts)
    ours.wait()
    captioned = captioner is not None
    mine = ours.of(tasks)
    todo = [task for task in mine if not folder.is_done(task.stem, captioned=captioned)]
    done = set(mine) - set(todo)
    failures = [refusal for task in mine if task in done and (refusal := of_another(folder, task))]
    failures = ours.gathered(failures + write_all(folder, maker, captioner, todo, ours))
    if ours.is_first and len(failures) < len(tasks):
        report(args.condition, folder, facts, failures)
    return left_out(failures, len(tasks), FILES, ours)


def view_kind(args: argparse.Namespace) -> str | None:
    """Which other view of its subject a photo gets; None where it gets a map."""
    return (args.annotator or next(iter(VIEWS))) if args.condition == APPEARANCE else None


def check(args: argparse.Namespace) -> None:
    """ValueError for options that cannot be meant."""
    out = Path(args.out).resolve()
    for source in map(Path, args.photos):
        if out == source.resolve() or (args.recursive and out.is_relative_to(source.resolve())):
            raise ValueError(
                f"--out {args.out} lies among the photos of {source}: the next run would take its pairs for "
                "photos; choose a folder beside it"
            )
    check_longest(args.longest)
    kind = view_kind(args)
    defaults = {"views": 1, "every": 1.0, "seed": 0}
    for name, of in (("views", "crops"), ("seed", "crops"), ("every", "frames")):
        if getattr(args, name) is None:
            setattr(args, name, defaults[name])
        elif kind != of:
            raise ValueError(
                f"--{name} has no effect here: it is of --condition appearance --annotator {of}; leave it out"
            )
    if not args.every > 0:
        raise ValueError(f"--every is {args.every}; expected seconds above 0")
    if args.condition == APPEARANCE and args.annotator not in (None, *VIEWS):
        raise ValueError(
            f"annotator {args.annotator!r}: makes no appearance; choose one of {', '.join(VIEWS)}"
        )
    if args.condition == APPEARANCE and args.weights is not None:
        raise ValueError("--weights: appearance is made without a network; leave it out")


def check_longest(longest: int) -> None:
    """ValueError for a size that cannot be meant."""
    if longest < 0 or 0 < longest < 64:
        raise ValueError(f"--longest is {longest}; give at least 64 px, or 0 to leave pictures as they are")


def open_maker(args: argparse.Namespace, kind: str | None) -> tuple[Maker, dict[str, Any]]:
    """What makes the pairs, and what the manifest says of it."""
    if kind is not None:
        settings = {"crops": {"views": args.views, "seed": args.seed}, "frames": {"every_s": args.every}}
        maker = pair_making.views(
            kind, args.longest, num=args.views, seed=args.seed, every_s=args.every
        )  # fmt: skip
        facts = {"annotator": kind, "palette": VIEWS[kind], "weights": None, "revision": None}
        facts |= {"settings": settings.get(kind, {})}
        return maker, facts | {"pictures": {"from": kind, "longest_px": args.longest, **facts["settings"]}}
    from unicon.conditions.annotators import open_annotator
    from unicon.devices import pick_device

    annotator = open_annotator(
        args.condition, args.annotator, weights=args.weights, device=str(pick_device(args.device))
    )
    pictures = {"from": "photos", "longest_px": args.longest}
    return pair_making.maps(annotator, args.longest), annotator.facts() | {"pictures": pictures}


def open_captioner(args: argparse.Namespace) -> Captioner | None:
    if args.caption is None:
        return None
    from unicon.data.captioner import BLIP, Captioner
    from unicon.devices import pick_device

    return Captioner(args.caption or BLIP, device=str(pick_device(args.device)))


def write_all(
    folder: PairFolder, maker: Maker, captioner: Captioner | None, tasks: Sequence[Task], ours: Share
) -> list[str]:
    """Write the pairs of all tasks, and return what could not be made, each with its file's name."""
    from tqdm import tqdm

    failures = []
    for task in tqdm(tasks, desc="annotating", unit="file", leave=False, disable=not ours.is_first):
        try:
            files = []
            for made in maker(task):
                captions = captions_of(task, partial(captioner, made.image) if captioner else None)
                files += folder.write(replace(made, captions=captions))
            folder.finish(task.stem, files, captioned=captioner is not None, source=source_of(task))
        except (ValueError, OSError) as error:
            name = str(task.files[0])
            failures.append(str(error) if name in str(error) else f"{name}: {error}")
            tqdm.write(f"left out: {failures[-1]}", file=sys.stderr)
    return failures


def source_of(task: Task) -> str:
    """The names and sizes of a task's files."""
    return ", ".join(f"{path.name} ({path.stat().st_size} bytes)" for path in task.files)


def of_another(folder: PairFolder, task: Task) -> str | None:
    """What is said of a task whose pairs are there already, and of other files."""
    known = folder.source(task.stem)
    if not known or not all(path.is_file() for path in task.files) or known == source_of(task):
        return None
    return f"{task.files[0]}: {folder.root} has pairs of another of this name, {known}; choose another folder"


def captions_of(task: Task, caption: partial[str] | None) -> list[str]:
    """The lines of the text beside a photo, else a model's sentence, else none."""
    beside = task.files[0].with_suffix(".txt")
    if beside.is_file():
        return [line.strip() for line in beside.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [said] if caption is not None and (said := caption()) else []


def report(name: str, folder: PairFolder, facts: dict[str, Any], failures: list[str]) -> None:
    """Write the manifest's counts of condition `name` and the sheet, and say what comes next."""
    from unicon.cli.check import evenly, sheet
    from unicon.cli.files import write_picture
    from unicon.data.pairs import open_pairs

    entries = [entry for entry in open_pairs(folder.root) if entry.image and name in entry.maps]
    folder.state(facts | {"num_pairs": len(entries), "left_out": sorted(failures)})
    write_picture(folder.root / "sheet.png", sheet(evenly(entries, len(entries)), [name]))
    print(f"{len(entries)} pairs with {name} in {folder.root}, a look at them in sheet.png")
    print(f"next: unicon check {folder.root} --conditions {name}")
    print(f"      unicon train adapter --data {folder.root} --condition {name} --out runs/{name}")
