"""Is one joint adapter as good as models that are made for one direction alone, at equal compute?

    python benchmarks/comparison.py --data runs/peers [--condition depth] [--out runs/comparison]
        [--stop-after MINUTES]
    python benchmarks/comparison.py --condition depth --tables     # of what is there so far

All systems learn from the latents and scenes below `--data` (`unicon train peers/scenes`, then
`peers/latents`, or a mini family's folder) on the same frozen base, and each may compute as many
operations, forward and backward (`train.flops`), as our adapter does in `--steps` steps of 24 pairs:
diffusers' ControlNet and T2I-Adapter (a picture from its map), a Marigold-style estimator (a map from its
picture), a JointNet and an adapter on tied levels (both at once). The specialists are trained once more
with a third each: one per direction together cost what our one adapter costs. Rates of AdamW are those of
the recipe (`unicon train peers --help`), or of three the highest that is not clearly worse in a trial of
a tenth of the steps, by the training loss of its second half, on pairs that were not seen yet.

Measured on scenes that nothing was trained on, with the base's own solver and no guidance, by
`eval.protocols.scenes`: `generate`, the map that a judge reads from the picture against the exact map given;
`estimate`, the map against the exact one; `joint`, the map that the judge reads from the picture against the
map drawn with it. Systems that know one level for both sides are given the other one by replacement. Beside
that, how often mini's CLIP finds a picture's own caption nearest of all: a map can be followed in a picture
that shows nothing.

Running it again goes on: each result is a line of results.jsonl, a training half done continues, and what
was drawn is kept, so that another `--judge` reads the same pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from PIL import Image

from adapters.files import write_arrays
from eval.clip import Clip
from eval.metrics.summary import Interval, Summary, bootstrap_interval, over_seeds
from eval.metrics.text import text_score
from eval.peers.joint_adapter import Joint
from eval.peers.peer import DIRECTIONS, Direction
from eval.peers.sampling import PeerSampler
from eval.peers.store import load_peer
from eval.pictures import Pictures
from eval.protocols import scenes
from eval.protocols.drawing import Drawer, Drawings, Painter
from eval.protocols.map_scores import agreement, score
from eval.protocols.readers import BASE, PipelineReader, Reader, Readings, load_judge
from eval.protocols.results import Outcome
from eval.protocols.scene_set import SceneSet, scene_set
from eval.records import Record, append, read
from train.assemble import base_pipeline, base_place
from train.command import main as train
from train.config import RunConfig, override
from train.flops import flops_per_item, steps_within
from train.recipes import stages_of
from train.run_log import METRICS
from unicon.bases import base_size
from unicon.devices import pick_device, pick_dtype
from unicon.pipeline import UniConPipeline
from unicon.sheets import contact_sheet, picture
from unicon.sources import MINI, saved_adapters

RESULTS = "results.jsonl"
SCENES = "the scenes' own pictures"
SHOWN = 6
"""Scenes on the contact sheet."""
NUMBER = {"depth": ("abs_rel", "AbsRel"), "edge": ("f1", "F1")}
"""What each condition is measured in, and its heading. AbsRel is better low, F1 high."""
TITLES: dict[Direction, str] = {"generate": "map to image", "estimate": "image to map", "joint": "both"}
RATES = {
    "controlnet": (3e-3, 1e-3, 3e-4),
    "t2i": (3e-3, 1e-3, 3e-4),
    "marigold": (3e-3, 1e-3, 3e-4),
    "jointnet": (3e-3, 1e-3, 3e-4),
}
"""Of the trial. The papers' own (1e-5 to 3e-5) are for hundreds of times as many steps."""
CLEARLY = 0.01
"""Share of a loss that is a difference: the same pairs, levels and noise were seen at both rates."""


