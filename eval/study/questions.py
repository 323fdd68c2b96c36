"""What are people asked about two runs, and which side shows which?

Three kinds: which picture looks more real, which fits the caption better, which set of 16 is more varied.
Both sides of a question are the same item with the same seed (a set: the same 16). Order and sides come from
a seed; the page knows neither run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.digests import digest
from eval.runs.compare import check_same_data
from eval.runs.items import Task
from eval.runs.report import Run

Kind = Literal["realism", "caption", "diversity"]
TEXTS: dict[Kind, str] = {
    "realism": "Which picture looks more real?",
    "caption": "Which picture fits the caption better?",
    "diversity": "Which set of pictures is more varied?",
}
GRID = 16
"""Pictures of a set, 4 x 4."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """One comparison."""

    kind: Kind
    task: Task
    shown: tuple[tuple[int, int], ...]
    """(item, seed): one, or 16 of a set."""
    caption: str
    """Empty where it is not asked about."""
    first_is_left: bool
    """Whether the first run is on the left."""


def questions(first: Run, second: Run, *, num: int, num_grids: int, seed: int) -> list[Question]:
    """`num` of realism, as many of captions (none without captions) and `num_grids` of sets, in random order.

    Raises ValueError for runs of different data, without generated pictures, or with too few of them.
    """
    check_same_data(first, second)
    tasks = [t for t in first.rows if t in second.rows and t.direction != "estimate"]
    if not tasks:
        raise ValueError(
            f"{first.folder} and {second.folder} have no generated pictures in common: run the suites with "
            "--directions generate or joint"
        )
    rng = np.random.default_rng(seed)
    seeds = sorted(set(first.report["seeds"]) & set(second.report["seeds"]))
    every = [(task, place, s) for task in tasks for place in first.places[task] for s in seeds]
    told = [one for one in every if first.items[one[1]]["caption"]]
    found = [_pair("realism", one, "", rng) for one in _some(every, num, "pairs of pictures", rng)]
    if told:
        chosen = _some(told, num, "pairs of pictures with a caption", rng)
        found += [_pair("caption", one, first.items[one[1]]["caption"], rng) for one in chosen]
    sets = [(task, cells) for task in tasks for cells in _sets(first.places[task], seeds)]
    for task, cells in _some(sets, num_grids, f"sets of {GRID} pictures", rng):
        found.append(
            Question(
                kind="diversity", task=task, shown=cells, caption="", first_is_left=bool(rng.integers(2))
            )
        )
    return [found[n] for n in rng.permutation(len(found))]


def _pair(kind: Kind, one: tuple[Task, int, int], caption: str, rng: np.random.Generator) -> Question:
    task, place, seed = one
    return Question(
        kind=kind, task=task, shown=((place, seed),), caption=caption, first_is_left=bool(rng.integers(2))
    )


def _sets(places: Sequence[int], seeds: Sequence[int]) -> list[tuple[tuple[int, int], ...]]:
    """Sets of 16 (item, seed), of as few items as there are seeds for; an item is in one set alone."""
    each = -(-GRID // len(seeds))
    whole = [places[n : n + each] for n in range(0, len(places) - each + 1, each)]
    return [tuple((place, seed) for place in some for seed in seeds)[:GRID] for some in whole]


def _some(every: list, num: int, what: str, rng: np.random.Generator) -> list:
    """`num` of them at random; ValueError for too few."""
    if num > len(every):
        raise ValueError(f"{num} {what} were asked for, but the runs have {len(every)}; ask for fewer")
    return [every[n] for n in rng.permutation(len(every))[:num]]


def study_id(first: Run, second: Run, asked: Sequence[Question]) -> str:
    """12 hex digits of the runs' pictures, their weights and all questions."""
    facts = [(r.report["data"]["digest"], r.report["weights"], r.report["settings"]) for r in (first, second)]
    return digest(repr((facts, list(asked))), num_bytes=6)
