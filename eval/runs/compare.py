"""Which of two runs on the same pictures is better, and is that more than chance?

Differences of all numbers with paired bootstrap intervals: both runs are resampled over the same pictures.
"""

from __future__ import annotations

import argparse
import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from eval import pages
from eval.command import command
from eval.metrics.summary import markdown_table
from eval.runs.items import Task
from eval.runs.measures.kinds import as_json
from eval.runs.measures.measure import Number
from eval.runs.page import CELL_PX, STYLE
from eval.runs.report import Run, read_run
from eval.runs.scores import Difference, Row, differences
from eval.runs.store import read_picture, write_text
from unicon.sheets import picture

SHOWN = 4
"""Pictures of each task where one run is furthest ahead of the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One number of one task."""

    task: Task
    number: Number
    found: Difference

    def verdict(self, names: tuple[str, str]) -> str:
        """Who is better, as far as the interval says."""
        if not self.found.is_decided or self.number.better == "neither":
            return "undecided" if not self.found.is_decided else "differ"
        is_second = (self.found.difference > 0) == (self.number.better == "higher")
        return f"{names[is_second]} is better"


def compare(first: Run, second: Run) -> list[Line]:
    """All numbers that both have; ValueError for runs that cannot be compared."""
    check_same_data(first, second)
    lines = []
    for task in [task for task in first.rows if task in second.rows]:
        check_same_judge(first, second, task)
        others = {row.measure.KIND + row.measure.numbers[0].name: row for row in second.rows[task]}
        for own in first.rows[task]:
            other = others.get(own.measure.KIND + own.measure.numbers[0].name)
            if other is None:  # measured in the first run alone
                continue
            check_same_measure(own, other)
            found = differences(own, other)
            lines += [
                Line(task=task, number=n, found=found[n.name]) for n in own.measure.numbers if n.name in found
            ]
    if not lines:
        raise ValueError(
            f"{first.folder} has {_tasks(first)}, {second.folder} has {_tasks(second)}: nothing in common"
        )
    return lines


def check_same_data(first: Run, second: Run) -> None:
    """ValueError unless both are of one suite and of the same pictures."""
    if first.suite != second.suite:
        raise ValueError(
            f"{first.folder} is a run of {first.suite}, {second.folder} of {second.suite}; compare runs of "
            "one suite"
        )
    if first.report["data"]["digest"] != second.report["data"]["digest"]:
        both = {i["digest"] for i in first.items} & {i["digest"] for i in second.items}
        raise ValueError(
            f"{first.folder} has {len(first.items)} pictures, {second.folder} {len(second.items)}, and "
            f"{len(both)} are the same: compare runs of the same pictures (--data, --num, --split)"
        )


def check_same_judge(first: Run, second: Run, task: Task) -> None:
    """ValueError where maps were read back by two judges: then the rulers differ, not the models."""
    if task.direction == "estimate":
        return
    judges = [run.report["settings"].get("judge") or "the base itself" for run in (first, second)]
    if judges[0] != judges[1]:
        raise ValueError(
            f"{task.name} was read back by {judges[0]} in {first.folder} and by {judges[1]} in "
            f"{second.folder}: run one of them again with the other's --judge"
        )


def check_same_measure(first: Row, second: Row) -> None:
    """ValueError for other conventions; a threshold that was chosen on validation pictures may differ."""
    own, other = ({k: v for k, v in as_json(r.measure).items() if k != "threshold"} for r in (first, second))
    if own != other:
        raise ValueError(
            f"{first.task.name} was measured differently ({first.measure.convention}; "
            f"{second.measure.convention}): run one of them again with the other's options"
        )


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval compare",
        description="Compare two runs of one suite on the same pictures: differences with paired bootstrap "
        "intervals.",
        epilog="example: unicon eval compare runs/eval-before runs/eval-after --out out/compared",
    )
    top.add_argument("first", metavar="A", help="folder of a run")
    top.add_argument("second", metavar="B", help="folder of another")
    top.add_argument("--out", metavar="DIR", help="also write compare.html and compare.json there")
    return top


def _run(arguments: argparse.Namespace) -> str:
    first, second = read_run(arguments.first), read_run(arguments.second)
    lines, names = compare(first, second), labels(first, second)
    if arguments.out:
        out = Path(arguments.out)
        write_text(out / "compare.html", as_html(first, second, lines))
        stored = [
            {"task": line.task.name, "number": line.number.name, **asdict(line.found),
             "difference": line.found.difference, "verdict": line.verdict(names)}
            for line in lines
        ]  # fmt: skip
        runs = [{"folder": str(run.folder), "commit": run.report["commit"]} for run in (first, second)]
        text = json.dumps({"runs": runs, "differences": stored}, indent=2, allow_nan=False)
        write_text(out / "compare.json", text + "\n")
    rows = _cells(lines, names)
    where = f"\n\n{Path(arguments.out) / 'compare.html'}" if arguments.out else ""
    return f"{markdown_table(rows)}\n\n{_about(first)}{where}"