@dataclass(frozen=True, kw_only=True, slots=True)
class System:
    """One trained model."""

    name: str
    stage: str
    """Of the recipe `peers`."""
    title: str
    own: tuple[Direction, ...]
    replaces: bool = False
    """Whether it does the other directions by replacement."""
    share: float = 1.0
    """Of the budget."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        return DIRECTIONS if self.replaces and self.share == 1 else self.own


OURS = System(name="joint", stage="joint", title="one adapter (ours)", own=DIRECTIONS)
SPECIALISTS = (
    System(name="controlnet", stage="controlnet", title="ControlNet", own=("generate",)),
    System(name="t2i", stage="t2i", title="T2I-Adapter", own=("generate",)),
    System(name="marigold", stage="marigold", title="Marigold-style", own=("estimate",)),
    System(name="jointnet", stage="jointnet", title="JointNet-style", own=("joint",), replaces=True),
)
THIRDS = tuple(
    System(
        name=f"{system.name}_third",
        stage=system.stage,
        title=f"{system.title}, a third",
        own=system.own,
        share=1 / 3,
    )
    for system in SPECIALISTS
)
TIED = System(name="tied", stage="tied", title="adapter on tied levels", own=("joint",), replaces=True)
SYSTEMS = (OURS, *SPECIALISTS, *THIRDS, TIED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One system in one direction."""

    system: System
    direction: Direction


def jobs() -> list[Job]:
    """All that is measured, what decides the claim first."""
    own = [Job(system=s, direction=d) for s in SYSTEMS for d in s.own]
    return own + [Job(system=s, direction=d) for s in SYSTEMS for d in s.directions if d not in s.own]


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is spent; part of every result."""

    steps: int = 180
    """Of our adapter; what they compute is everybody's budget."""
    batch_size: int = 24
    trial_share: float = 0.1
    num: int = 60
    """Scenes."""
    seeds: int = 3
    """Of sampling; each system is trained once."""
    drawing_steps: int = 20
    judge_steps: int = 1
    """Of a judge that is a base: one is its best estimate (`docs/log.md`)."""


