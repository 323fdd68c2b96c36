"""How is every system trained at equal compute?"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from eval.records import Record
from train.command import main as train
from train.config import RunConfig, override
from train.flops import flops_per_item, steps_within
from train.recipes import stages_of
from train.run_log import METRICS

from .budget import Clock
from .place import Place
from .systems import OURS, SYSTEMS, System

RATES = {
    "controlnet": (3e-3, 1e-3, 3e-4),
    "t2i": (3e-3, 1e-3, 3e-4),
    "marigold": (3e-3, 1e-3, 3e-4),
    "jointnet": (3e-3, 1e-3, 3e-4),
}
"""Of the trial. The papers' own (1e-5 to 3e-5) are for hundreds of times as many steps."""
CLEARLY = 0.01
"""Share of a loss that is a difference: the same pairs, levels and noise were seen at both rates."""


def trained(place: Place, system: System, clock: Clock) -> Path | None:
    """The system's exported folder, trained if it is not there; None when the time is over."""
    export = place.folder / system.name / "export"
    if export.exists():
        return export
    rate = learning_rate(place, system, clock)
    if rate is None:
        return None
    steps = round(cost(place, system).numbers["steps"])
    done = learn(place, system, system.name, steps, rate, clock, share=system.share)
    return export if done else None


def cost(place: Place, system: System) -> Record:
    """Operations of one item's share of a step, trained parameters, steps; counted once."""
    found = [r for r in place.done("cost") if r.settings["system"] == system.name]
    if found:
        return found[-1]
    counted = {r.settings["stage"]: r.numbers for r in place.done("cost")}.get(system.stage)
    if counted is None:
        objective = config(place, system).objective.build(place.folder)
        num_trained = sum(p.numel() for p in objective.trained().values())
        counted = {"flops": flops_per_item(objective), "trained": num_trained}
    ours = counted["flops"] if system == OURS else cost(place, OURS).numbers["flops"]
    size = place.budget.batch_size
    steps = steps_within(place.budget.steps * size * ours * system.share, counted["flops"], size)
    place.note("cost", {**counted, "steps": steps}, {"system": system.name, "stage": system.stage})
    return cost(place, system)


def learning_rate(place: Place, system: System, clock: Clock) -> float | None:
    """Of three (`chosen`); the recipe's where there is no choice, None when the time is over."""
    rates = RATES.get(system.stage, ())
    if not rates:
        return config(place, system).loop.learning_rate
    known = [r for r in place.done("rate") if r.settings["stage"] == system.stage]
    tried = {float(r.settings["rate"]): r.numbers["loss"] for r in known}
    full = next(each for each in SYSTEMS if each.stage == system.stage)
    share = place.budget.trial_share
    steps = max(2, round(cost(place, full).numbers["steps"] * share))
    for rate in rates:
        if rate in tried:
            continue
        name = f"trial_{system.stage}_{rate:g}"
        if not learn(place, full, name, steps, rate, clock, share=share):
            return None
        tried[rate] = late_loss(place.folder / name / METRICS)
        place.note("rate", {"loss": tried[rate]}, {"stage": system.stage, "rate": rate, "of_steps": steps})
        shutil.rmtree(place.folder / name)
    return chosen(tried)


def chosen(tried: Mapping[float, float]) -> float:
    """Of rates and the losses of their trials the highest that is not worse than the best by `CLEARLY`.

    So short a trial tells which rate is too high; of those that are not, the higher learns more afterwards.
    """
    best = min(tried.values())
    return max(rate for rate, loss in tried.items() if loss <= best * (1 + CLEARLY))


def late_loss(metrics: Path) -> float:
    """Mean loss of the second half of a training."""
    losses = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
    return float(np.mean(losses[len(losses) // 2 :]))


def learn(
    place: Place, system: System, name: str, steps: int, rate: float, clock: Clock, *, share: float = 1.0
) -> bool:
    """Train it into the folder `name`; False when it paused. ValueError with the reason if it failed.

    `share`: of a recipe's warm-up, for a run that is so much shorter.
    """
    warm_up = round(config(place, system).loop.warmup_steps * share)
    settings = {
        **fields(place, system), "steps": str(steps), "learning_rate": f"{rate:g}",
        "warmup_steps": str(warm_up), "checkpoint_every": "50", "keep_checkpoints": "1", "log_every": "1",
    }  # fmt: skip
    arguments = [f"peers/{system.stage}", "--out", str(place.folder), "--as", name]
    arguments += ["--stop-after", str(clock.minutes_left())]
    arguments += [part for field, value in settings.items() for part in (f"--{field}", value)]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        status = train(arguments)
    if status not in (0, 3):
        raise ValueError(f"{name}: training ended with {status}: {said.getvalue()[-500:]}")
    return status == 0


def config(place: Place, system: System) -> RunConfig:
    """The recipe's stage with this condition, base and data."""
    (stage,) = stages_of(f"peers/{system.stage}")[1].values()
    assert isinstance(stage, RunConfig)
    return override(stage, fields(place, system))


def fields(place: Place, system: System) -> dict[str, str]:
    """What of the stage is set here."""
    found = {
        "maps": place.condition, "base": place.base, "latents": str((place.data / "latents").resolve()),
        "num_scenes": str(place.num_scenes), "batch_size": str(place.budget.batch_size),
    }  # fmt: skip
    if system.stage in ("joint", "tied"):
        return {**found, "condition": place.condition}
    return {**found, "scenes": str((place.data / "scenes").resolve())}
