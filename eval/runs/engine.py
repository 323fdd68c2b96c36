"""How does a run go from items to rows of facts? Each step keeps what the last attempt has made.

1. the items are read and counted; 2. pictures and maps are made; 3. maps are read back from generated
pictures; 4. every answer is measured. Leaves out the report (`eval.runs.report`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.protocols.drawing import Painter
from eval.protocols.readers import PipelineReader, Reader, load_judge
from eval.runs.costs import Costs
from eval.runs.items import Task
from eval.runs.likeness import SetComparer, SetComparison
from eval.runs.making import Maker
from eval.runs.measures.measure import Calibrates
from eval.runs.roll import Roll
from eval.runs.scores import Row
from eval.runs.scoring import Benchmark, Scorer
from eval.runs.settings import Keys, RunSettings, Weights
from eval.runs.store import Store
from unicon.pipeline import UniConPipeline
from unicon.processes import Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a run has found."""

    roll: Roll
    store: Store
    weights: Weights
    rows: dict[Task, list[Row]]
    likeness: dict[Task, list[SetComparison]]
    """Numbers of sets, one per seed; empty where there are too few pictures."""
    features: str | None
    """Whose, and how resized."""


def carry_out(
    settings: RunSettings,
    benchmark: Benchmark,
    pipe: UniConPipeline,
    folder: Path,
    *,
    batch_size: int,
    share: Share,
    costs: Costs,
) -> Found:
    """Make what is not there, measure it. In one of several processes: its share, then all of the facts."""
    weights = Weights.of(pipe, settings)
    store = Store(folder=folder, keys=Keys(settings=settings, weights=weights))
    with costs.part("reading the items"):
        roll = Roll.of(benchmark.items, "the pictures")
        check(roll, settings.tasks)
        validation = Roll.of(benchmark.validation, "validation pictures")
    readers = _readers(settings, pipe, batch_size)
    painter = Painter(
        pipe=pipe, steps=settings.steps, batch_size=batch_size, guidance_scale=settings.guidance
    )
    spread = benchmark.spread if settings.num_members > 1 else {}
    maker = Maker(
        store=store, painter=painter, readers=readers, batch_size=batch_size, share=share, costs=costs,
        with_members=frozenset(spread),
    )  # fmt: skip
    maker.items(roll)
    for task in settings.tasks:
        chooses = any(isinstance(measure, Calibrates) for measure in benchmark.measures[task.condition])
        _make(maker, roll, validation if chooses else Roll((), validation.load), task, settings.seeds)
    share.wait()
    scorer = Scorer(
        store=store, benchmark=benchmark, roll=roll, validation=validation, share=share,
        has_regressor="regressor" in readers, spread=spread,
    )  # fmt: skip
    rows = {}
    for task in settings.tasks:
        with costs.part(f"measuring {task.name}"):
            rows[task] = scorer.rows(task, settings.seeds)
    with costs.part("comparing sets of pictures"):
        likeness, source = (
            _likeness(settings, store, roll, str(pipe.device)) if share.is_first else ({}, None)
        )
    return Found(roll=roll, store=store, weights=weights, rows=rows, likeness=likeness, features=source)


def check(roll: Roll, tasks: Sequence[Task]) -> None:
    """ValueError for a task that no item takes part in."""
    for task in tasks:
        places = roll.places(task)
        lacking = [n for n in places if task.condition not in roll.entries[n].conditions]
        if task.direction == "generate" and lacking:
            raise ValueError(f"{roll.entries[lacking[0]].name} has no {task.condition} map to generate from")
        if not places:
            raise ValueError(
                f"none of the {len(roll)} pictures has a {task.condition} that shows something to follow; "
                "take more of them (--num), or leave the direction out (--directions estimate)"
            )


def _make(maker: Maker, roll: Roll, validation: Roll, task: Task, seeds: Sequence[int]) -> None:
    places, first, every = roll.places(task), seeds[0], range(len(validation))
    if task.direction == "estimate":
        for seed in seeds:
            maker.estimates(roll, places, task.condition, "adapter", seed)
        for by in ("adapter", *(("regressor",) if "regressor" in maker.readers else ())):
            maker.estimates(roll, places, task.condition, by, first)
            maker.estimates(validation, every, task.condition, by, first)
        return
    for seed in seeds:
        maker.drawings(roll, places, task, seed)
        maker.readings(roll, places, task, seed)
    maker.estimates(roll, places, task.condition, "judge", first)
    maker.estimates(validation, every, task.condition, "judge", first)


def _readers(settings: RunSettings, pipe: UniConPipeline, batch_size: int) -> dict[str, Reader]:
    own = PipelineReader(
        pipe=pipe, steps=settings.steps, batch_size=batch_size, members=settings.ensemble,
        temperature=settings.temperature, work_px=settings.work_px,
        mirrored=settings.mirrored,
    )  # fmt: skip
    readers: dict[str, Reader] = {"adapter": own}
    if settings.judge is None:  # the base, at the size in which it reads pictures
        readers["judge"] = replace(own, members=1, temperature=1.0)
    else:
        asked = settings.conditions if any(t.direction != "estimate" for t in settings.tasks) else ()
        readers["judge"] = load_judge(settings.judge, pipe, settings.steps, batch_size, asked)
    if settings.regressor is not None:
        asked = settings.conditions if any(t.direction == "estimate" for t in settings.tasks) else ()
        readers["regressor"] = load_judge(settings.regressor, pipe, settings.steps, batch_size, asked)
    return readers


def _likeness(
    settings: RunSettings, store: Store, roll: Roll, device: str
) -> tuple[dict[Task, list[SetComparison]], str | None]:
    drawn = [task for task in settings.tasks if task.direction != "estimate"]
    if settings.features is None or not drawn:
        return {}, None
    likeness = SetComparer(store, roll, settings.features, device)
    found = {task: [likeness.compared(task, seed) for seed in settings.seeds] for task in drawn}
    return {task: [one for one in each if one is not None] for task, each in found.items()}, likeness.source