BUDGET = {
    "--steps": "of our adapter, which is everybody's compute",
    "--batch-size": "pairs per step",
    "--trial-share": "of a training, for every rate that is tried",
    "--num": "scenes that are measured",
    "--seeds": "of sampling",
    "--drawing-steps": "of all sampling",
    "--judge-steps": "of a judge that is a base",
}
"""Every field of `Budget` as an option."""
SETTINGS = {
    "cost": ("steps", "batch_size"),
    "rate": ("steps", "batch_size", "trial_share"),
    "time": ("judge", *asdict(Budget())),
    "score": ("judge", *asdict(Budget())),
    "scenes": ("judge", *asdict(Budget())),
    "text": tuple(asdict(Budget())),
}
"""What has to be the same for a result to be taken instead of being measured again."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is compared on what, and where results lie."""

    out: Path
    data: Path
    base: str
    condition: str
    judge: str
    budget: Budget
    num_scenes: int = 8192

    @property
    def folder(self) -> Path:
        """Of this condition and training budget."""
        return self.out / f"{self.condition}_{self.budget.steps}x{self.budget.batch_size}"

    # --- training -----------------------------------------------------------------------------------------

    def config(self, system: System) -> RunConfig:
        """The recipe's stage with this condition, base and data."""
        (stage,) = stages_of(f"peers/{system.stage}")[1].values()
        assert isinstance(stage, RunConfig)
        return override(stage, self.fields(system))

    def fields(self, system: System) -> dict[str, str]:
        """What of the stage is set here."""
        fields = {
            "maps": self.condition, "base": self.base, "latents": str((self.data / "latents").resolve()),
            "num_scenes": str(self.num_scenes), "batch_size": str(self.budget.batch_size),
        }  # fmt: skip
        if system.stage in ("joint", "tied"):
            return {**fields, "condition": self.condition}
        return {**fields, "scenes": str((self.data / "scenes").resolve())}

    def cost(self, system: System) -> Record:
        """Operations of one item's share of a step, trained parameters, steps; counted once."""
        found = [r for r in self.done("cost") if r.settings["system"] == system.name]
        if found:
            return found[-1]
        counted = {r.settings["stage"]: r.numbers for r in self.done("cost")}.get(system.stage)
        if counted is None:
            objective = self.config(system).objective.build(self.folder)
            trained = sum(p.numel() for p in objective.trained().values())
            counted = {"flops": flops_per_item(objective), "trained": trained}
        ours = counted["flops"] if system == OURS else self.cost(OURS).numbers["flops"]
        size = self.budget.batch_size
        steps = steps_within(self.budget.steps * size * ours * system.share, counted["flops"], size)
        self.note("cost", {**counted, "steps": steps}, {"system": system.name, "stage": system.stage})
        return self.cost(system)

    def rate(self, system: System, stop: Clock) -> float | None:
        """Of three (`chosen`); the recipe's where there is no choice, None when the time is over."""
        rates = RATES.get(system.stage, ())
        if not rates:
            return self.config(system).loop.learning_rate
        tried = {float(r.settings["rate"]): r.numbers["loss"] for r in self.tried(system.stage)}
        full = next(each for each in SYSTEMS if each.stage == system.stage)
        steps = max(2, round(self.cost(full).numbers["steps"] * self.budget.trial_share))
        for rate in rates:
            if rate in tried:
                continue
            name = f"trial_{system.stage}_{rate:g}"
            if not self.learn(full, name, steps, rate, stop, share=self.budget.trial_share):
                return None
            tried[rate] = late_loss(self.folder / name / METRICS)
            self.note("rate", {"loss": tried[rate]}, {"stage": system.stage, "rate": rate, "of_steps": steps})
            shutil.rmtree(self.folder / name)
        return chosen(tried)

    def tried(self, stage: str) -> list[Record]:
        return [r for r in self.done("rate") if r.settings["stage"] == stage]

    def learn(
        self, system: System, name: str, steps: int, rate: float, stop: Clock, *, share: float = 1.0
    ) -> bool:
        """Train it into the folder `name`; False when it paused. ValueError with the reason if it failed.

        `share`: of a recipe's warm-up, for a run that is so much shorter.
        """
        warm_up = round(self.config(system).loop.warmup_steps * share)
        fields = {
            **self.fields(system), "steps": str(steps), "learning_rate": f"{rate:g}",
            "warmup_steps": str(warm_up), "checkpoint_every": "50", "keep_checkpoints": "1", "log_every": "1",
        }  # fmt: skip
        arguments = [f"peers/{system.stage}", "--out", str(self.folder), "--as", name]
        arguments += ["--stop-after", str(stop.minutes_left())]
        arguments += [part for field, value in fields.items() for part in (f"--{field}", value)]
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = train(arguments)
        if status not in (0, 3):
            raise ValueError(f"{name}: training ended with {status}: {said.getvalue()[-500:]}")
        return status == 0

    def trained(self, system: System, stop: Clock) -> Path | None:
        """The system's exported folder, trained if it is not there; None when the time is over."""
        export = self.folder / system.name / "export"
        if export.exists():
            return export
        rate = self.rate(system, stop)
        if rate is None:
            return None
        steps = round(self.cost(system).numbers["steps"])
        done = self.learn(system, system.name, steps, rate, stop, share=system.share)
        return export if done else None

    # --- measuring ----------------------------------------------------------------------------------------

    @cached_property
    def material(self) -> scenes.Material:
        """Scenes of the base's own size that nothing was trained on."""
        pipe = base_pipeline(self.folder, self.base)
        rendered = partial(scene_set, size_px=base_size(pipe.unet, pipe.vae).own_px)
        return scenes.Material(
            test=rendered("standard", self.budget.num),
            validation=rendered("validation", min(32, self.budget.num)),
            training=self.data / "scenes",
        )

    @cached_property
    def reader(self) -> Reader:
        """The judge, see `load_judge`: what ships with mini, the base's own adapters, or a folder's."""
        own = self.pipe()
        if self.judge == BASE:
            for name, folder in saved_adapters(base_place(self.folder, self.base)).items():
                own.load_adapter(folder, name)
        return load_judge(self.judge, own, self.budget.judge_steps, batch_size=20)

    def pipe(self) -> UniConPipeline:
        """The base, without adapters, in the fastest number format here."""
        pipe = base_pipeline(self.folder, self.base)
        device = pick_device("auto")
        pipe.to(device, pick_dtype(device))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def sampled(self, system: System, export: Path) -> tuple[Reader, Drawer]:
        """The trained system as what reads maps and what draws pictures."""
        pipe, steps, size = self.pipe(), self.budget.drawing_steps, 20
        if system.stage == "joint":
            pipe.load_adapter(export, self.condition)
            return PipelineReader(pipe=pipe, steps=steps, batch_size=size), Painter(
                pipe=pipe, steps=steps, batch_size=size
            )
        if system.stage == "tied":
            peer = Joint(pipe.unet, export, holds=False)
            trigger = peer.config.trigger
        else:
            peer, card = load_peer(export, pipe.unet)
            trigger = card.trigger
        sampler = PeerSampler(
            pipe=pipe, peer=peer, condition=self.condition, trigger=trigger, steps=steps, batch_size=size,
            name=system.title,
        )  # fmt: skip
        return sampler, sampler

    def measured(self, job: Job, export: Path) -> list[Outcome]:
        """Its own row first, then that of another scene's, then what no system reaches."""
        seeds = range(self.budget.seeds)
        reader, drawer = self.sampled(job.system, export)
        kept = Kept(reader=reader, drawer=drawer, folder=self.drawings(job))
        if job.direction == "estimate":
            return scenes.estimation([kept], self.condition, self.material, seeds)
        measure = scenes.generation if job.direction == "generate" else scenes.joint
        return measure(kept, self.reader, self.condition, self.material, seeds)

    def note_scenes(self, job: Job) -> None:
        """Its number on every scene, mean over the seeds of sampling: what differences are told from."""
        key = NUMBER[self.condition][0]
        each = [self.on_scenes(job, record) for record in own_scores(self, job)]
        rows = np.mean([[float(score[key]) for score in scores] for scores in each], axis=0)
        numbers = dict(zip(map(str, self.material.test.seeds.tolist()), rows.tolist(), strict=True))
        self.note("scenes", numbers, {"system": job.system.name, "direction": job.direction})

    def on_scenes(self, job: Job, record: Record) -> list[dict[str, float]]:
        """One run's score of each scene, from what was kept of it."""
        test, seed = self.material.test, int(record.settings["seed"])
        threshold = float(record.numbers.get("threshold", 0.5))
        if job.direction == "estimate":
            with np.load(self.drawings(job) / f"read_{test.seeds[0]}_{seed}.npz") as made:
                maps, drawn = made["map"], None
        else:
            with np.load(self.drawings(job) / f"drawn_{seed}.npz") as made:
                pictures, drawn = made["image"], made.get("map")
            maps = self.reader.read(pictures, self.condition, test.seeds.tolist(), seed).maps
        found = []
        for number in range(len(test)):
            one = slice(number, number + 1)
            if drawn is None:
                found.append(score(self.condition, maps[one], test.take([number]), threshold))
            else:  # laid over the range of all scenes, as in the protocol
                found.append(agreement(self.condition, maps[one], drawn[one], test, threshold))
        return [asdict(each) for each in found]

    def per_scene(self, job: Job) -> dict[str, float | int]:
        """What `note_scenes` noted last; empty where it did not."""
        found = [record for record in self.done("scenes") if _is_of(record, job)]
        return found[-1].numbers if found else {}

    def heeded(self, pictures: np.ndarray) -> dict[str, float]:
        """How well pictures (n, S, S, 3) of the test scenes heed their captions, by mini's CLIP."""
        texts = self.material.test.captions
        names = tuple(str(seed) for seed in self.material.test.seeds)
        seen = self.clip.pictures(Pictures(names, lambda n: Image.fromarray(pictures[n])))
        found = text_score(seen.values, self.clip.of_texts(texts).values, texts)
        assert isinstance(found.mean, Interval)
        assert found.own_first is not None
        return {"cosine": found.mean.mean, "own_first": found.own_first}

    def note_heeded(self, job: Job) -> None:
        """Of all that was drawn in a job, and once of the scenes' own pictures."""
        if not self.done("text"):
            about = {"system": SCENES, "direction": "", "seed": 0}
            self.note("text", self.heeded(self.material.test.images), about)
        for seed in range(self.budget.seeds):
            with np.load(self.drawings(job) / f"drawn_{seed}.npz") as made:
                numbers = self.heeded(made["image"])
            about = {"system": job.system.name, "direction": job.direction, "seed": seed}
            self.note("text", numbers, about)

    @cached_property
    def clip(self) -> Clip:
        return Clip()

    def drawings(self, job: Job) -> Path:
        """The folder of what it drew for these scenes."""
        settings = f"{self.budget.num}_scenes_{self.budget.drawing_steps}_steps"
        return self.folder / "drawn" / settings / f"{job.system.name}_{job.direction}"

    # --- records ------------------------------------------------------------------------------------------

    def note(self, name: str, numbers: Mapping[str, float], settings: Mapping[str, object]) -> None:
        about = {"condition": self.condition, "base": self.base, "judge": self.judge, **asdict(self.budget)}
        append(
            self.folder / RESULTS,
            Record(name=name, numbers=dict(numbers), settings={**about, **settings}),  # pyright: ignore[reportArgumentType]
        )

    def done(self, name: str) -> list[Record]:
        """Results of this budget, and of this judge where one was needed."""
        path = self.folder / RESULTS
        found = read(path) if path.exists() else []
        wanted = {"judge": self.judge, **asdict(self.budget)}
        wanted = {k: v for k, v in wanted.items() if k in SETTINGS[name]}
        return [r for r in found if r.name == name and all(r.settings.get(k) == v for k, v in wanted.items())]

    def is_done(self, job: Job) -> bool:
        return any(_is_of(record, job) for record in self.done("time"))

    def scores(self, job: Job) -> list[Record]:
        """One record per prediction and seed, the system's own first; the newest where there are several."""
        found = [record for record in self.done("score") if _is_of(record, job)]
        return list({(r.settings["prediction"], r.settings["seed"]): r for r in found}.values())


