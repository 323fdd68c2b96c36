"""How does the autoregressive prior learn which pictures a text could describe?

The paper's second variant (Ramesh et al. 2022, section 2.2), on the data and with the measures of the first
(`train.objectives.prior`): the cross-entropy of every component of an embedding, rounded, after those before.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from train.embeddings import EmbeddingSet
from train.objectives.base import Draws, Objective
from train.objectives.prior import captioned, look_at
from unicon.prior import save_clip
from unicon.prior_ar import (
    ArPriorSettings,
    AutoregressivePrior,
    enough_components,
    fit_buckets,
    sample_prior_ar,
)
from unicon.ranges import AT_LEAST_1, COUNT, LESS_THAN_1
from unicon.sampling.noise import NoiseSource

FIRST = 8
"""Components whose error is logged by itself: in them lies what a picture shows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArPriorConfig:
    """Geometry of the prior, and how it is learnt."""

    channels: int = 512
    """Width of the transformer."""
    layers: int = 8
    """Transformer blocks."""
    heads: int = 8
    """Heads of their attentions."""
    components: int = 0
    """Principal components of an embedding that are kept; 0: as many as keep all but `lost`."""
    lost: float = 0.01
    """Share of the variance that may be lost (as published)."""
    buckets: int = 64
    """Values of a component (published: 1024, learnt from 250M pictures)."""
    text_dropout: float = 0.1
    """Share of captions that are dropped."""
    validation_items: int = 64
    """Pictures that are held out to look at: at most a tenth of all."""

    def __post_init__(self):
        AT_LEAST_1.check_fields(self, "channels", "layers", "heads")
        if self.channels % self.heads:
            raise ValueError(f"channels is {self.channels}; it must be a multiple of heads {self.heads}")
        LESS_THAN_1.check_fields(self, "text_dropout", "lost")
        COUNT.check_fields(self, "validation_items")
        if self.components < 0 or self.buckets < 2:
            raise ValueError(
                f"components is {self.components}, buckets is {self.buckets}; expected at least 1 component "
                "(or 0: as many as are needed) of at least 2 buckets"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneArPriorConfig(ArPriorConfig):
    """The mini family's, learnt from the family's embeddings, of the size of its diffusion prior."""

    channels: int = 160
    layers: int = 5
    heads: int = 5
    embeddings: str = "embeddings"
    """Folder of the CLIP embeddings of the scenes, below the family's."""
    num_scenes: int = 16384
    """Scenes that are learnt from: the first that can be read, all where there are fewer."""

    def build(self, folder: Path) -> ArPriorObjective:
        """The objective, with its data below the family's folder."""
        found = EmbeddingSet.open(folder / self.embeddings)
        return ArPriorObjective(self, found, found.readable()[: self.num_scenes])


@dataclass(frozen=True, kw_only=True, slots=True)
class DataArPriorConfig(ArPriorConfig):
    """One for your own pictures and captions."""

    data: str = ""
    """A folder, file or hub data set of pictures with captions, see docs/data.md; maps are not needed."""
    base: str = "mini"
    """The base whose CLIP it is for: its image encoder, and its text encoder with a projection."""

    def build(self, folder: Path) -> ArPriorObjective:
        """The objective. Raises ValueError for data without captions, or a base without a CLIP."""
        found = captioned(self.data, self.base, folder)
        return ArPriorObjective(self, found, found.readable())


class ArPriorObjective(Objective):
    """Predict each component of a picture's embedding from its caption and the components before."""

    def __init__(self, config: ArPriorConfig, found: EmbeddingSet, items: np.ndarray):
        super().__init__()
        self.config, self.found = config, found
        held_out = min(config.validation_items, len(items) // 10)
        self.items, self.held_out = items[: len(items) - held_out], items[len(items) - held_out :]
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        z = self._true(self.items)
        self.prior = AutoregressivePrior(
            width=found.clip.width,
            num_tokens=found.num_tokens,
            components=config.components or enough_components(z, config.lost),
            buckets=config.buckets,
            channels=config.channels,
            layers=config.layers,
            heads=config.heads,
        )
        every = torch.zeros(len(self.items))
        fit_buckets(self.prior, z, found.captions(self.items, every, every > 0).z)

    def _true(self, rows: np.ndarray) -> Tensor:
        return F.normalize(self.found.embeddings(rows), dim=-1)

    @property
    def num_items(self) -> int:
        return len(self.items)

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        num = len(items)
        return Draws(
            caption=torch.rand(num, generator=generator), uncaptioned=torch.rand(num, generator=generator)
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        rows = self.items[np.asarray(items)]
        dropped = draws["uncaptioned"] < self.config.text_dropout
        said = self.found.captions(rows, draws["caption"], dropped).to(self.device)
        z = self._true(rows).to(self.device)
        buckets = self.prior.to_buckets(z)
        logits = self.prior(said, self.prior.nearness(z, said.z), buckets)
        error = F.cross_entropy(logits.transpose(1, 2), buckets, reduction="none")
        return error.mean(1), {"first": error[:, :FIRST].mean(1)}

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Image.Image] | None:
        """As of the diffusion prior, on the same captions."""

        def made(said, bare):
            return sample_prior_ar(
                self.prior, said, NoiseSource.from_seed(0, len(said.z)), ArPriorSettings(n_best=1)
            )

        return look_at(self.found, self.held_out, made, self.device)

    def export(self, folder: Path) -> None:
        """Write the prior in diffusers' layout, and its CLIP beside it."""
        self.prior.save_pretrained(folder)
        save_clip(self.found.clip, folder)
