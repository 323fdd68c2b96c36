"""How does an adapter learn to denoise a picture and its condition together?

Each branch gets its own noise level (design: independent), and for a stated share of the pairs one of them is
CLEAN: no noise, no loss, one fixed timestep, and its reading of the other branch is gated off. That last part
is what later lets a run compute a held-clean branch once. The base never trains.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from adapters import AdapterConfig, JointAdapter, Pair, graft, joint_forward, save_adapter
from train.latents import TRIGGERS
from train.objectives.base import Draws, Objective
from train.objectives.base_unet import use_quick_attention
from train.shards import open_shards
from unicon.sampling.levels import Levels, Schedule, add_noise, network_target


@dataclass(frozen=True, kw_only=True, slots=True)
class JointConfig:
    """One adapter: its condition, its size, and how levels and captions are drawn."""

    condition: str
    """Name of the adapter: depth, edge, pose, appearance."""
    maps: str
    """Array of the latent shards that holds the condition's pictures: depth, edge, pose, second."""
    rank: int = 12
    locality: float = 11.0
    """By how many nats its reads favour their own place at the start (`AdapterConfig.locality`)."""
    clean_timestep: int = 150
    """What the base is told about a CLEAN branch (`AdapterConfig.clean_timestep`)."""
    clean_image: float = 0.3
    """Share of pairs whose image is CLEAN: what estimation needs."""
    clean_condition: float = 0.25
    """Share of pairs whose condition is CLEAN: what generation from a map needs."""
    caption_dropout: float = 0.2
    """Share of pairs that lose both captions; each branch alone loses its own half as often."""
    base: str = "unet/export"
    latents: str = "latents"
    num_scenes: int = 16384

    def __post_init__(self):
        if not 0 <= self.clean_image + self.clean_condition <= 1:
            raise ValueError(
                f"clean_image {self.clean_image} + clean_condition {self.clean_condition} must be at most 1"
            )

    def build(self, folder: Path) -> JointObjective:
        """The objective, with base and data below the family's folder."""
        return JointObjective(self, folder)


class JointObjective(Objective):
    """Predict both branches' velocities, each from both."""

    def __init__(self, config: JointConfig, folder: Path):
        super().__init__()
        self.config = config
        self.scenes = open_shards(folder / config.latents, config.num_scenes)
        self.empty = np.load(folder / config.latents / "empty_text.npy")
        self.schedule = Schedule.from_scheduler(
            DDIMScheduler.from_pretrained(folder / config.base / "scheduler")
        )
        unet = UNet2DConditionModel.from_pretrained(folder / config.base / "unet").requires_grad_(False)
        use_quick_attention(unet)
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        settings = AdapterConfig(
            condition=config.condition,
            rank=config.rank,
            locality=config.locality,
            clean_timestep=config.clean_timestep,
            trigger=TRIGGERS[config.maps],
        )
        self.adapter = JointAdapter.for_unet(unet, settings)
        graft(unet, {config.condition: self.adapter})
        self.unet = unet

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, num: int) -> Draws:
        shape = self.scenes.arrays["image"][0].shape[1:]
        strata = (torch.arange(num) + torch.rand(2, num, generator=generator)) / num
        order = torch.stack([torch.randperm(num, generator=generator) for _ in range(2)])
        return Draws(
            progress=strata.gather(1, order).T.contiguous(),
            mode=torch.rand(num, generator=generator),
            posed=torch.rand(num, generator=generator),
            uncaptioned=torch.rand(num, 3, generator=generator),
            noise=torch.randn(num, 2, *shape, generator=generator),
        )

    def forward(self, items: torch.Tensor, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        device = draws["mode"].device
        if self.config.maps == "pose":
            items = torch.from_numpy(self.scenes.mostly_posed(items.numpy(), draws["posed"].cpu().numpy()))
        clean = torch.stack([self._latents(n, items, device) for n in ("image", self.config.maps)])
        noise = draws["noise"].transpose(0, 1)
        held = self._held(draws["mode"])
        levels = self._levels(draws["progress"].T, held)
        text = self._texts(items, draws["uncaptioned"], held).to(device)
        active = (~held).float()
        pair = Pair(
            image=0,
            condition=1,
            adapter=self.config.condition,
            image_weight=active[0],
            condition_weight=active[1],
        )
        noisy = add_noise(clean, noise, levels)
        out = joint_forward(
            self.unet,
            noisy.flatten(0, 1),
            levels.told(self.config.clean_timestep).flatten().float(),
            text.flatten(0, 1),
            pairs=[pair],
            num_branches=2,
        )
        target = network_target(clean, noise, levels, self.schedule.prediction)
        error = (out.float().unflatten(0, (2, -1)) - target).square().mean(dim=(2, 3, 4))
        loss = (error * active).sum(0) / active.sum(0)
        return loss, {
            "image": _mean_where(error[0], active[0]),
            "condition": _mean_where(error[1], active[1]),
        }

    def _latents(self, name: str, items: torch.Tensor, device: torch.device) -> torch.Tensor:
        return torch.from_numpy(self.scenes.gather(name, items.numpy())).to(device).float()

    def _held(self, mode: torch.Tensor) -> torch.Tensor:
        """Which branch of each pair is CLEAN: bool (branch, pair), never both."""
        image = mode < self.config.clean_image
        condition = ~image & (mode < self.config.clean_image + self.config.clean_condition)
        return torch.stack([image, condition])

    def _levels(self, progress: torch.Tensor, held: torch.Tensor) -> Levels:
        levels = self.schedule.at_timestep(progress * self.schedule.last_timestep)
        return levels.to(progress.device, torch.float32).clean_where(held)

    def _texts(self, items: torch.Tensor, uncaptioned: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
        """Prompt embeddings (branch, pair, tokens, width); a photo to estimate mostly has no caption."""
        both = uncaptioned[:, 0] < torch.where(held[0], 0.6, self.config.caption_dropout)
        rows = []
        for branch, name in enumerate(("image", self.config.maps)):
            drop = both | (uncaptioned[:, 1 + branch] < self.config.caption_dropout / 2)
            bare = self.empty[list(TRIGGERS).index(name)]
            full = self.scenes.gather(f"{name}_text", items.numpy())
            rows.append(np.where(drop.cpu().numpy()[:, None, None], bare, full))
        return torch.from_numpy(np.stack(rows)).float()

    def export(self, folder: Path) -> None:
        """Write the adapter's folder: config.json and adapter.safetensors."""
        save_adapter(self.adapter, folder)


def _mean_where(values: torch.Tensor, active: torch.Tensor) -> torch.Tensor:
    """Each value where active, scaled so that the plain mean is the mean over the active ones."""
    return values * active * len(active) / active.sum().clamp(min=1)