def _is_of(record: Record, job: Job) -> bool:
    return (record.settings["system"], record.settings["direction"]) == (job.system.name, job.direction)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A reader and drawer whose results are kept in a folder, and taken from there the next time."""

    reader: Reader
    drawer: Drawer
    folder: Path

    @property
    def name(self) -> str:
        return self.reader.name

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        def made() -> dict[str, np.ndarray]:
            return {"map": self.reader.read(pictures, condition, keys, seed).maps}

        return Readings(maps=self._kept(f"read_{keys[0]}_{seed}", made)["map"])

    def generate(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        def made() -> dict[str, np.ndarray]:
            return {"image": self.drawer.generate(scenes, condition, seed).pictures}

        return Drawings(pictures=self._kept(f"drawn_{seed}", made)["image"])

    def joint(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        def made() -> dict[str, np.ndarray]:
            drawn = self.drawer.joint(scenes, condition, seed)
            assert drawn.maps is not None
            return {"image": drawn.pictures, "map": drawn.maps}

        kept = self._kept(f"drawn_{seed}", made)
        return Drawings(pictures=kept["image"], maps=kept["map"])

    def _kept(self, name: str, made: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        path = self.folder / f"{name}.npz"
        if not path.exists():
            write_arrays(path, made(), compressed=True)
        with np.load(path) as stored:
            return dict(stored)


class Clock:
    """How much of the time is left."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds

    def minutes_left(self) -> float:
        return max(0.0, (self.end - time.monotonic()) / 60)


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


