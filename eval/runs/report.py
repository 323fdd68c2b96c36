"""What does a finished run's folder say, and how is it read again?

`report.json` holds results with their provenance, `scores.json` the facts of every picture (so that sets can
be compared without pictures), `scores.csv` every picture's numbers for people. `run.json` marks the folder
from the start, with the command that continues it.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.metrics.summary import over_seeds
from eval.records import commit, versions
from eval.runs.costs import Costs
from eval.runs.items import Task
from eval.runs.measures.kinds import as_json, from_json
from eval.runs.scores import LEVEL, RESAMPLES, Row, results
from eval.runs.store import write_text

if TYPE_CHECKING:  # a report is read without the libraries that made it
    from eval.runs.engine import Found
    from eval.runs.scoring import Benchmark
    from eval.runs.settings import RunSettings

FORMAT = 1
RUN, REPORT, SCORES = "run.json", "report.json", "scores.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished run, from its folder."""

    folder: Path
    report: dict[str, Any]
    """What `report.json` holds."""
    rows: dict[Task, list[Row]]
    """The model's own, by task: a row for each measure."""
    places: dict[Task, list[int]]
    """Which items each task has."""

    @property
    def suite(self) -> str:
        return self.report["suite"]

    @property
    def items(self) -> list[dict[str, Any]]:
        """Name, stem, digest and caption of each picture."""
        return self.report["data"]["items"]

    def answer(self, task: Task, seed: int, stem: str) -> Path:
        """The picture that was generated, or the map that was estimated."""
        same = (
            r
            for r in self.report["results"]
            if (r["condition"], r["direction"]) == (task.condition, task.direction)
        )
        return self.folder / next(same)["folder"] / f"seed{seed}" / f"{stem}.png"

    @property
    def label(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name


def claim(folder: Path, suite: str, command: str) -> None:
    """Mark a folder as this suite's; ValueError for one that holds something else."""
    mark = folder / RUN
    if mark.is_file():
        holds = json.loads(mark.read_text(encoding="utf-8")).get("suite")
        if holds != suite:
            raise ValueError(f"{folder} holds a run of {holds}; give {suite} another folder with --out")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there and is no run's folder; choose another --out")
    write_text(mark, json.dumps({"suite": suite, "command": command}, indent=2) + "\n")


def as_report(
    *,
    suite: str,
    command: str,
    settings: RunSettings,
    benchmark: Benchmark,
    found: Found,
    seconds: float,
    costs: Costs,
) -> dict[str, Any]:
    """Everything a reader must know, as JSON. `seconds` are of the last attempt, `costs` of all."""
    entries = found.roll.entries
    return {
        "format": FORMAT,
        "suite": suite,
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        "seconds": round(seconds, 1),
        "costs": costs.as_json(),
        "settings": asdict(settings),
        "weights": asdict(found.weights),
        "seeds": list(settings.seeds),
        "intervals": f"{LEVEL:.0%} percentile bootstrap over pictures, {RESAMPLES} resamples",
        "data": {
            **benchmark.facts,
            "num": len(entries),
            "digest": found.roll.digest,
            "items": [
                {"name": e.name, "stem": e.stem, "digest": e.digest, "caption": e.caption} for e in entries
            ],
        },
        "results": [_as_result(row, found) for rows in found.rows.values() for row in rows],
        "likeness": {
            "features": found.features,
            "tasks": {
                task.name: _over_seeds([one.numbers for one in each])
                for task, each in found.likeness.items()
                if each
            },
            "sets": {task.name: each[0].sets for task, each in found.likeness.items() if each},
        },
    }


def _as_result(row: Row, found: Found) -> dict[str, Any]:
    return {
        "condition": row.task.condition,
        "direction": row.task.direction,
        "prediction": row.prediction,
        "measure": as_json(row.measure),
        "convention": row.measure.convention,
        "num": row.facts.shape[1],
        "num_seeds": row.facts.shape[0],
        "num_skipped": row.num_skipped,
        "folder": _folder(row.task, found),
        "numbers": {name: asdict(number) for name, number in results(row).items()},
    }


def _folder(task: Task, found: Found) -> str:
    """Where the pictures of a task lie, below the run's folder."""
    if task.direction == "estimate":
        path = found.store.estimate(task.condition, "adapter", 0, "").parent.parent
    else:
        path = found.store.picture(task, 0, "").parent.parent
    return path.relative_to(found.store.folder).as_posix()


def _over_seeds(each: list[dict[str, float]]) -> dict[str, dict[str, float | None]]:
    numbers = {}
    for name in each[0]:
        if all(name in one and math.isfinite(one[name]) for one in each):
            summary = over_seeds([one[name] for one in each])
            deviation = summary.deviation if summary.num > 1 else None
            numbers[name] = {"mean": summary.mean, "deviation": deviation}
    return numbers


def as_scores(found: Found) -> dict[str, Any]:
    """The model's facts by task and measure; None where an item had nothing to measure."""
    return {
        "digest": found.roll.digest,
        "rows": [
            {
                "condition": row.task.condition,
                "direction": row.task.direction,
                "measure": as_json(row.measure),
                "places": found.roll.places(row.task),
                "facts": [
                    [None if math.isnan(facts[0]) else facts.tolist() for facts in seed] for seed in row.facts
                ],
            }
            for rows in found.rows.values()
            for row in rows
            if row.prediction == "adapter"
        ],
    }


def as_csv(found: Found) -> str:
    """A line for each picture, seed and task of the model, with all its numbers."""
    names = list(
        dict.fromkeys(n.name for rows in found.rows.values() for r in rows for n in r.measure.numbers)
    )
    text = StringIO()
    writer = csv.DictWriter(text, ["condition", "direction", "seed", "name", *names], lineterminator="\n")
    writer.writeheader()
    for task, rows in found.rows.items():
        own = [row for row in rows if row.prediction == "adapter"]
        numbers = {n.name: row.per_item(n.name) for row in own for n in row.measure.numbers}
        for seed in range(own[0].facts.shape[0]):
            for n, place in enumerate(found.roll.places(task)):
                cells = {k: v[seed, n] for k, v in numbers.items() if not np.isnan(v[seed, n])}
                fixed = {"condition": task.condition, "direction": task.direction, "seed": seed}
                name = found.roll.entries[place].name
                writer.writerow({**fixed, "name": name, **{k: f"{v:.6g}" for k, v in cells.items()}})
    return text.getvalue()


def read_run(folder: str | Path) -> Run:
    """A finished run; ValueError for what is none, and for one that has not come to its end."""
    folder = Path(folder)
    report = _json(folder, REPORT)
    scores = _json(folder, SCORES)
    if report.get("format") != FORMAT:
        raise ValueError(f"{folder} is of format {report.get('format')}; this version reads {FORMAT}")
    rows: dict[Task, list[Row]] = {}
    places: dict[Task, list[int]] = {}
    for stored in scores["rows"]:
        task = Task(condition=stored["condition"], direction=stored["direction"])
        row = Row(
            task=task,
            prediction="adapter",
            measure=from_json(stored["measure"]),
            facts=_array(stored["facts"]),
        )
        rows.setdefault(task, []).append(row)
        places[task] = stored["places"]
    return Run(folder=folder, report=report, rows=rows, places=places)


def _array(facts: list[list[list[float] | None]]) -> np.ndarray:
    width = max((len(one) for seed in facts for one in seed if one is not None), default=1)
    return np.array([[one if one is not None else [math.nan] * width for one in seed] for seed in facts])


def _json(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        mark = folder / RUN
        if mark.is_file():
            command = json.loads(mark.read_text(encoding="utf-8"))["command"]
            raise ValueError(f"{folder} is a run that has not come to its end; continue it with: {command}")
        raise ValueError(
            f"{folder} is no run's folder: {name} is missing; give the --out of a unicon eval SUITE"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); run the command again that wrote it") from error


def text_tables(report: Mapping[str, Any]) -> str:
    """Markdown tables of a report's results, for the terminal."""
    from eval.metrics.summary import markdown_table

    sections = []
    for task in dict.fromkeys((r["condition"], r["direction"]) for r in report["results"]):
        rows = [r for r in report["results"] if (r["condition"], r["direction"]) == task]
        sections.append(f"### {task[0]}, {task[1]}\n\n{markdown_table(cells(rows), _columns(rows))}")
    return "\n\n".join(sections)


def cells(rows: list[dict[str, Any]], between: str = " ") -> list[dict[str, str | int]]:
    """Rows of a table: one for each prediction, the numbers of all measures beside each other; `between` a
    number and its interval."""
    found: dict[str, dict[str, str | int]] = {}
    for row in rows:
        labels = {number.name: number.label for number in from_json(row["measure"]).numbers}
        line = found.setdefault(
            row["prediction"], {"prediction": row["prediction"], "N": row["num"], "seeds": row["num_seeds"]}
        )
        if row["num_skipped"]:
            line["nothing to measure"] = row["num_skipped"]
        for name, number in row["numbers"].items():
            line[labels[name]] = as_text(number, between)
    return list(found.values())


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in cells(rows) for name in row))


def as_text(number: Mapping[str, Any], between: str = " ") -> str:
    """0.123 ± 0.004 [0.110, 0.135]: mean, deviation over seeds, interval, as far as there are."""
    text = f"{number['mean']:.3f}"
    text += "" if number.get("deviation") is None else f" ± {number['deviation']:.3f}"
    if number.get("low") is not None:
        text += f"{between}[{number['low']:.3f}, {number['high']:.3f}]"
    return text
