"""How do repeated scores become records, and records a table?

One record per row of a table: the numbers' mean under their names, the deviation over seeds under
`NAME_deviation`. Leaves out computing anything else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eval.command import command
from eval.metrics.summary import markdown_table, over_seeds
from eval.records import Record, append, read

DEVIATION = "_deviation"
LABELS = {
    "abs_rel": "AbsRel",
    "abs_rel_low": "95% from",
    "abs_rel_high": "to",
    "delta1": "delta1",
    "rmse": "RMSE",
    "ods_f1": "ODS",
    "ois_f1": "OIS",
    "ap": "AP",
    "f1": "F1 at 2 px",
    "precision": "precision",
    "recall": "recall",
    "threshold": "threshold",
    "pck": "PCK@0.1",
    "found": "figures found / true",
    "interval_coverage": "coverage of 90% interval",
    "interval_coverage_all": "coverage of 90% interval, all pixels",
    "width_m": "width (m)",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "num": "N",
}
"""Heading of each number in a table."""
FIRST_COLUMNS = ("prediction", "kind", "stratum")
"""Settings that are columns wherever they occur; others are where they differ, else they stand in the line
above the table."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One row: a prediction and its score with every seed."""

    prediction: str
    """Who predicted: "adapter", or the name of a reference."""
    scores: Sequence[Any]
    """Score dataclasses of numbers, one per seed; one where no noise is involved."""


def record(name: str, outcome: Outcome, settings: dict[str, str | int | float | bool]) -> Record:
    """The row as a record named `name`, its prediction and number of seeds among the settings."""
    own = {"prediction": outcome.prediction, "num_seeds": len(outcome.scores)}
    return Record(name=name, numbers=numbers_of(outcome.scores), settings={**settings, **own})


def numbers_of(scores: Sequence[Any]) -> dict[str, float | int]:
    """Mean of each field over the scores, and its deviation; a field that is None in any is left out."""
    rows = [asdict(score) for score in scores]
    numbers: dict[str, float | int] = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if any(value is None for value in values):
            continue
        summary = over_seeds(values)
        numbers[name] = round(summary.mean) if name == "num" else summary.mean
        if summary.num > 1 and name not in ("num", "threshold"):
            numbers[name + DEVIATION] = summary.deviation
    return numbers


def save(path: str | Path | None, records: Sequence[Record]) -> None:
    """Append the records to a file of JSON lines; None: nowhere."""
    for one in records:
        if path is not None:
            append(path, one)


def tables(records: Sequence[Record]) -> str:
    """A markdown table per measurement, rows in order of appearance.

    Of rows with equal settings the newest counts, whatever its number of seeds.
    """
    groups: dict[str, dict[str, Record]] = {}
    for one in records:
        same = {key: value for key, value in one.settings.items() if key != "num_seeds"}
        groups.setdefault(one.name, {})[json.dumps(same, sort_keys=True)] = one
    return "\n\n".join(_section(name, list(rows.values())) for name, rows in groups.items())


def _section(name: str, rows: list[Record]) -> str:
    settings = list(dict.fromkeys(key for row in rows for key in row.settings))
    differing = [key for key in settings if len({str(row.settings.get(key)) for row in rows}) > 1]
    as_columns = [key for key in settings if key in (*FIRST_COLUMNS, "num_seeds") or key in differing]
    shared = {key: rows[0].settings[key] for key in settings if key not in as_columns}
    line = ", ".join(f"{_label(key)} {value}" for key, value in shared.items())
    facts = f"{line or 'no settings'}; commit {_short(rows[0].commit)}, {rows[0].date[:10]}."
    cells = [_cells(row, sorted(as_columns, key=_place)) for row in rows]
    columns = list(dict.fromkeys(column for row in cells for column in row))
    return f"### {name}\n\n{facts}\n\n{markdown_table(cells, columns)}"


def _cells(one: Record, settings: Sequence[str]) -> dict[str, object]:
    cells: dict[str, object] = {_label(key): one.settings.get(key) for key in settings}
    for name, value in one.numbers.items():
        if name.endswith(DEVIATION):
            continue
        deviation = one.numbers.get(name + DEVIATION)
        text = f"{value:.3f}" if isinstance(value, float) else value
        says_how_near = name == "pck" and "pck_at" in one.settings
        label = "PCK" if says_how_near else LABELS.get(name, name)
        cells[label] = text if deviation is None else f"{text} ± {deviation:.3f}"
    return cells


def _short(commit: str) -> str:
    """12 digits, and whether files differed from it."""
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def _place(setting: str) -> int:
    return FIRST_COLUMNS.index(setting) if setting in FIRST_COLUMNS else len(FIRST_COLUMNS)


def _label(setting: str) -> str:
    return setting.removeprefix("num_").replace("_", " ")


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval table",
        description="Turn result records into markdown tables.",
        epilog="example: unicon eval table results/scenes.jsonl results/vae.jsonl",
    )
    top.add_argument("files", nargs="+", metavar="FILE", help="JSON lines written with --out")
    return top


def _run(arguments: argparse.Namespace) -> str:
    return tables([one for file in arguments.files for one in read(file)])


main = command(parser, _run)