def run(place: Place, todo: Sequence[Job], seconds: float = math.inf) -> int:
    """Train and measure what is not done yet; how many jobs are left when the time is over."""
    clock, left = Clock(seconds), [job for job in todo if not place.is_done(job)]
    for job in todo:
        if place.is_done(job) and not place.per_scene(job):
            place.note_scenes(job)
    for number, job in enumerate(left):
        if clock.minutes_left() == 0:
            return len(left) - number
        begun = time.monotonic()
        export = place.trained(job.system, clock)
        if export is None:
            return len(left) - number
        trained = time.monotonic()
        for outcome in place.measured(job, export):
            for seed, found in enumerate(outcome.scores):
                numbers = {k: v for k, v in asdict(found).items() if v is not None}
                about = {"system": job.system.name, "direction": job.direction, "seed": seed}
                place.note("score", numbers, {**about, "prediction": outcome.prediction})
        place.note_scenes(job)
        if job.direction != "estimate":
            place.note_heeded(job)
        seconds_of = {"trained": trained - begun, "measured": time.monotonic() - trained}
        place.note("time", seconds_of, {"system": job.system.name, "direction": job.direction})
        name, key = f"{job.system.title}, {TITLES[job.direction]}", NUMBER[place.condition][0]
        own = over_seeds([float(r.numbers[key]) for r in own_scores(place, job)])
        print(
            f"{name}: {key} {own}; {seconds_of['trained']:.0f} s to train, {seconds_of['measured']:.0f} s to "
            f"measure; {len(left) - number - 1} left",
            file=sys.stderr,
            flush=True,
        )
    return 0


# --- tables -----------------------------------------------------------------------------------------------


