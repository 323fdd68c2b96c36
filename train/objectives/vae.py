"""How is the mini family's picture compressor learnt?

An `AutoencoderKL` on pictures and maps alike: absolute error on three scales and on gradients, and a light KL
term. No adversary and no perceptual network: both need pretrained weights this project does not ship.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from train.objectives.base import Draws, Objective
from train.shards import open_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class VaeConfig:
    """An autoencoder's geometry and loss weights."""

    channels: tuple[int, ...] = (24, 48, 96, 112)
    """Width per resolution; the factor is 2 ** (number - 1)."""
    latent_channels: int = 8
    kl_weight: float = 1e-5
    gradient_weight: float = 1.0
    scenes: str = "scenes"
    photos: str = "photos"
    """Folder of photographs; empty: scenes alone."""
    photo_share: float = 0.15
    num_scenes: int = 16384

    def build(self, folder: Path) -> VaeObjective:
        """The objective, with its data below the family's folder."""
        return VaeObjective(self, folder)


# How often each kind of picture is seen; the rest are photographs or pictures of scenes.
_MAP_SHARE = {"depth": 0.12, "edge": 0.14, "pose": 0.10}


class VaeObjective(Objective):
    """Reconstruct pictures, depth, edge and pose maps."""

    def __init__(self, config: VaeConfig, folder: Path):
        super().__init__()
        self.config = config
        self.scenes = open_shards(folder / config.scenes, config.num_scenes)
        self.photos = open_shards(folder / config.photos) if config.photos else None
        depth = len(config.channels)
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        geometry: dict[str, Any] = {
            "down_block_types": ("DownEncoderBlock2D",) * depth,
            "up_block_types": ("UpDecoderBlock2D",) * depth,
            "block_out_channels": config.channels,
            "layers_per_block": 1,
            "latent_channels": config.latent_channels,
            "norm_num_groups": 8,
            "mid_block_add_attention": False,
            "sample_size": 128,
        }
        self.vae = AutoencoderKL(**geometry)

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, num: int) -> Draws:
        size = self.scenes.arrays["image"][0].shape[1] // 2 ** (len(self.config.channels) - 1)
        return Draws(
            kind=torch.rand(num, generator=generator),
            photo=torch.rand(num, generator=generator),
            flip=torch.rand(num, generator=generator),
            noise=torch.randn(num, self.config.latent_channels, size, size, generator=generator),
        )

    def forward(self, items: torch.Tensor, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        target = self._pictures(items.numpy(), draws).to(draws["kind"].device)
        posterior = self.vae.encode(target).latent_dist
        decoded = self.vae.decode(posterior.mean + posterior.std * draws["noise"]).sample
        error = multiscale_error(decoded.float(), target, self.config.gradient_weight)
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).float().mean(dim=(1, 2, 3))
        return error + self.config.kl_weight * kl, {"error": error, "kl": kl}

    def _pictures(self, items: np.ndarray, draws: Draws) -> torch.Tensor:
        rows = [
            self._picture(int(i), float(k), float(p)) for i, k, p in zip(items, *_pair(draws), strict=True)
        ]
        pictures = torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
        flip = draws["flip"].cpu()[:, None, None, None] < 0.5
        return torch.where(flip, pictures.flip(-1), pictures)

    def _picture(self, item: int, kind: float, photo: float) -> np.ndarray:
        for name, share in _MAP_SHARE.items():
            if kind < share:
                row = self.scenes.row(name, item)
                return row if row.ndim == 3 else np.repeat(row[..., None], 3, axis=-1)
            kind -= share
        if self.photos is not None and kind < self.config.photo_share:
            return self.photos.row("image", int(photo * len(self.photos)))
        return self.scenes.row("image", item)

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Write the autoencoder with each latent channel's mean removed and the overall scale recorded."""
        self.vae.eval()
        sample = np.unique(np.linspace(0, len(self.scenes) - 1, 256).astype(np.int64))
        pictures = (
            torch.from_numpy(self.scenes.gather("image", sample)).permute(0, 3, 1, 2).float() / 127.5 - 1
        )
        latents = torch.cat([self.vae.encode(part).latent_dist.mean for part in pictures.split(32)])
        centre_latents(self.vae, latents.mean(dim=(0, 2, 3)))
        scale = 1 / float((latents - latents.mean(dim=(0, 2, 3), keepdim=True)).std())
        self.vae.register_to_config(scaling_factor=scale)
        self.vae.save_pretrained(folder)


def _pair(draws: Draws) -> tuple[torch.Tensor, torch.Tensor]:
    return draws["kind"].cpu(), draws["photo"].cpu()


def multiscale_error(decoded: torch.Tensor, target: torch.Tensor, gradient_weight: float) -> torch.Tensor:
    """Absolute error on scales 1, 1/2, 1/4 and of horizontal and vertical differences, per item (n,)."""
    total = torch.zeros(len(target), device=target.device)
    for scale in range(3):
        if scale:
            decoded, target = F.avg_pool2d(decoded, 2), F.avg_pool2d(target, 2)
        total = total + (decoded - target).abs().mean(dim=(1, 2, 3))
        if scale == 0:
            for dim in (-1, -2):
                difference = (decoded.diff(dim=dim) - target.diff(dim=dim)).abs()
                total = total + gradient_weight * difference.mean(dim=(1, 2, 3))
    return total


def centre_latents(vae: AutoencoderKL, mean: torch.Tensor) -> None:
    """Move the mean of each latent channel to zero by the two 1x1 convolutions next to the latent.

    The encoder's last convolution gives the shifted mean, the decoder's first adds it back: the same
    autoencoder, whose latents a scheduler that knows one scaling factor can use.
    """
    into, out_of = vae.quant_conv, vae.post_quant_conv
    assert into is not None
    assert into.bias is not None
    assert out_of is not None
    assert out_of.bias is not None
    into.bias[: len(mean)] -= mean
    out_of.bias += out_of.weight[:, :, 0, 0] @ mean
