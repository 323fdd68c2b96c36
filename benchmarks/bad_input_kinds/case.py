"""What is one kind of bad input, and where does it happen?"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .files import png, put

TRAIN = ["--batch_size", "2", "--mixed_precision", "no", "--rank", "2", "--warmup_steps", "1",
         "--validate_every", "0", "--checkpoint_every", "1", "--resolution", "64"]  # fmt: skip


@dataclass(slots=True)
class Place:
    """Where a case happens."""

    folder: Path
    base: str
    started: Callable[[Path], None]
    """Puts a run of two steps into a folder."""
    patches: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def pairs(self, num: int = 3, **options: tuple[int, int]) -> Path:
        """Folders of good pairs."""
        for name, seed in (("image", 0), ("depth", 100)):
            for i in range(num):
                put(self.data / name / f"{i}.png", png(seed + i, **options))
            for i in range(num):
                put(self.data / "caption" / f"{i}.txt", b"a thing")
        return self.data

    def check(self, *more: str) -> list[str]:
        return ["check", str(self.data), "--out", str(self.out), *more]

    def train(self, *more: str, data: Path | str | None = None, steps: int = 2) -> list[str]:
        given = ["--data", str(data or self.data), "--condition", "depth", "--base", self.base]
        return ["train", "adapter", *given, *TRAIN, "--steps", str(steps), "--out", str(self.out), *more]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One kind of bad input."""

    name: str
    make: Callable[[Place], list[str]]
    """Prepares it and gives the arguments of `unicon`."""
    told: tuple[str, ...]
    """What the message must hold; the file's name among it."""
    status: int = 2
    """Of the command: 2 it was refused, 1 some pairs cannot be used, 0 it goes on."""
    runs: bool = False
    """Whether a base is loaded."""