def own_scores(place: Place, job: Job) -> list[Record]:
    """The system's own rows, not those of references."""
    return next(iter(by_prediction(place, job).values()), [])


def by_prediction(place: Place, job: Job) -> dict[str, list[Record]]:
    """A job's rows: its own, then those against another scene, then references."""
    found: dict[str, list[Record]] = {}
    for record in place.scores(job):
        found.setdefault(str(record.settings["prediction"]), []).append(record)
    return found


def summary(place: Place, job: Job) -> Summary | None:
    """Over the seeds of sampling; None where it was not measured."""
    found = own_scores(place, job)
    return _over(place, found) if found else None


def _over(place: Place, records: Sequence[Record]) -> Summary:
    return over_seeds([float(r.numbers[NUMBER[place.condition][0]]) for r in records])


def table(place: Place) -> str:
    """Markdown: every system in every direction, what it cost, and what stands beside it."""
    heading, titles = NUMBER[place.condition][1], " | ".join(TITLES[d] for d in DIRECTIONS)
    lines = [
        f"| {heading} / another scene's | trained | GFLOP per item | steps | {titles} |",
        "|---|--:|--:|--:|---|---|---|",
    ]
    costs = {r.settings["system"]: r.numbers for r in place.done("cost")}
    for system in SYSTEMS:
        cells = [_cell(place, system, direction) for direction in DIRECTIONS]
        if system.name in costs and any(cell != "-" for cell in cells):
            cost = costs[system.name]
            about = f"{cost['trained'] / 1e6:.2f}M | {cost['flops'] / 1e9:.2f} | {cost['steps']:.0f}"
            lines.append(f"| {system.title} | {about} | {' | '.join(cells)} |")
    return "\n".join([*lines, *_references(place)]) + "\n"


def _cell(place: Place, system: System, direction: Direction) -> str:
    """Its number, and what it is against another scene's."""
    found = list(by_prediction(place, Job(system=system, direction=direction)).values())
    if not found:
        return "-"
    text = f"{_over(place, found[0])} / {_over(place, found[1]).mean:.3f}"
    return text if direction in system.own else f"({text})"


def _references(place: Place) -> Iterator[str]:
    """Where the ruler ends, and a map that looks at no picture. Both are the same for all systems."""
    rows: dict[str, dict[Direction, Summary]] = {}
    for direction in DIRECTIONS:
        found = by_prediction(place, Job(system=OURS, direction=direction))
        for kind in list(found)[2:]:
            title = kind if kind.startswith("mean") else "the true picture or map"
            rows.setdefault(title, {})[direction] = _over(place, found[kind])
    for title, cells in rows.items():
        yield f"| {title} | | | | {' | '.join(str(cells.get(d, '-')) for d in DIRECTIONS)} |"


