"""What is compared on what, and where do its results lie?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from eval.digests import digest_of_folder
from eval.records import Record, append, keep_to, read

from .budget import SETTINGS, Budget
from .systems import Job

RESULTS = "results.jsonl"
FIRST_SHARD = "shard_000000"
"""Tells data apart, and stays as it is where more are rendered."""
SCENES = "the scenes' own pictures"
"""Stands in records for a system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """One comparison: its settings, its folder and its records."""

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

    def drawings(self, job: Job) -> Path:
        """The folder of what it drew for these scenes."""
        settings = f"{self.budget.num}_scenes_{self.budget.drawing_steps}_steps"
        return self.folder / "drawn" / settings / f"{job.system.name}_{job.direction}"

    def keep_to_itself(self) -> None:
        """ValueError where the folder holds what was trained on another base or other data."""
        shards = [self.data / name / FIRST_SHARD for name in ("latents", "scenes")]
        data = f"with shards {' and '.join(map(digest_of_folder, shards))}"
        keep_to(self.folder, {"base": self.base, "data": data, "num_scenes": self.num_scenes})

    def note(self, name: str, numbers: Mapping[str, float], settings: Mapping[str, object]) -> None:
        about = {"condition": self.condition, "base": self.base, "judge": self.judge, **asdict(self.budget)}
        append(
            self.folder / RESULTS,
            Record(name=name, numbers=dict(numbers), settings={**about, **settings}),  # pyright: ignore[reportArgumentType]
        )

    def done(self, name: str) -> list[Record]:
        """Results of this base and budget, and of this judge where one was needed."""
        path = self.folder / RESULTS
        found = read(path) if path.exists() else []
        wanted = {"judge": self.judge, **asdict(self.budget)}
        wanted = {"base": self.base, **{k: v for k, v in wanted.items() if k in SETTINGS[name]}}
        return [r for r in found if r.name == name and all(r.settings.get(k) == v for k, v in wanted.items())]

    def of(self, job: Job, name: str) -> list[Record]:
        """What of `done` is about one job."""
        wanted = (job.system.name, job.direction)
        return [r for r in self.done(name) if (r.settings["system"], r.settings["direction"]) == wanted]

    def is_done(self, job: Job) -> bool:
        return bool(self.of(job, "time"))

    def scores(self, job: Job) -> dict[str, list[Record]]:
        """By prediction one per seed, the newest where there are several: the system's own, then those
        against another scene, then references."""
        found: dict[str, dict[object, Record]] = {}
        for record in self.of(job, "score"):
            found.setdefault(str(record.settings["prediction"]), {})[record.settings["seed"]] = record
        return {prediction: list(by_seed.values()) for prediction, by_seed in found.items()}

    def own_scores(self, job: Job) -> list[Record]:
        """One per seed; none where it was not measured."""
        return next(iter(self.scores(job).values()), [])

    def per_scene(self, job: Job) -> dict[str, float | int]:
        """Its number on every scene, the newest; empty where it was not noted."""
        found = self.of(job, "scenes")
        return found[-1].numbers if found else {}
