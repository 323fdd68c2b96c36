"""How is a trained system measured: on all scenes, on each, and by their captions?"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from eval.clip import Clip
from eval.metrics.summary import Interval
from eval.metrics.text import text_score
from eval.pictures import Pictures
from eval.protocols import scenes
from eval.protocols.map_scores import agreement, score
from eval.protocols.results import Outcome
from eval.protocols.scene_set import scene_set
from eval.records import Record
from train.assemble import base_pipeline
from unicon.bases import base_size

from .kept import Kept
from .place import SCENES, Place
from .samplers import judge, sampled
from .systems import NUMBER, Job


def measure(place: Place, job: Job, export: Path) -> None:
    """Note all numbers of the system that was exported there."""
    about = {"system": job.system.name, "direction": job.direction}
    for outcome in outcomes(place, job, export):
        for seed, found in enumerate(outcome.scores):
            numbers = {k: v for k, v in asdict(found).items() if v is not None}
            place.note("score", numbers, {**about, "seed": seed, "prediction": outcome.prediction})
    note_scenes(place, job)
    if job.direction != "estimate":
        note_captions(place, job)


@cache
def splits(place: Place) -> scenes.SceneSplits:
    """Scenes of the base's own size that nothing was trained on."""
    pipe = base_pipeline(place.folder, place.base)
    rendered = partial(scene_set, size_px=base_size(pipe.unet, pipe.vae).own_px)
    return scenes.SceneSplits(
        test=rendered("standard", place.budget.num),
        validation=rendered("validation", min(32, place.budget.num)),
        training=place.data / "scenes",
    )


def outcomes(place: Place, job: Job, export: Path) -> list[Outcome]:
    """Its own row first, then that of another scene's, then what no system reaches."""
    seeds = range(place.budget.seeds)
    reader, drawer = sampled(place, job.system, export)
    kept = Kept(reader=reader, drawer=drawer, folder=place.drawings(job))
    if job.direction == "estimate":
        return scenes.estimation([kept], place.condition, splits(place), seeds)
    protocol = scenes.generation if job.direction == "generate" else scenes.joint
    return protocol(kept, judge(place), place.condition, splits(place), seeds)


# --- on each scene ----------------------------------------------------------------------------------------


def note_scenes(place: Place, job: Job) -> None:
    """Its number on every scene, mean over the seeds of sampling: what differences are told from."""
    key = NUMBER[place.condition][0]
    each = [on_scenes(place, job, record) for record in place.own_scores(job)]
    rows = np.mean([[float(score[key]) for score in scores] for scores in each], axis=0)
    names = map(str, splits(place).test.seeds.tolist())
    numbers = dict(zip(names, rows.tolist(), strict=True))
    place.note("scenes", numbers, {"system": job.system.name, "direction": job.direction})


def on_scenes(place: Place, job: Job, record: Record) -> list[dict[str, float]]:
    """One run's score of each scene, from what was kept of it."""
    test, seed = splits(place).test, int(record.settings["seed"])
    threshold = float(record.numbers.get("threshold", 0.5))
    if job.direction == "estimate":
        with np.load(place.drawings(job) / f"read_{test.seeds[0]}_{seed}.npz") as made:
            maps, drawn = made["map"], None
    else:
        with np.load(place.drawings(job) / f"drawn_{seed}.npz") as made:
            pictures, drawn = made["image"], made.get("map")
        maps = judge(place).read(pictures, place.condition, test.seeds.tolist(), seed).maps
    found = []
    for number in range(len(test)):
        one = slice(number, number + 1)
        if drawn is None:
            found.append(score(place.condition, maps[one], test.take([number]), threshold))
        else:  # laid over the range of all scenes, as in the protocol
            found.append(agreement(place.condition, maps[one], drawn[one], test, threshold))
    return [asdict(each) for each in found]


# --- by captions ------------------------------------------------------------------------------------------


def note_captions(place: Place, job: Job) -> None:
    """Of all that was drawn in a job, and once of the scenes' own pictures."""
    if not place.done("text"):
        about = {"system": SCENES, "direction": "", "seed": 0}
        place.note("text", heeded(place, splits(place).test.images), about)
    for seed in range(place.budget.seeds):
        with np.load(place.drawings(job) / f"drawn_{seed}.npz") as made:
            numbers = heeded(place, made["image"])
        about = {"system": job.system.name, "direction": job.direction, "seed": seed}
        place.note("text", numbers, about)


def heeded(place: Place, pictures: np.ndarray) -> dict[str, float]:
    """How well pictures (n, S, S, 3) of the test scenes heed their captions, by mini's CLIP."""
    test = splits(place).test
    names = tuple(str(seed) for seed in test.seeds)
    seen = clip().pictures(Pictures(names, lambda n: Image.fromarray(pictures[n])))
    found = text_score(seen.values, clip().of_texts(test.captions).values, test.captions)
    assert isinstance(found.mean, Interval)
    assert found.own_first is not None
    return {"cosine": found.mean.mean, "own_first": found.own_first}


@cache
def clip() -> Clip:
    return Clip()
