"""How is the mini family's picture compressor learnt?

An `AutoencoderTiny` on pictures and maps alike: absolute and squared error of brightness and colour on three
scales, and of gradients. Its latents are bounded by the decoder and get a little noise in training, which
keeps them smooth. No adversary and no perceptual network: both need pretrained weights this project does not
ship. What was tried instead is in `docs/log.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from train.objectives.base import Draws, Objective
from train.shards import Shards, open_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class VaeConfig:
    """An autoencoder's geometry and loss weights."""

    width: int = 48
    """Channels of every layer."""
    encoder_blocks: tuple[int, ...] = (1, 2, 3, 3)
    """Residual blocks per resolution, mirrored in the decoder; the factor is 2 ** (number - 1)."""
    latent_channels: int = 8
    latent_noise: float = 0.1
    """Deviation of the noise that training adds to latents, which lie within -3 to 3."""
    gradient_weight: float = 0.5
    scenes: str = "scenes"
    photos: str = "photos"
    """Folder of photographs; empty: scenes alone."""
    start_from: str = ""
    """Folder of an exported autoencoder of this geometry to continue from; empty: random weights."""
    num_scenes: int = 16384

    def build(self, folder: Path) -> VaeObjective:
        """The objective, with its data below the family's folder."""
        return VaeObjective(self, folder)


_SHARES = {"image": 0.22, "second": 0.18, "photo": 0.15, "depth": 0.12, "edge": 0.17, "pose": 0.16}
"""How often each kind of picture is seen. Maps are simpler, but every error in a thin line counts."""


class VaeObjective(Objective):
    """Reconstruct pictures, depth, edge and pose maps."""

    def __init__(self, config: VaeConfig, folder: Path):
        super().__init__()
        self.config = config
        self.scenes = open_shards(folder / config.scenes, config.num_scenes)
        self.photos = open_shards(folder / config.photos) if config.photos else None
        self.size = self.scenes.arrays["image"][0].shape[1] // 2 ** (len(config.encoder_blocks) - 1)
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        levels = len(config.encoder_blocks)
        geometry: dict[str, Any] = {
            "encoder_block_out_channels": (config.width,) * levels,
            "decoder_block_out_channels": (config.width,) * levels,
            "num_encoder_blocks": config.encoder_blocks,
            "num_decoder_blocks": config.encoder_blocks[::-1],
            "latent_channels": config.latent_channels,
        }
        self.vae: AutoencoderTiny = AutoencoderTiny(**geometry)
        if config.start_from:
            trained = AutoencoderTiny.from_pretrained(config.start_from)
            self.vae.load_state_dict(trained.state_dict())

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, num: int) -> Draws:
        return Draws(
            kind=torch.rand(num, generator=generator),
            photo=torch.rand(num, generator=generator),
            flip=torch.rand(num, generator=generator),
            noise=torch.randn(num, self.config.latent_channels, self.size, self.size, generator=generator),
        )

    def forward(self, items: Tensor, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        target = self._pictures(items, draws).to(draws["kind"].device)
        latents = self.vae.encoder(target)
        decoded = self.vae.decoder(latents + self.config.latent_noise * draws["noise"])
        error = multiscale_error(decoded.float(), target, self.config.gradient_weight)
        square = (decoded.float() - target).square().mean(dim=(1, 2, 3))
        return error, {
            "psnr": 10 * (4 / square).log10(),
            "latent_square": latents.square().mean(dim=(1, 2, 3)),
        }

    def _pictures(self, items: Tensor, draws: Draws) -> Tensor:
        kinds, bounds = list(_SHARES), np.cumsum(list(_SHARES.values()))
        chosen = np.minimum(
            np.searchsorted(bounds, draws["kind"].cpu().numpy(), side="right"), len(kinds) - 1
        )
        rows = [
            self._picture(kinds[kind], item, photo)
            for kind, item, photo in zip(chosen, items.tolist(), draws["photo"].tolist(), strict=True)
        ]
        pictures = torch.stack(rows)
        flip = draws["flip"].cpu()[:, None, None, None] < 0.5
        return torch.where(flip, pictures.flip(-1), pictures)

    def _picture(self, kind: str, item: int, photo: float) -> Tensor:
        if kind != "photo":
            return as_tensor(self.scenes, kind, item)
        if self.photos is None:
            return as_tensor(self.scenes, "image", item)
        return as_tensor(self.photos, "image", int(photo * len(self.photos)))

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Write the autoencoder with the shift and scale that give pictures' latents mean 0, deviation 1."""
        self.vae.eval()
        sample = np.unique(np.linspace(0, len(self.scenes) - 1, 256).astype(np.int64))
        latents = torch.cat([self.vae.encoder(as_tensor(self.scenes, "image", i)[None]) for i in sample])
        scale, shift = 1 / latents.std().item(), latents.mean().item()
        self.vae.register_to_config(scaling_factor=scale, shift_factor=shift)
        self.vae.save_pretrained(folder)


def as_tensor(shards: Shards, name: str, item: int) -> Tensor:
    """One stored picture as float32 (3, H, W) in [-1, 1]; a single channel is repeated."""
    row = torch.from_numpy(shards.row(name, item).astype(np.float32)) / 127.5 - 1
    return row.expand(3, -1, -1) if row.ndim == 2 else row.permute(2, 0, 1)


CHROMA_WEIGHT = 3.0
"""How much more an error of colour counts than the same error of brightness."""

OPPONENT = F.normalize(torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]]), dim=1)
"""Orthonormal rows: brightness, red against green, yellow against blue."""


def multiscale_error(decoded: Tensor, target: Tensor, gradient_weight: float) -> Tensor:
    """|e| + 2 e^2 on scales 1, 1/2 and 1/4, and |e| of horizontal and vertical differences, per item (n,).

    Errors are those of brightness and two opponent colours. In red, green and blue, brightness is nearly all
    of the variance, and colour is learnt last.
    """
    total = torch.zeros(len(target), device=target.device)
    colours = (OPPONENT * torch.tensor([[1.0], [CHROMA_WEIGHT], [CHROMA_WEIGHT]])).to(target.device)
    decoded, target = (torch.einsum("ij,njhw->nihw", colours, x) for x in (decoded, target))
    for dim in (-1, -2):
        total = total + gradient_weight * _mean((decoded.diff(dim=dim) - target.diff(dim=dim)).abs())
    for scale in range(3):
        if scale:
            decoded, target = F.avg_pool2d(decoded, 2), F.avg_pool2d(target, 2)
        total = total + _mean((decoded - target).abs() + 2 * (decoded - target).square())
    return total


def _mean(values: Tensor) -> Tensor:
    return values.mean(dim=(1, 2, 3))
