"""Which encoded pairs does the joint objective see?

Scenes in latent shards here; a user's own pairs in `train.pairs`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from train.latents import TRIGGERS
from train.objectives.base import Draws
from train.shards import open_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """Pairs as the network takes them; the first dimension is the branch, image and condition."""

    latents: Tensor
    """Clean latents (2, n, C, h, w); anything where a branch is not there."""
    texts: Tensor
    """Embeddings of the caption, the condition's behind its trigger words, (2, n, tokens, width)."""
    bare: Tensor
    """What is left when a caption is dropped: nothing, and the trigger words alone, (2, tokens, width)."""
    present: Tensor
    """Whether the branch is there, bool (2, n)."""


class Examples(abc.ABC):
    """Encoded pairs by number."""

    groups: np.ndarray | None = None
    """Which pairs share a size of latents, int (num_items,); None where all do."""

    @abc.abstractmethod
    def __len__(self) -> int: ...

    @abc.abstractmethod
    def latent_shape(self, item: int) -> tuple[int, ...]:
        """(C, h, w) of a pair's latents."""

    @abc.abstractmethod
    def draw(self, generator: torch.Generator, num: int) -> Draws:
        """What is random in reading `num` pairs."""

    @abc.abstractmethod
    def read(self, items: np.ndarray, draws: Draws) -> Encoded:
        """Pairs of one size, float32, on the CPU."""


class SceneExamples(Examples):
    """Latent shards of the mini family. Poses are read mostly where a scene shows a figure."""

    def __init__(self, folder: Path, maps: str, num_scenes: int):
        self.maps = maps
        self.scenes = open_shards(folder, num_scenes)
        kinds = [list(TRIGGERS).index(name) for name in ("image", maps)]
        self.bare = torch.from_numpy(np.load(folder / "empty_text.npy")[kinds]).float()

    def __len__(self) -> int:
        return len(self.scenes)

    def latent_shape(self, item: int) -> tuple[int, ...]:
        return self.scenes.arrays["image"][0].shape[1:]

    def draw(self, generator: torch.Generator, num: int) -> Draws:
        return Draws(posed=torch.rand(num, generator=generator))

    def rows(self, items: np.ndarray, draws: Draws) -> np.ndarray:
        """Which scenes are read for these items."""
        rows = np.asarray(items)
        return self.scenes.mostly_posed(rows, draws["posed"].numpy()) if self.maps == "pose" else rows

    def read(self, items: np.ndarray, draws: Draws) -> Encoded:
        rows = self.rows(items, draws)
        return Encoded(
            latents=self._stacked(rows, ""),
            texts=self._stacked(rows, "_text"),
            bare=self.bare,
            present=torch.ones(2, len(rows), dtype=torch.bool),
        )

    def _stacked(self, rows: np.ndarray, kind: str) -> Tensor:
        both = [self.scenes.gather(f"{name}{kind}", rows) for name in ("image", self.maps)]
        return torch.from_numpy(np.stack(both)).float()
