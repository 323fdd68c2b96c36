"""How is a study asked for, and what does it write?

`DIR/study.html` goes to the people who judge; `DIR/key.json`, which says who is who, stays.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from eval.command import command
from eval.records import commit
from eval.runs.compare import labels
from eval.runs.report import read_run
from eval.runs.store import write_text
from eval.study.page import as_html
from eval.study.questions import TEXTS, questions, study_id

KEY = "key.json"
PAGE = "study.html"


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval study",
        description="Write a blinded page on which people judge the generated pictures of two runs: realism, "
        "fit to the caption, variety of sets of 16.",
        epilog="example: unicon eval study runs/eval-before runs/eval-after --num 40 --out out/study",
    )
    top.add_argument("first", metavar="A", help="folder of a run")
    top.add_argument("second", metavar="B", help="folder of another, of the same pictures")
    top.add_argument("--out", required=True, metavar="DIR", help=f"where {PAGE} and {KEY} go")
    top.add_argument(
        "--num", type=int, default=20, metavar="N", help="pairs for realism, and for captions (default 20)"
    )
    top.add_argument("--grids", type=int, default=4, metavar="N", help="pairs of 4 x 4 sets (default 4)")
    top.add_argument("--seed", type=int, default=0, help="of the choice, the order and the sides (default 0)")
    return top


def _run(arguments: argparse.Namespace) -> str:
    if arguments.num < 0 or arguments.grids < 0 or arguments.num + arguments.grids == 0:
        raise ValueError(
            f"--num {arguments.num} and --grids {arguments.grids} leave no question; ask for some"
        )
    first, second = read_run(arguments.first), read_run(arguments.second)
    asked = questions(first, second, num=arguments.num, num_grids=arguments.grids, seed=arguments.seed)
    identity, names, out = study_id(first, second, asked), labels(first, second), Path(arguments.out)
    key = {
        "study": identity,
        "commit": commit(),
        "runs": [
            {"name": name, "folder": str(run.folder), "command": run.report["command"]}
            for name, run in zip(names, (first, second), strict=True)
        ],
        "questions": [
            {"kind": q.kind, "task": q.task.name, "shown": [list(cell) for cell in q.shown],
             "left": 0 if q.first_is_left else 1}
            for q in asked
        ],
    }  # fmt: skip
    write_text(out / PAGE, as_html(identity, asked, first, second))
    write_text(out / KEY, json.dumps(key, indent=1) + "\n")
    counts = ", ".join(f"{sum(q.kind == kind for q in asked)} of {kind}" for kind in TEXTS)
    return (
        f"{out / PAGE}: {len(asked)} questions ({counts}). Give people this page and keep {KEY}; then\n"
        f"unicon eval votes {out} votes-{identity}-*.json"
    )


main = command(parser, _run)
