"""What is measured, and what of it is there?"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from eval.records import Record, append, read

from .budget import Budget
from .features import EXTRACTORS, Embedded
from .measures import model_numbers
from .modes import mode_numbers
from .pictures import MODELS, RARE, Sets
from .rare_attributes import ranking

RESULTS = "results.jsonl"
OF_MODES = ("mini", "judge")
"""In which modes are found, which needs features of all scenes: the UNet's take too long."""

Settings = dict[str, str | int]
Question = tuple[str, Settings, Callable[[], dict[str, float]]]
"""Name of a record, what decides about its numbers, and what answers it."""


def questions(embedded: Embedded) -> Iterator[Question]:
    """Everything that is measured, the cheap ones first."""
    budget = embedded.sets.budget
    for features in EXTRACTORS:
        for attribute in RARE:
            for draw in range(budget.draws):
                settings = {"features": features, "draw": draw, **budget.of_scenes()}
                yield (
                    f"families/rare {attribute}",
                    settings,
                    partial(ranking, embedded, attribute, features, draw),
                )
    for model in MODELS:
        for features in EXTRACTORS:
            settings = {"features": features, **budget.of_model(model)}
            yield f"families/{model}", settings, partial(model_numbers, embedded, model, features)
            if features in OF_MODES:
                yield f"families/modes of {model}", settings, partial(mode_numbers, embedded, model, features)


def run(sets: Sets, out: Path) -> None:
    """Answer what is not answered yet."""
    known = [(one.name, one.settings) for one in done(out, sets.budget)]
    for name, settings, answer in questions(Embedded(sets, out)):
        if (name, settings) not in known:
            began = time.monotonic()
            append(out / RESULTS, Record(name=name, numbers=dict(answer()), settings=dict(settings)))
            print(f"{name}, {settings} ({time.monotonic() - began:.0f} s)", file=sys.stderr)


def done(out: Path, budget: Budget) -> list[Record]:
    """Results of this budget."""
    path, mine = out / RESULTS, asdict(budget)
    found = read(path) if path.exists() else []
    return [r for r in found if all(mine.get(n, v) == v for n, v in r.settings.items())]
