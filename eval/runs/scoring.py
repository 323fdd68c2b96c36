"""What is measured in each task, and beside which references?

| direction | the model's map | beside it |
|---|---|---|
| estimate | estimated from the item's | another picture's map; a mean map; another method; the exact map |
| generate | read back from the generated picture | another's; a reading of the item's own picture |
| joint | read back, against the map generated with it | halves of different samples; true pairs |

"Another" is the shuffled control: what a run with a wrong picture would score. The last reference is where
the ruler itself ends.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from eval import features, metrics
from eval.digests import digest, source_digest
from eval.runs import measures as measures_package
from eval.runs import members, truth
from eval.runs.items import Item, Sample, Task
from eval.runs.measures.kinds import as_json
from eval.runs.measures.measure import Calibrates, Measure, Redraws
from eval.runs.members import read_members
from eval.runs.roll import Roll
from eval.runs.scores import ANOTHER_MAP, ANOTHER_PICTURE, DIFFERENT_HALVES, SHUFFLED, Row
from eval.runs.store import FactsFile, Store, read_picture
from eval.runs.truth import DEPTH_RANGE, truth_of_map
from unicon import conditions
from unicon.processes import Share


@dataclass(frozen=True, kw_only=True, slots=True)
class Benchmark:
    """What a suite measures on, and how."""

    items: Sequence[Item]
    measures: Mapping[str, tuple[Measure, ...]]
    """By condition; the first one's first number orders the pictures."""
    spread: Mapping[str, tuple[Measure, ...]] = field(default_factory=dict)
    """By condition, what the members of ensembles are measured by, where estimates are ensembles."""
    validation: Sequence[Item] = ()
    """Where measures choose their settings; empty: they keep their own."""
    mean_map: Callable[[str, Measure], np.ndarray] | None = None
    """(H, W, 3) in [0, 1] of a condition, as the measure reads maps: the guess of who never looks."""
    mean_map_name: str = "mean map"
    methods: Mapping[str, Callable[[np.ndarray], np.ndarray]] = field(default_factory=dict)
    """Other methods by name, estimates of the first condition: pictures (H, W, 3) uint8 to maps in [0, 1]."""
    depth_range: tuple[float, float] = DEPTH_RANGE
    """What a generated depth map, which has no unit, is laid over."""
    facts: Mapping[str, str | int] = field(default_factory=dict)
    """What else one must know to compare: the split, the source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """One row of a table before it is measured."""

    name: str
    seeds: Sequence[int]
    by: str | None
    """Whose maps of validation items measures choose their settings by; None: nobody's."""
    places: Sequence[int]
    sample: Callable[[int, int], Sample]
    """Of a place and a seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scorer:
    """Facts of all predictions, each found once."""

    store: Store
    benchmark: Benchmark
    roll: Roll
    validation: Roll
    share: Share
    has_regressor: bool
    spread: Mapping[str, tuple[Measure, ...]]
    """The benchmark's where members were kept."""
    _calibrations: dict[tuple[Measure, str, str], Measure] = field(default_factory=dict, init=False)
    """Measures that were calibrated, by themselves, the condition, and whose maps they chose by."""

    def rows(self, task: Task, seeds: Sequence[int]) -> list[Row]:
        """All predictions of a task by all measures, the model first. In one of several processes: its part
        is found, and all wait for each other."""
        found, measures = [], self.benchmark.measures[task.condition]
        for same in zip(*(self.predictions(task, seeds, measure) for measure in measures), strict=True):
            for prediction, measure in zip(same, measures, strict=True):
                found.append(
                    self._row(task, prediction, self._calibrated(measure, task.condition, prediction))
                )
        if task.direction == "estimate":
            found += [
                self._row(task, self._of_members(task.condition, seeds), measure)
                for measure in self.spread.get(task.condition, ())
            ]
        return found

    def predictions(self, task: Task, seeds: Sequence[int], measure: Measure) -> list[Prediction]:
        """See the table above; maps that no model made are drawn as the measure reads them."""
        places = self.roll.places(task)
        another = self.roll.another(places)
        if task.direction == "estimate":
            return self._of_estimates(task, seeds, places, another, measure)
        find = {"generate": self._of_pictures, "joint": self._of_pairs}
        return find[task.direction](task, seeds, places, another)

    # --- what is compared with what -----------------------------------------------------------------------

    def _of_estimates(
        self,
        task: Task,
        seeds: Sequence[int],
        places: list[int],
        another: dict[int, int],
        measure: Measure,
    ) -> list[Prediction]:
        condition = task.condition

        def own(by: str) -> Callable[[int, int], Sample]:
            return lambda n, seed: self._sample(n, condition, self._estimate(condition, by, seed, n))

        def shuffled(place: int, seed: int) -> Sample:
            return self._sample(place, condition, self._estimate(condition, "adapter", seed, another[place]))

        first = seeds[:1]
        found = [Prediction(name="adapter", seeds=seeds, by="adapter", places=places, sample=own("adapter"))]
        if self.has_regressor:
            found.append(
                Prediction(
                    name="regressor", seeds=first, by="regressor", places=places, sample=own("regressor")
                )
            )
        found.append(
            Prediction(
                name=ANOTHER_PICTURE,
                seeds=first,
                by="adapter",
                places=sorted(another),
                sample=shuffled,
            )  # fmt: skip
        )
        if self.benchmark.mean_map is not None:
            found.append(self._mean(condition, self.benchmark.mean_map(condition, measure), places))
        if condition == next(iter(self.benchmark.measures)):
            found += [self._method(condition, name, places) for name in self.benchmark.methods]
        exact = [n for n in places if condition in self.roll.entries[n].conditions]
        found.append(
            Prediction(
                name="the exact map",
                seeds=first,
                by=None,
                places=exact,
                sample=lambda n, _: self._exact(n, condition, measure),
            )  # fmt: skip
        )
        return [prediction for prediction in found if prediction.places]

    def _exact(self, place: int, condition: str, measure: Measure) -> Sample:
        item = self.roll.load(place)
        redraws = isinstance(measure, Redraws)
        drawn = measure.redrawn(item.truth[condition]) if redraws else None
        return self._sample(place, condition, item.maps[condition] if drawn is None else drawn)

    def _of_members(self, condition: str, seeds: Sequence[int]) -> Prediction:
        def sample(place: int, seed: int) -> Sample:
            values = self._estimate(condition, "adapter", seed, place)
            members = read_members(self.store.members(condition, seed, self.roll.entries[place].stem))
            return replace(self._sample(place, condition, values), members=members)

        places = self.roll.places(Task(condition=condition, direction="estimate"))
        return Prediction(name="adapter", seeds=seeds, by="adapter", places=places, sample=sample)

    def _mean(self, condition: str, mean: np.ndarray, places: list[int]) -> Prediction:
        return Prediction(
            name=self.benchmark.mean_map_name, seeds=[0], by="mean", places=places,
            sample=lambda n, _: self._sample(n, condition, mean),
        )  # fmt: skip

    def _method(self, condition: str, name: str, places: list[int]) -> Prediction:
        method = self.benchmark.methods[name]
        return Prediction(
            name=name, seeds=[0], by=None, places=places,
            sample=lambda n, _: self._sample(n, condition, method(self.roll.load(n).image)),
        )  # fmt: skip

    def _of_pictures(
        self, task: Task, seeds: Sequence[int], places: list[int], another: dict[int, int]
    ) -> list[Prediction]:
        def own(place: int, seed: int) -> Sample:
            return self._sample(place, task.condition, self._read_back(task, seed, place))

        def shuffled(place: int, seed: int) -> Sample:
            return self._sample(place, task.condition, self._read_back(task, seed, another[place]))

        def true(place: int, seed: int) -> Sample:
            return self._sample(place, task.condition, self._estimate(task.condition, "judge", seed, place))

        found = [
            Prediction(name="adapter", seeds=seeds, by="judge", places=places, sample=own),
            Prediction(
                name=ANOTHER_MAP, seeds=seeds[:1], by="judge", places=sorted(another),
                sample=shuffled,
            ),
            Prediction(
                name="the item's own picture", seeds=seeds[:1], by="judge", places=places, sample=true
            ),
        ]  # fmt: skip
        return [prediction for prediction in found if prediction.places]

    def _of_pairs(
        self, task: Task, seeds: Sequence[int], places: list[int], another: dict[int, int]
    ) -> list[Prediction]:
        condition = task.condition

        def drawn(place: int, seed: int) -> Any:
            values = read_picture(self.store.drawn_map(task, seed, self.roll.entries[place].stem))
            return truth_of_map(condition, values, self.benchmark.depth_range)

        def own(place: int, seed: int) -> Sample:
            return self._sample(place, condition, self._read_back(task, seed, place), drawn(place, seed))

        def shuffled(place: int, seed: int) -> Sample:
            read = self._read_back(task, seed, another[place])
            return self._sample(place, condition, read, drawn(place, seed))

        def true(place: int, seed: int) -> Sample:
            exact = self.roll.load(place).maps[condition]
            truth = truth_of_map(condition, exact, self.benchmark.depth_range)
            return self._sample(place, condition, self._estimate(condition, "judge", seed, place), truth)

        found = [
            Prediction(name="adapter", seeds=seeds, by="judge", places=places, sample=own),
            Prediction(
                name=DIFFERENT_HALVES, seeds=seeds[:1], by="judge", places=sorted(another),
                sample=shuffled,
            ),
            Prediction(
                name="true pairs", seeds=seeds[:1], by="judge", sample=true,
                places=[n for n in places if condition in self.roll.entries[n].conditions],
            ),
        ]  # fmt: skip
        return [prediction for prediction in found if prediction.places]

    def _sample(self, place: int, condition: str, values: np.ndarray, truth: Any = None) -> Sample:
        item = self.roll.load(place)
        return Sample(
            item=item, condition=condition, map=np.clip(values.astype(np.float32), 0, 1),
            truth=item.truth[condition] if truth is None else truth,
        )  # fmt: skip

    def _estimate(self, condition: str, by: str, seed: int, place: int) -> np.ndarray:
        return read_picture(self.store.estimate(condition, by, seed, self.roll.entries[place].stem))

    def _read_back(self, task: Task, seed: int, place: int) -> np.ndarray:
        return read_picture(self.store.read_back(task, seed, self.roll.entries[place].stem))

    # --- what is found ------------------------------------------------------------------------------------

    def _calibrated(self, measure: Measure, condition: str, prediction: Prediction) -> Measure:
        if prediction.by is None or not len(self.validation) or not isinstance(measure, Calibrates):
            return measure
        key = (measure, condition, prediction.by)
        if key not in self._calibrations:
            self._calibrations[key] = self._calibrate(measure, condition, prediction.by)
        return self._calibrations[key]

    def _calibrate(self, measure: Any, condition: str, by: str) -> Measure:
        samples = []
        for n, entry in enumerate(self.validation.entries):
            item = self.validation.load(n)
            if by == "mean":
                assert self.benchmark.mean_map is not None
                values = self.benchmark.mean_map(condition, measure)
            else:
                values = read_picture(self.store.estimate(condition, by, 0, entry.stem))
            samples.append(Sample(item=item, condition=condition, map=values, truth=item.truth[condition]))
        return measure.calibrated(samples)

    def _row(self, task: Task, prediction: Prediction, measure: Measure) -> Row:
        known = [self._facts(task, prediction, measure, seed) for seed in prediction.seeds]
        width = max((len(v) for seed in known for v in seed if v is not None), default=1)
        facts = np.full((len(known), len(prediction.places), width), np.nan)
        for place in np.ndindex(facts.shape[:2]):
            if (values := known[place[0]][place[1]]) is not None:
                facts[place] = values
        return Row(task=task, prediction=prediction.name, measure=measure, facts=facts)

    def _facts(
        self, task: Task, prediction: Prediction, measure: Measure, seed: int
    ) -> list[list[float] | None]:
        """Of every place, from the file or measured now."""
        file = FactsFile(
            self.store.folder / "facts", self._key(task, prediction, measure, seed), self.share.index
        )
        stems = self._stems(prediction)
        known = file.read()
        todo = [place for place in self.share.of(prediction.places) if stems[place] not in known]
        silent = not todo or not self.share.is_first
        title = f"measuring {task.name}, {prediction.name}"
        for place in tqdm(todo, desc=title, unit="picture", disable=silent, leave=False):
            values = measure.facts(prediction.sample(place, seed))
            file.add({stems[place]: None if values is None else values.tolist()})
        self.share.wait()
        known = file.read()
        return [known[stems[place]] for place in prediction.places]

    def _stems(self, prediction: Prediction) -> dict[int, str]:
        """By place; with the neighbour's where it is compared with: another set has another neighbour."""
        stems = {place: self.roll.entries[place].stem for place in prediction.places}
        if prediction.name not in SHUFFLED:
            return stems
        another = self.roll.another(prediction.places)
        return {n: f"{stem} {self.roll.entries[another.get(n, n)].stem}" for n, stem in stems.items()}

    def _key(self, task: Task, prediction: Prediction, measure: Measure, seed: int) -> str:
        keys, condition = self.store.keys, task.condition
        made = [keys.reader(condition, "regressor" if prediction.by == "regressor" else "adapter")]
        if task.direction == "estimate" and prediction.by in (None, "mean"):
            made = []  # by no adapter: measured once for all that a folder's runs compare
        if task.direction != "estimate":
            made = [keys.drawing(task), keys.reader(condition, "judge")]
        mean = None
        if prediction.by == "mean" and self.benchmark.mean_map is not None:
            mean = hashlib.blake2b(self.benchmark.mean_map(condition, measure).tobytes()).hexdigest()
        whole = json.dumps(
            [task.name, prediction.name, made, mean, as_json(measure), getattr(measure, "weights", ""), seed,
             self.benchmark.depth_range if task.direction == "joint" else None, metrics_fingerprint()],
            sort_keys=True,
        )  # fmt: skip
        return f"{task.name}-{digest(whole)}"


@cache
def metrics_fingerprint() -> str:
    """12 hex digits of the source of all metrics and measures, and of how they read maps: what a changed one
    found before is found again."""
    folders = [Path(next(iter(package.__path__))) for package in (metrics, measures_package, conditions)]
    files = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    return source_digest([*files, *(Path(str(module.__file__)) for module in (truth, members, features))])
