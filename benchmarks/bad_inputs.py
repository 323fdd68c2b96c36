"""What does each kind of bad input get told, and is everything whole afterwards?

    python benchmarks/bad_inputs.py [--base mini] [--out docs/bad_inputs.md]

Makes one bad input after another, hands it to `unicon check` or `unicon train`, those of embeddings also to
`unicon generate` and `unicon vary`, and writes a table of what is said. Each case states what must be named,
and the user's files must be the same afterwards, without a half written file beside them.
`tests/benchmarks/test_bad_inputs.py` asserts the same on a tiny base. The cases and their makers are in
`bad_input_kinds/`.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bad_input_kinds.case import Case
from bad_input_kinds.cases import CASES
from bad_input_kinds.outcomes import Outcome, line_of, outcomes

MEANING = {0: "goes on", 1: "names the pairs that are not used", 2: "stops"}


def table(rows: Sequence[tuple[Case, Outcome]], folder: Path) -> str:
    lines = [
        "# Bad inputs, and what is said about them",
        "",
        "Written by `python benchmarks/bad_inputs.py`; a test runs the same list. After each, the files",
        "that were given are as before, and nothing half written is left. Of each message the part that",
        "matters is shown.",
        "",
        "| input | what happens | what is said |",
        "|---|---|---|",
    ]  # fmt: skip
    for case, found in rows:
        lines.append(f"| {case.name} | {MEANING[found.status]} | {shown(case, found.said, folder)} |")
    return "\n".join(lines) + "\n"


def shown(case: Case, said: str, folder: Path) -> str:
    """From the first thing that must be told on, with paths that mean something elsewhere."""
    text = line_of(said).partition(" all of it in ")[0]
    for number in range(len(CASES), -1, -1):
        text = text.replace(f"{folder}/{number}/", "")
    start = max(text.find(case.told[0]), 0)
    start = max(text.rfind(" ", 0, start), text.rfind(": /", 0, start)) + 1 if start else 0
    text = text[start : start + 260]
    return text.replace("|", "\\|").replace("<", "&lt;") + (" ..." if len(text) == 260 else "")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", default="mini")
    parser.add_argument("--out", type=Path, default=Path("docs/bad_inputs.md"))
    args = parser.parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        rows = []
        for case, found in outcomes(args.base, Path(name)):
            rows.append((case, found))
            problems = [
                *found.damage,
                *(f"does not say {t!r}" for t in case.told if t not in line_of(found.said)),
            ]
            if found.status != case.status:
                problems.append(f"ends with {found.status}, not {case.status}")
            bad += bool(problems)
            print(f"{'BAD ' if problems else 'good'} {case.name}", *problems, sep="\n     ", file=sys.stderr)
        args.out.write_text(table(rows, Path(name)), encoding="utf-8")
    print(f"{len(rows) - bad} of {len(rows)} bad inputs are answered as they should be; {args.out}")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