def labels(first: Run, second: Run) -> tuple[str, str]:
    """What tables call them: their folders' names, or A and B where these are one."""
    return (first.label, second.label) if first.label != second.label else ("A", "B")


def _cells(lines: Sequence[Line], names: tuple[str, str]) -> list[dict[str, str]]:
    return [
        {
            "task": line.task.name,
            "number": line.number.label,
            names[0]: f"{line.found.first:.3f}",
            names[1]: f"{line.found.second:.3f}",
            "difference [95%]": _difference(line.found),
            "verdict": line.verdict(names),
        }
        for line in lines
    ]


def _difference(found: Difference) -> str:
    interval = "" if found.low is None else f" [{found.low:+.3f}, {found.high:+.3f}]"
    return f"{found.difference:+.3f}{interval}"


def _about(run: Run) -> str:
    return (
        f"N = {len(run.items)} pictures of {run.suite}; each number is a mean over a run's seeds; intervals "
        "are paired, over pictures. Many numbers are tested at once: one in twenty of equal runs' would be "
        "called decided."
    )


def _tasks(run: Run) -> str:
    return ", ".join(task.name for task in run.rows) or "nothing"


def as_html(first: Run, second: Run, lines: Sequence[Line]) -> str:
    """One page: the table, a plot of the differences, and the pictures that differ most."""
    names = labels(first, second)
    parts = [
        f"<h1>{html.escape(names[0])} and {html.escape(names[1])}</h1>",
        pages.facts({name: run.report["command"] for name, run in zip(names, (first, second), strict=True)}),
        f"<p class='small'>{html.escape(_about(first))}</p>",
        pages.table(_cells(lines, names)),
    ]
    for task in dict.fromkeys(line.task for line in lines):
        parts.append(f"<h2>{html.escape(task.condition)}: {task.direction}</h2>")
        parts.append(_plot([line for line in lines if line.task == task], names))
        parts += _pictures(task, first, second, names)
    return pages.page(f"{names[0]} and {names[1]}", parts, style=STYLE)


def _plot(lines: Sequence[Line], names: tuple[str, str]) -> str:
    """Differences in shares of the first run's number, so that all fit one axis."""
    spans = []
    for line in lines:
        found, unit = line.found, abs(line.found.first)
        if found.low is not None and found.high is not None and unit > 1e-9:
            colour = pages.INK if found.is_decided else pages.GREY
            ends = (found.difference / unit, found.low / unit, found.high / unit)
            label = f"{line.number.label} ({line.number.better} is better)"
            spans.append(pages.Span(label=label, middle=ends[0], low=ends[1], high=ends[2], colour=colour))
    if not spans:
        return ""
    text = f"{names[1]} minus {names[0]}, in shares of {names[0]}; red where the interval leaves out 0:"
    return f"<p class='small'>{html.escape(text)}</p>{pages.intervals(spans, zero=True)}"


def _pictures(task: Task, first: Run, second: Run, names: tuple[str, str]) -> list[str]:
    number = first.rows[task][0].measure.numbers[0]
    values = [run.rows[task][0].per_item(number.name)[0] for run in (first, second)]
    gaps = (values[1] - values[0]) * (1 if number.better == "higher" else -1)
    order = [n for n in np.argsort(gaps, kind="stable") if np.isfinite(gaps[n])]
    few = min(SHOWN, len(order) // 2)
    parts = []
    for name, places in ((names[1], order[::-1][:few]), (names[0], order[:few])):
        rows = "".join(_line(task, n, first, second, [v[n] for v in values]) for n in places)
        head = "".join(f"<th>{html.escape(t)}</th>" for t in ("", "own picture", "own map", *names))
        title = f"<h3>Where {html.escape(name)} is furthest ahead by {html.escape(number.label)}</h3>"
        parts.append(f'{title}<div class="wide"><table class="sheet"><tr>{head}</tr>{rows}</table></div>')
    return parts if few else []


def _line(task: Task, row: int, first: Run, second: Run, values: Sequence[float]) -> str:
    item = first.items[first.places[task][row]]
    paths = [first.folder / "items" / f"{item['stem']}.png"]
    paths += [first.folder / "items" / f"{item['stem']}_{task.condition}.png"]
    paths += [run.answer(task, 0, item["stem"]) for run in (first, second)]
    drawn = "".join(f"<td>{_image(path) if path.is_file() else ''}</td>" for path in paths)
    text = f"<b>{values[0]:.3f}, {values[1]:.3f}</b><br>{html.escape(item['name'])}<br>"
    return f'<tr><td class="who">{text}{html.escape(item["caption"])}</td>{drawn}</tr>'


def _image(path: Path) -> str:
    return pages.image(picture(read_picture(path)), alt=path.stem, side_px=2 * CELL_PX)


main = command(parser, _run)
