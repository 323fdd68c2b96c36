"""How does a user turn their own copy of a public set into pairs for training?"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.typed import positive

if TYPE_CHECKING:
    from train.pairs.public import PublicSet, Selection, Task
    from unicon.data.pairs.writing import PairFolder

EXAMPLE = "%(prog)s nyu_depth path/to/nyu_depth_v2 --out pairs/nyu"
LINES = ("mean", "any")
NAMES = ("nyu_depth", "bsds", "lsp", "subjects", "clips")
"""Both are those of `train.pairs.public`; here too, so that help waits for no library."""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("set", choices=NAMES, metavar="SET", help=f"{', '.join(NAMES)} (docs/real_data.md)")
    parser.add_argument("data", metavar="DATA", help="folder of your own copy")
    parser.add_argument("--out", required=True, metavar="PAIRS", help="folder of pairs to write or continue")
    parser.add_argument(
        "--split", metavar="NAME",
        help="all, rest (without the held-out tenth) or held_out; of nyu_depth also train and other_rooms "
        "(default: what may be trained on)",
    )  # fmt: skip
    parser.add_argument(
        "--longest", type=int, default=0, metavar="PX",
        help="make larger pictures this long at most; 0 (default): as they are",
    )  # fmt: skip
    parser.add_argument(
        "--num", type=positive, metavar="N", help="at most N pairs, from all over the set (default: all)"
    )
    parser.add_argument(
        "--every", type=positive, default=1, metavar="N",
        help="of clips: frames from one view to the other (default 1); pairs of another N stay there",
    )  # fmt: skip
    parser.add_argument(
        "--lines", choices=LINES, default=LINES[0],
        help="of bsds: lines as bright as annotators agree (default), or any annotator's at full brightness",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Write the pairs that are not there yet; 1 if some had to be left out, 2 if all had."""
    from train.pairs.public import SETS, Selection
    from unicon.cli.annotate import FILES, check_longest, report
    from unicon.cli.photo_batches import left_out
    from unicon.data.pairs.writing import PairFolder

    check_longest(args.longest)
    chosen = SETS[args.set]
    asked = Selection(
        folder=Path(args.data), split=args.split or chosen.split, longest_px=args.longest, every=args.every,
        lines=args.lines,
    )  # fmt: skip
    tasks = evenly(chosen.tasks(asked), args.num)
    folder = PairFolder(Path(args.out), chosen.condition)
    facts = facts_of(args.set, chosen, asked)
    folder.check_same(facts)
    folder.state(facts)
    failures = write_all(folder, [task for task in tasks if not folder.is_done(task.stem)])
    if len(failures) < len(tasks):
        report(chosen.condition, folder, facts, failures)
    return left_out(failures, len(tasks), FILES)


def evenly(tasks: list[Task], num: int | None) -> list[Task]:
    """At most `num` of them, in order."""
    if num is None or num >= len(tasks):
        return tasks
    return [tasks[place * len(tasks) // num] for place in range(num)]


def facts_of(name: str, chosen: PublicSet, asked: Selection) -> dict[str, Any]:
    """What the manifest says. Views of several sets are one condition, and may lie in one folder."""
    source = "views" if chosen.views else name
    settings = {"split": asked.split} | ({"lines": asked.lines} if chosen.condition == "edge" else {})
    return {
        "annotator": source, "weights": None, "revision": None, "settings": settings,
        "pictures": {"from": source, "longest_px": asked.longest_px},
    }  # fmt: skip


def write_all(folder: PairFolder, tasks: list[Task]) -> list[str]:
    """Write the pairs of all tasks, and return what could not be made, each with its file's name."""
    from tqdm import tqdm

    failures = []
    for task in tqdm(tasks, desc="writing pairs", unit="pair", leave=False):
        try:
            folder.finish(task.stem, folder.write(task.make()))
        except (ValueError, OSError) as error:
            failures.append(str(error))
            tqdm.write(f"left out: {failures[-1]}", file=sys.stderr)
    return failures
