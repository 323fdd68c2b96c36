"""How is the mini family's text-to-image UNet learnt?

Velocity prediction (Salimans & Ho 2022) at zero terminal SNR (Lin et al. 2023) on cached latents. It sees
pictures mostly and maps sometimes, each under its trigger words, as a large base has seen maps among its
pictures: then light adapters need not teach it what a map looks like.

Beside that, its features have to tell the maps of the picture it denoises, through one layer that is thrown
away afterwards. Features that mean something make a diffusion model learn many times faster (Yu et al. 2025,
"REPA", with the features of a pretrained network as the target; scenes have exact maps instead). A share of
the pictures is CLEAN for that alone: what an adapter estimates from such a picture, it can only find in the
features that a frozen base has for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import nn

from train.latents import TRIGGERS
from train.objectives.base import Draws, Objective, among
from train.randomness import which
from train.shards import open_shards
from unicon.devices import use_quick_attention
from unicon.ranges import NOT_NEGATIVE, SHARE
from unicon.sampling.levels import Schedule, add_noise, network_target
from unicon.sources import MINI, find_base

SCHEDULER = {
    "beta_schedule": "squaredcos_cap_v2",
    "rescale_betas_zero_snr": True,
    "timestep_spacing": "trailing",
    "prediction_type": "v_prediction",
    "algorithm_type": "sde-dpmsolver++",
    "clip_sample": False,  # no option of this class; DDIM and DDPM, if made from this config, would clip
}
"""The mini base's noise schedule and solver: cosine suits 16x16 latents, which less noise destroys than large
ones; and fresh noise in every step mends what a young base got wrong in the steps before (`docs/log.md`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseUnetConfig:
    """Geometry of the UNet and the mixture it learns from."""

    channels: tuple[int, ...] = (96, 144, 192)
    """Per resolution, from the latent's own on, each half the one before; multiples of 16 and head_width."""
    layers_per_block: int = 1
    """Residual blocks per resolution on the way down; one more on the way up."""
    head_width: int = 32
    """Channels of one attention head; there are as many heads as fit."""
    latents: str = "latents"
    """Folder of encoded scenes, below the family's."""
    photo_latents: str = "photo-latents"
    """Folder of encoded photographs; empty: their share goes to scenes."""
    start_from: str = ""
    """Folder of a UNet of this geometry to continue from, or mini: the one that ships; empty: random
    weights."""
    shares: tuple[float, ...] = (0.54, 0.14, 0.08, 0.08, 0.08, 0.08)
    """How often: image, second, depth, edge, pose, photo. Sums to 1."""
    maps: tuple[str, ...] = ("depth", "edge", "pose")
    """Which maps the features are asked for; pictures must have all of them."""
    maps_weight: float = 1.0
    """Weight of the error of the maps read from the features; 0: no such error."""
    clean_weight: float = 4.0
    """Weight of CLEAN pictures on top of that: at 1 all other errors drown theirs (`docs/log.md`)."""
    clean_share: float = 0.6
    """Share of the scenes' pictures that are CLEAN, of which only the maps are learnt."""
    clean_timestep: int = 150
    """What the network is told about them; the adapters' `clean_timestep`."""
    caption_dropout: float = 0.1
    """Share of noisy pictures whose captions are dropped, which is what guidance needs."""
    bare_clean: float = 0.6
    """The same for CLEAN pictures: one to estimate from mostly has no caption."""
    num_scenes: int = 8192
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def __post_init__(self):
        SHARE.check_fields(self, "shares", "clean_share", "caption_dropout", "bare_clean")
        NOT_NEGATIVE.check_fields(self, "maps_weight", "clean_weight")

    def build(self, folder: Path) -> BaseUnetObjective:
        """The objective, with its data below the family's folder."""
        return BaseUnetObjective(self, folder)


KINDS = ("image", "second", "depth", "edge", "pose", "photo")
MAPS = ("depth", "edge", "pose")


class MapsHead(nn.Module):
    """Reads the latents of all maps from the features that enter the UNet's last transformer.

    There the features of all resolutions have come together, and an adapter's last read takes place.
    """

    def __init__(self, unet: UNet2DConditionModel, latent_shape: tuple[int, ...], num_maps: int):
        super().__init__()
        width = unet.config["block_out_channels"][0]
        self.norm = nn.GroupNorm(1, width)
        self.read = nn.Conv2d(width, num_maps * latent_shape[0], 1)
        self.features: torch.Tensor | None = None
        last: Any = unet.up_blocks[-1]
        last.attentions[-1].register_forward_pre_hook(self._see)

    def _see(self, transformer: nn.Module, inputs: Any) -> None:
        self.features = inputs[0]

    def forward(self) -> torch.Tensor:
        """The maps of the UNet's last call."""
        features, self.features = self.features, None  # or they would outlive the step
        assert features is not None, "the UNet is called first"
        return self.read(self.norm(features))


class BaseUnetObjective(Objective):
    """Predict the velocity of one noisy latent from its level and caption."""

    def __init__(self, config: BaseUnetConfig, folder: Path):
        super().__init__()
        if len(config.shares) != len(KINDS) or abs(sum(config.shares) - 1) > 1e-6:
            raise ValueError(f"shares {config.shares} must be {len(KINDS)} numbers ({KINDS}) that sum to 1")
        self.config = config
        self.scenes = open_shards(folder / config.latents, config.num_scenes)
        self.photos = open_shards(folder / config.photo_latents) if config.photo_latents else None
        self.empty = torch.from_numpy(np.load(folder / config.latents / "empty_text.npy")).float()
        self.schedule = Schedule.from_scheduler(DPMSolverMultistepScheduler.from_config(SCHEDULER))
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        self.unet = self._unet()
        self.maps = None
        if config.maps_weight:
            _check_maps(config.maps, self.scenes.arrays)
            self.maps = MapsHead(self.unet, self.latent_shape, len(config.maps))

    def _unet(self) -> UNet2DConditionModel:
        unet = new_unet(self.config, self.latent_shape, context=self.empty.shape[-1])
        if self.config.start_from:
            source = self.config.start_from
            folder = Path(find_base(MINI)) / "unet" if source == MINI else source
            trained = UNet2DConditionModel.from_pretrained(folder)
            unet.load_state_dict(trained.state_dict())
        return unet

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """(C, h, w) of one latent."""
        return self.scenes.arrays["image"][0].shape[1:]

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, items: torch.Tensor) -> Draws:
        num = len(items)
        # Stratified: a batch covers the levels evenly, which lowers the variance of its loss.
        strata = (torch.arange(num) + torch.rand(num, generator=generator)) / num
        return Draws(
            kind=torch.rand(num, generator=generator),
            photo=torch.rand(num, generator=generator),
            uncaptioned=torch.rand(num, generator=generator),
            progress=strata[torch.randperm(num, generator=generator)],
            clean=torch.rand(num, generator=generator),
            noise=torch.randn(num, *self.latent_shape, generator=generator),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        items, kinds, noise = np.asarray(items), self._kinds(draws), draws["noise"].to(self.device)
        mapped = torch.from_numpy(kinds == KINDS.index("image")) & (self.maps is not None)
        clean = mapped & (draws["clean"] < self.config.clean_share)
        figures = clean.numpy() | (kinds == KINDS.index("pose"))  # where poses are learnt
        items = np.where(figures, self.scenes.mostly_posed(items, draws["photo"].numpy()), items)
        dropped = draws["uncaptioned"] < torch.where(
            clean, self.config.bare_clean, self.config.caption_dropout
        )
        levels = self.schedule.at_timestep(draws["progress"] * self.schedule.last_timestep)
        levels = levels.clean_where(clean).to(self.device, torch.float32)
        found = self._examples(items, kinds, draws, dropped.tolist())
        latents, text, mapped, clean = (part.to(self.device) for part in (*found, mapped, clean))
        told = levels.told(self.config.clean_timestep).float()
        out = self.unet(add_noise(latents, noise, levels), told, text).sample.float()
        target = network_target(latents, noise, levels, self.schedule.prediction)
        noisy = ~clean
        velocity = (out - target).square().mean(dim=(1, 2, 3)) * noisy
        if self.maps is None:
            return velocity, {}
        maps = self._maps(items, kinds).to(self.device)
        read = (self.maps().float() - maps).square().mean(dim=(1, 2, 3)) * mapped
        shares = {
            "velocity": among(velocity, noisy),
            "maps": among(read, mapped & noisy),
            "maps_of_clean": among(read, clean),
        }
        weights = torch.where(clean, self.config.clean_weight, 1.0) * self.config.maps_weight
        return velocity + weights * read, shares

    def _kinds(self, draws: Draws) -> np.ndarray:
        """Which of `KINDS` each example is, (n,)."""
        return which(self.config.shares, draws["kind"]).numpy()

    def _maps(self, items: np.ndarray, kinds: np.ndarray) -> torch.Tensor:
        """The maps of the scenes' pictures (n, C * maps, h, w); zero for other kinds."""
        names, (channels, *size) = self.config.maps, self.latent_shape
        maps = np.zeros((len(items), len(names) * channels, *size), np.float32)
        for row in np.flatnonzero(kinds == KINDS.index("image")):
            maps[row] = np.concatenate([self.scenes.row(name, items[row]) for name in names])
        return torch.from_numpy(maps)

    def _examples(
        self, items: np.ndarray, kinds: np.ndarray, draws: Draws, dropped: list[bool]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        latents, texts = [], []
        for item, kind, photo, bare in zip(items, kinds, draws["photo"].tolist(), dropped, strict=True):
            name, source = KINDS[kind], self.scenes
            if name == "photo":
                name = "image"
                if self.photos is not None:
                    source, item = self.photos, int(photo * len(self.photos))
            latents.append(source.row(name, item))
            texts.append(self._empty(name) if bare else source.row(f"{name}_text", item))
        return torch.from_numpy(np.stack(latents)).float(), torch.from_numpy(np.stack(texts)).float()

    def _empty(self, kind: str) -> np.ndarray:
        return self.empty[list(TRIGGERS).index(kind)].numpy()

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Write `unet` and `scheduler` in diffusers' layout."""
        self.unet.save_pretrained(folder / "unet")
        DPMSolverMultistepScheduler.from_config(SCHEDULER).save_pretrained(folder / "scheduler")


def _check_maps(maps: Sequence[str], arrays: Mapping[str, Any]) -> None:
    """ValueError for maps that the data do not have."""
    missing = [name for name in maps if name not in arrays]
    if missing or not maps:
        there = ", ".join(name for name in MAPS if name in arrays) or "no map"
        raise ValueError(
            f"maps is {list(maps)}, and the data have {there}: name some of those, such as "
            """--maps '["depth"]', or give --maps_weight 0"""
        )


class UnetGeometry(Protocol):
    """What a config says about a UNet of the mini family."""

    @property
    def channels(self) -> tuple[int, ...]: ...
    @property
    def layers_per_block(self) -> int: ...
    @property
    def head_width(self) -> int: ...


def new_unet(geometry: UnetGeometry, latent_shape: tuple[int, ...], context: int) -> UNet2DConditionModel:
    """A UNet with random weights for latents (C, h, w) and text embeddings `context` wide."""
    channels = geometry.channels
    config: dict[str, Any] = {
        "sample_size": latent_shape[-1],
        "in_channels": latent_shape[0],
        "out_channels": latent_shape[0],
        "block_out_channels": channels,
        "layers_per_block": geometry.layers_per_block,
        "cross_attention_dim": context,
        "attention_head_dim": [c // geometry.head_width for c in channels],
        "down_block_types": ("CrossAttnDownBlock2D",) * len(channels),
        "up_block_types": ("CrossAttnUpBlock2D",) * len(channels),
        "norm_num_groups": 16,
        "use_linear_projection": True,
    }
    unet = UNet2DConditionModel(**config)
    use_quick_attention(unet)
    return unet