def claims(place: Place) -> str:
    """Markdown: our one adapter beside each specialist, with all and with a third of the compute."""
    lines = [
        "| direction | one adapter (ours) | specialist | at equal compute | with a third each |",
        "|---|---|---|---|---|",
    ]
    for full, third in [*zip(SPECIALISTS, THIRDS, strict=True), (TIED, None)]:
        direction = full.own[0]
        mine, *others = (Job(system=s, direction=direction) for s in (OURS, full, third) if s is not None)
        if (ours := summary(place, mine)) is not None:
            told = [*(_against(place, mine, other) for other in others), "-"][:2]
            lines.append(f"| {TITLES[direction]} | {ours} | {full.title} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def _against(place: Place, mine: Job, other: Job) -> str:
    """The other's number, by how much ours is better on the same scenes, and whether that says anything.

    With a 95% bootstrap interval over scenes; one that holds 0 tells no difference.
    """
    found, ours, theirs = summary(place, other), place.per_scene(mine), place.per_scene(other)
    if found is None or not ours or not theirs:
        return "-"
    sign = 1 if place.condition == "edge" else -1
    better = bootstrap_interval([sign * (float(ours[scene]) - float(theirs[scene])) for scene in ours])
    verdict = "ours ahead" if better.low > 0 else "ours behind" if better.high < 0 else "no difference"
    return f"{found}: {verdict}, by {better}"


def captions_table(place: Place) -> str:
    """Markdown: how often a picture's own caption is the nearest of all, where pictures are drawn."""
    drawn: tuple[Direction, ...] = ("generate", "joint")
    lines = [f"| own caption nearest | {' | '.join(TITLES[d] for d in drawn)} |", "|---|---|---|"]
    shares: dict[tuple[str, str], dict[int, float]] = {}
    for r in place.done("text"):
        key = (str(r.settings["system"]), str(r.settings["direction"]))
        shares.setdefault(key, {})[int(r.settings["seed"])] = float(r.numbers["own_first"])
    found = {key: str(over_seeds(list(each.values()))) for key, each in shares.items()}
    for system in SYSTEMS:
        cells = [found.get((system.name, d), "-") for d in drawn]
        told = [c if c == "-" or d in system.own else f"({c})" for c, d in zip(cells, drawn, strict=True)]
        if cells != ["-", "-"]:
            lines.append(f"| {system.title} | {' | '.join(told)} |")
    if (SCENES, "") in found:
        lines.append(f"| {SCENES} | {found[SCENES, '']} | |")
    return "\n".join(lines) + "\n"


def sheet(place: Place) -> Image.Image:
    """The same scenes, one row per system and direction; empty cells where nothing is drawn yet."""
    few: SceneSet = place.material.test.take(range(min(SHOWN, len(place.material.test))))
    rows = [[picture(image) for image in few.images], [picture(m) for m in few.maps(place.condition)]]
    labels = ["scene", "its map"]
    for direction in DIRECTIONS:
        for system in SYSTEMS:
            name = f"read_{few.seeds[0]}_0" if direction == "estimate" else "drawn_0"
            path = place.drawings(Job(system=system, direction=direction)) / f"{name}.npz"
            if not path.exists():
                continue
            with np.load(path) as made:
                for kind in made:
                    rows.append([picture(each) for each in made[kind][: len(few)]])
                    labels.append(f"{TITLES[direction]}:\n{system.title}\n{kind}")
    numbers = [str(seed) for seed in few.seeds]
    return contact_sheet(rows, row_labels=labels, column_labels=numbers, cell_px=128)


def write_tables(place: Place) -> Iterator[Path]:
    """Raises ValueError where nothing of this budget was measured."""
    if not place.done("score"):
        raise ValueError(f"{place.folder}: holds no results of this budget; run the comparison first")
    target = place.folder / "table.md"
    target.write_text(f"{table(place)}\n{claims(place)}\n{captions_table(place)}")
    yield target
    sheet(place).save(place.folder / "sheet.png")
    yield place.folder / "sheet.png"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"))
    parser.add_argument("--data", type=Path, default=Path("runs/peers"), help="with scenes/ and latents/")
    parser.add_argument("--base", default="mini", help="mini, or a base's folder")
    parser.add_argument("--condition", choices=list(NUMBER), default="depth")
    parser.add_argument("--judge", default="mini", help="who reads maps: mini, base, or a folder")
    parser.add_argument("--directions", default=",".join(DIRECTIONS), help="all of them by default")
    parser.add_argument("--num-scenes", type=int, default=8192, help="that are trained on")
    parser.add_argument("--stop-after", type=float, default=math.inf, metavar="MINUTES")
    parser.add_argument("--tables", action="store_true", help="of what is there; nothing is trained")
    for option, text in BUDGET.items():
        value = getattr(Budget(), option[2:].replace("-", "_"))
        parser.add_argument(option, type=type(value), default=value, help=f"{text} (default {value})")
    args = parser.parse_args(argv)
    budget = Budget(**{name: getattr(args, name) for name in asdict(Budget())})
    base = args.base if args.base == MINI else str(Path(args.base).resolve())
    place = Place(
        out=args.out, data=args.data, base=base, condition=args.condition, judge=args.judge,
        budget=budget, num_scenes=args.num_scenes,
    )  # fmt: skip
    directions = args.directions.split(",")
    if unknown := [name for name in directions if name not in DIRECTIONS]:
        parser.error(f"--directions: {unknown[0]!r} is none of {', '.join(DIRECTIONS)}")
    todo = [job for job in jobs() if job.direction in directions]
    if args.tables:
        left = sum(not place.is_done(job) for job in todo)
    else:
        left = run(place, todo, args.stop_after * 60)
    if args.tables or place.done("score"):  # stopped early, there is nothing to tell yet
        print(*write_tables(place), sep="\n")
    print(f"{left} measurements left; run the same command again" if left else "all of it is there")
    return 3 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
