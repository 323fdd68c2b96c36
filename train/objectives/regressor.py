"""What would a plain feed-forward network of the same size do?

The reference an estimation result stands beside: the base UNet's geometry, from random weights, learns to
turn the latent of a picture into the latent of its map in one pass, by squared error. The map's trigger
words say which map is wanted, so one network serves them all, as the base serves all adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from train.latents import TRIGGERS
from train.objectives.base import Draws, Objective
from train.objectives.base_unet import MAPS, new_unet
from train.shards import open_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressorConfig:
    """Geometry and data of the reference network."""

    channels: tuple[int, ...] = (96, 144, 192)
    """Per resolution, from the latent's own on; those of the base, beside which it is measured."""
    layers_per_block: int = 1
    """Residual blocks per resolution on the way down; one more on the way up."""
    head_width: int = 32
    """Channels of one attention head; there are as many heads as fit."""
    latents: str = "latents"
    """Folder of encoded scenes, below the family's."""
    num_scenes: int = 8192
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def build(self, folder: Path) -> RegressorObjective:
        """The objective, with its data below the family's folder."""
        return RegressorObjective(self, folder)


class RegressorObjective(Objective):
    """Predict a map's latent from the picture's."""

    def __init__(self, config: RegressorConfig, folder: Path):
        super().__init__()
        self.scenes = open_shards(folder / config.latents, config.num_scenes)
        empty = torch.from_numpy(np.load(folder / config.latents / "empty_text.npy")).float()
        self.register_buffer(
            "triggers", empty[[list(TRIGGERS).index(name) for name in MAPS]], persistent=False
        )
        self.triggers: torch.Tensor
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        shape = self.scenes.arrays["image"][0].shape[1:]
        self.unet = new_unet(config, shape, context=empty.shape[-1])

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, items: torch.Tensor) -> Draws:
        num = len(items)
        return Draws(
            kind=torch.randint(len(MAPS), (num,), generator=generator),
            posed=torch.rand(num, generator=generator),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        items, kind = np.asarray(items), draws["kind"]
        posed = self.scenes.mostly_posed(items, draws["posed"].numpy())
        is_pose = kind == list(MAPS).index("pose")
        items = np.where(is_pose.numpy(), posed, items)
        picture = torch.from_numpy(self.scenes.gather("image", items)).to(self.device).float()
        rows = [self.scenes.row(MAPS[k], int(i)) for i, k in zip(items, kind.tolist(), strict=True)]
        # Not by torch.stack, which CPU autocast refuses for half precision.
        target = torch.from_numpy(np.stack(rows)).to(self.device).float()
        kind = kind.to(self.device)
        out = self.unet(picture, torch.zeros_like(kind), self.triggers[kind]).sample.float()
        return (out - target).square().mean(dim=(1, 2, 3)), {}

    def export(self, folder: Path) -> None:
        """Write `unet`, and the trigger embeddings it is told, one row per map of `MAPS`."""
        from safetensors.torch import save_file

        self.unet.save_pretrained(folder / "unet")
        save_file(
            {name: row.clone() for name, row in zip(MAPS, self.triggers.cpu(), strict=True)},
            folder / "triggers.safetensors",
        )
