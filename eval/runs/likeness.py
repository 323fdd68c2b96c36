"""How far are a run's generated pictures, as a set, from its items' own pictures?

The numbers of `unicon eval distributions` for every task that generates, with the features of both sides
kept in the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import PIL.Image

from eval import features
from eval.digests import digest, digest_of, source_digest
from eval.features import Extractor, FeatureSet, read_features
from eval.pictures import Pictures
from eval.protocols.distributions import circumstances, distances
from eval.runs.items import Task
from eval.runs.roll import Roll
from eval.runs.store import Store, read_picture

NEIGHBOURS = 3
FEWEST = 2 * (NEIGHBOURS + 1)
"""Below it there is no manifold worth the name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SetComparison:
    """One set of generated pictures beside the items' own."""

    numbers: dict[str, float]
    sets: dict[str, str | int | float | bool]
    """What one must know to compare them: both N, the features' width and whether covariances can be of full
    rank, k, KID's subsets."""


class SetComparer:
    """Features of sets of pictures, each extracted once."""

    def __init__(self, store: Store, roll: Roll, model: str, device: str):
        self.store, self.roll, self.model, self.device = store, roll, model, device

    @cached_property
    def extractor(self) -> Extractor:
        return Extractor(self.model, device=self.device)

    @property
    def source(self) -> str:
        """Whose features, for the report."""
        return self.extractor.source

    @cached_property
    def told(self) -> str:
        """All that makes features what they are: another model in the same folder has others."""
        seen = " ".join(map(repr, self.extractor.preprocessing))
        code = source_digest([Path(features.__file__)])
        return f"{self.source}, {digest_of(self.extractor.model)}, {seen}, {code}"

    def compared(self, task: Task, seed: int) -> SetComparison | None:
        """Generated against own pictures; None where there are too few."""
        places = self.roll.places(task)
        if len(places) < FEWEST:
            return None
        stems = [self.roll.entries[n].stem for n in places]
        own = self._features("own", stems, lambda n: PIL.Image.fromarray(self.roll.load(places[n]).image))
        folder = self.store.picture(task, seed, "").parent
        made = self._features(
            f"{folder.parent.name}-seed{seed}", stems,
            lambda n: PIL.Image.fromarray(read_picture(self.store.picture(task, seed, stems[n]))),
        )  # fmt: skip
        found = distances(own, made, ks=[NEIGHBOURS], seed=seed)
        numbers = {name: float(value) for name, value in found.items() if not name.startswith("num_")}
        return SetComparison(
            numbers=numbers,
            sets={
                "num_real": len(own), "num_generated": len(made), "width": own.values.shape[1],
                "k": NEIGHBOURS,
                **circumstances(own, made),
            },
        )  # fmt: skip

    def _features(
        self, name: str, stems: Sequence[str], load: Callable[[int], PIL.Image.Image]
    ) -> FeatureSet:
        known = digest(self.told, *stems, num_bytes=4)
        path: Path = self.store.folder / "features" / f"{name}-{known}.npz"
        if path.is_file():
            return read_features(path)
        found = self.extractor(Pictures(tuple(stems), load))
        found.save(path)
        return found
