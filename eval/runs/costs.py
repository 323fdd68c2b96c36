"""What has a run cost, part by part, over all of its attempts?

`costs.json` in the run's folder holds wall-clock seconds and numbers of pictures of the first process. What
is found there from an earlier attempt costs nothing again. A part that is stopped counts up to there; one
that is killed does not count.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from eval.runs.store import write_text

COSTS = "costs.json"


@dataclass(kw_only=True, slots=True)
class Cost:
    """Of one part."""

    seconds: float = 0.0
    num: int = 0
    """Pictures that were made or read; 0 where they are not counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """Of a run."""

    folder: Path
    is_first: bool = True
    """Of several processes; the others write nothing."""
    parts: dict[str, Cost] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, *, is_first: bool = True) -> Costs:
        """With what earlier attempts have cost; ValueError for a file that is damaged."""
        path = folder / COSTS
        if not path.is_file():
            return cls(folder=folder, is_first=is_first)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            parts = {name: Cost(**each) for name, each in stored.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: is damaged ({error}); remove it, and costs begin anew") from error
        return cls(folder=folder, is_first=is_first, parts=parts)

    @contextmanager
    def part(self, name: str) -> Iterator[Cost]:
        """Adds the time that the block takes; the block may count its pictures in what it is given."""
        cost, began = self.parts.setdefault(name, Cost()), time.monotonic()
        try:
            yield cost
        finally:
            cost.seconds = round(cost.seconds + time.monotonic() - began, 3)
            if self.is_first:
                write_text(self.folder / COSTS, json.dumps(self.as_json(), indent=2) + "\n")

    def as_json(self) -> dict[str, dict[str, float | int]]:
        """By part."""
        return {name: asdict(cost) for name, cost in self.parts.items()}
