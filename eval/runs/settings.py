"""What determines the pictures of a run, so that a changed setting never meets old ones?

Every picture lies below a key: a digest of the weights that made it and of all settings that change a value.
Device, batch and number of processes are not among them; what is given of each item is in its own file name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval.digests import digest, digest_of_base, digests_of_adapters
from eval.protocols.readers import digest_of_reader
from eval.runs.items import Direction, Task
from unicon import __version__
from unicon.conditions.ensembles import TOGETHER

if TYPE_CHECKING:
    from unicon.pipeline import UniConPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSettings:
    """What a run was asked for, beside its data."""

    base: str
    adapters: tuple[str, ...]
    """[NAME=]FOLDER, loaded beside those of the base."""
    conditions: tuple[str, ...]
    directions: tuple[Direction, ...]
    num_seeds: int
    steps: int
    ensemble: int
    """Estimates combined to one map."""
    temperature: float
    """Of estimates."""
    work_px: int | tuple[int, ...] | None
    """Longer side that pictures are worked on at where the base reads maps of them; None: the base's own;
    several: an ensemble over them."""
    mirrored: bool
    """Whether it also reads mirror images there: twice the members."""
    guidance: float
    """Of the text, where pictures are generated."""
    judge: str | None
    """What reads maps from generated pictures (`eval.protocols.readers`); None: the base itself."""
    regressor: str | None
    """Reads maps beside the adapters; as the judge."""
    features: str | None
    """Whose features generated pictures are compared in; None: not compared."""
    dtype: str

    @property
    def num_members(self) -> int:
        """Estimates behind each map of the adapter: of every size, of the picture and of its mirror image."""
        sizes = len(self.work_px) if isinstance(self.work_px, tuple) else 1
        return self.ensemble * sizes * (2 if self.mirrored else 1)

    @property
    def seeds(self) -> range:
        return range(self.num_seeds)

    @property
    def tasks(self) -> list[Task]:
        """Every direction of every condition."""
        return [Task(condition=c, direction=d) for c in self.conditions for d in self.directions]


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Digests, 16 hex digits each, of what is loaded."""

    base: str
    """UNet, VAE, encoders, priors, schedule and styles."""
    adapters: dict[str, str]
    judge: str | None
    regressor: str | None

    @classmethod
    def of(cls, pipe: UniConPipeline, settings: RunSettings) -> Weights:
        """Of everything as it is in memory: wherever it came from, the same weights are the same."""
        return cls(
            base=digest_of_base(pipe),
            adapters=digests_of_adapters(pipe),
            judge=digest_of_reader(settings.judge),
            regressor=digest_of_reader(settings.regressor),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """Names of folders of pictures."""

    settings: RunSettings
    weights: Weights

    def reader(self, condition: str, by: str) -> str:
        """Of maps that `by` ("adapter", "judge", "regressor") reads from pictures."""
        if by == "judge" and self.settings.judge is not None:
            # A judge that is a regressor sees through this base's VAE.
            return _key(
                by=self.weights.judge, vae=self.weights.base, condition=condition, steps=self.settings.steps,
                dtype=self.settings.dtype,
            )  # fmt: skip
        if by == "regressor":
            return _key(
                by=self.weights.regressor, vae=self.weights.base, condition=condition,
                steps=self.settings.steps, dtype=self.settings.dtype,
            )  # fmt: skip
        own = by == "adapter"
        ensemble, temperature = (self.settings.ensemble, self.settings.temperature) if own else (1, 1.0)
        views = {} if self.settings.work_px is None else {"work_px": self.settings.work_px}
        views |= {"mirrored": True} if self.settings.mirrored else {}
        if ensemble > 1 or views:
            views = {**views, "together": TOGETHER.get(condition, "median")}
        return _key(
            by=self.weights.base, adapter=self.weights.adapters[condition], condition=condition,
            steps=self.settings.steps, ensemble=ensemble, temperature=temperature, dtype=self.settings.dtype,
            **views,
        )  # fmt: skip

    def drawing(self, task: Task) -> str:
        """Of generated pictures."""
        return _key(
            by=self.weights.base, adapter=self.weights.adapters[task.condition], condition=task.condition,
            direction=task.direction, steps=self.settings.steps, guidance=self.settings.guidance,
            dtype=self.settings.dtype,
        )  # fmt: skip


def _key(**settings: Any) -> str:
    text = json.dumps({"version": __version__, **settings}, sort_keys=True)
    return digest(text, num_bytes=4)
