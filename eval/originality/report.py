"""What does a report hold, and how is it written for programs: a table of pictures, a record of the set?"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import StringIO

import numpy as np

from eval.originality.assessment import Assessment, Row
from eval.originality.nearest import Near, Nearest
from eval.originality.selection import Selection
from eval.originality.truth import Truth
from eval.records import Record

COLUMNS = (
    "name", "rarity", "realism", "look_distance", "look_share", "look_nearest", "meaning_distance",
    "meaning_share", "meaning_nearest", "is_copy_by_look", "is_copy_by_meaning", "disagreement", "truncation",
)  # fmt: skip
OF_PROMPT = (
    "prompt", "same_prompt_look_distance", "same_prompt_look_share", "same_prompt_look_nearest",
    "same_prompt_meaning_distance", "same_prompt_meaning_share", "same_prompt_meaning_nearest", "is_repeat",
)  # fmt: skip
OF_REFERENCE = (
    "reference", "reference_look_distance", "reference_look_share", "reference_meaning_distance",
    "reference_meaning_share", "is_copy_of_reference",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that was found."""

    found: Assessment
    grouped_by: str
    """What said which outputs are of one prompt."""
    truths: Mapping[str, Truth]
    """By column of the table: "clip_score", "control"."""
    selection: Selection | None


def as_csv(report: Report) -> str:
    """A line for each generated picture, in their order; empty cells where there is no value."""
    rows = report.found.rows
    columns = [*COLUMNS]
    columns += OF_PROMPT if any(row.same_prompt is not None for row in rows) else ()
    columns += OF_REFERENCE if any(row.reference is not None for row in rows) else ()
    columns += [*report.truths, *(["selection"] if report.selection is not None else [])]
    text = StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for n, row in enumerate(rows):
        cells = _cells(row) | {name: _finite(truth.scores[n]) for name, truth in report.truths.items()}
        if report.selection is not None:
            cells["selection"] = report.selection.verdicts[n]
        writer.writerow({name: "" if cells.get(name) is None else cells[name] for name in columns})
    return text.getvalue()


def _cells(row: Row) -> dict[str, object]:
    look = row.training.look
    return {
        "name": row.name, "rarity": row.rarity, "realism": row.realism, "truncation": row.truncation,
        "disagreement": row.training.disagreement, "is_copy_by_meaning": row.training.meaning.is_copy,
        "is_copy_by_look": None if look is None else look.is_copy, **_twice("", row.training),
        "prompt": row.prompt, **_twice("same_prompt_", row.same_prompt),
        "is_repeat": None if row.same_prompt is None else row.is_repeat,
        "reference": None if row.reference is None else row.reference.meaning.name,
        **_twice("reference_", row.reference),
        "is_copy_of_reference": None if row.reference is None else row.reference.is_copy,
    }  # fmt: skip


def _twice(start: str, nearest: Nearest | None) -> dict[str, object]:
    if nearest is None:
        return {}
    return _once(f"{start}meaning", nearest.meaning) | _once(f"{start}look", nearest.look)


def _once(start: str, near: Near | None) -> dict[str, object]:
    if near is None:
        return {}
    return {f"{start}_distance": near.distance, f"{start}_share": near.share, f"{start}_nearest": near.name}


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def as_record(report: Report, settings: Mapping[str, str | int | float | bool]) -> str:
    """The set's numbers with their provenance, as one record in JSON."""
    found = report.found
    one = found.rarity.summary
    numbers = {
        "rarity": one.mean, "precision": found.precision, "recall": found.recall, "coverage": found.coverage,
        "near_copies": found.num_copies, "num_real": one.num_real, "num_generated": one.num_generated,
    }  # fmt: skip
    if found.prompts:
        numbers |= {
            "prompts_with_several": len(found.prompts), "near_copies_of_one_prompt": found.num_repeats,
            "outputs_of_them": sum(map(len, found.prompts.values())),
        }  # fmt: skip
    given = [row.reference for row in found.rows if row.reference is not None]
    if given:
        numbers["near_copies_of_reference"] = sum(each.is_copy for each in given)
        numbers["reference_meaning_distance"] = float(np.mean([each.meaning.distance for each in given]))
    for name, truth in report.truths.items():
        numbers |= {name: float(np.nanmean(truth.scores)), f"{name}_true": int(truth.is_true.sum())}
        numbers[f"{name}_limit"] = truth.limit
    if report.selection is not None:
        numbers["kept"] = len(report.selection.places)
    record = Record(
        name="originality", numbers={name: value for name, value in numbers.items() if value is not None},
        settings={
            **settings, "k": one.k, "features": one.features, "false_alarms": found.meaning.level,
            "near_copies_by": "meaning" if found.look is None else "look", "grouped_by": report.grouped_by,
            **{f"{name}_limit_from": truth.limit_from for name, truth in report.truths.items()},
            **{f"{name}_by": truth.by for name, truth in report.truths.items()},
        },
    )  # fmt: skip
    return json.dumps(asdict(record), indent=2, allow_nan=False) + "\n"


def as_lines(report: Report) -> list[str]:
    """What the screen shows."""
    found = report.found
    space = "meaning" if found.look is None else "look"
    lines = [
        str(found.rarity.summary),
        f"{found.num_copies} of {len(found.rows)} are near-copies by {space} at a false alarm rate of "
        f"{found.meaning.level:g}",
    ]
    if found.prompts:
        num = sum(map(len, found.prompts.values()))
        lines.append(
            f"{found.num_repeats} of {num} outputs of {len(found.prompts)} prompts are near-copies of "
            f"another output of the same prompt (grouped by {report.grouped_by})"
        )
    given = [row.reference for row in found.rows if row.reference is not None]
    if given:
        lines.append(
            f"{sum(each.is_copy for each in given)} of {len(given)} are near-copies of their reference"
        )
    for truth in report.truths.values():
        num = int((~truth.is_true).sum())
        lines.append(f"{num} of {len(found.rows)} are {truth.reason}, by {truth.by}")
    if report.selection is not None:
        lines.append(str(report.selection))
    return lines
