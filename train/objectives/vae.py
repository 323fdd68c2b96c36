"""How is the mini family's picture compressor learnt?

An `AutoencoderDC` (Chen et al. 2024) on pictures and maps alike: absolute and squared error of brightness and
colour on three scales, and of gradients. Its residual blocks start as the identity, so that it begins as a
linear transform of patches, which is most of a good compressor, and learns the rest. It sees crops, which
make a batch more varied at the same cost. Its latents get a little noise, and have to show the half-size
picture when they are halved themselves (Kouzelis et al. 2025, "EQ-VAE"): both keep fine structure out of
them that a diffusion model would spend its capacity on. No adversary and no perceptual network: both need
pretrained weights this project does not ship. What was tried instead is in `docs/log.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderDC
from diffusers.models.autoencoders.autoencoder_dc import DCDownBlock2d, DCUpBlock2d, ResBlock
from torch import Tensor, nn

from train.objectives.base import Draws, Objective
from train.randomness import which
from train.shards import open_shards


@dataclass(frozen=True, kw_only=True, slots=True)
class VaeConfig:
    """An autoencoder's geometry and loss weights."""

    channels: tuple[int, ...] = (48, 96, 128)
    """Channels per resolution, from half the picture's on; the factor is 2 ** their number."""
    blocks: tuple[int, ...] = (1, 2, 2)
    """Residual blocks per resolution, the same in the decoder."""
    latent_channels: int = 16
    """A divisor of the last number of channels."""
    latent_noise: float = 0.1
    """Deviation of the noise that training adds to latents, in their own deviations."""
    half_weight: float = 0.5
    """Weight of the error of halved latents, decoded, against the halved picture."""
    crop: int = 64
    """Side of the crops it learns from, pixels; a multiple of the factor."""
    gradient_weight: float = 0.5
    """Weight of the error of differences between neighbouring pixels, beside that of the pixels; 0: none."""
    scenes: str = "scenes"
    """Folder of rendered scenes, below the family's."""
    photo_shards: str = "photos"
    """Folder of photographs; empty: scenes alone."""
    start_from: str = ""
    """Folder of an exported autoencoder of this geometry to continue from; empty: random weights."""
    num_scenes: int = 8192
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def build(self, folder: Path) -> VaeObjective:
        """The objective, with its data below the family's folder."""
        return VaeObjective(self, folder)


_SHARES = {"image": 0.20, "second": 0.16, "photo": 0.14, "depth": 0.12, "edge": 0.15, "pose": 0.23}
"""How often each kind of picture is seen. Maps are simpler, but every error in a thin line counts."""

KINDS = tuple(_SHARES)

_POSE_WEIGHT = 3.0
"""How much more an error in a pose counts: most of its map is black, the rest lines of a pixel or two."""


class VaeObjective(Objective):
    """Reconstruct pictures, depth, edge and pose maps."""

    def __init__(self, config: VaeConfig, folder: Path):
        super().__init__()
        self.config = config
        self.scenes = open_shards(folder / config.scenes, config.num_scenes)
        self.photos = open_shards(folder / config.photo_shards) if config.photo_shards else None
        self.size = self.scenes.arrays["image"][0].shape[1]
        self.crop = min(config.crop, self.size)
        factor = 2 ** len(config.channels)
        if self.crop % factor:
            raise ValueError(f"crop is {self.crop}; expected a multiple of the compressor's factor {factor}")
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        self.vae = new_vae(config)
        if config.start_from:
            self.vae.load_state_dict(AutoencoderDC.from_pretrained(config.start_from).state_dict())
        # Convolutions as wide as pictures are nearly twice as fast on a CPU this way; the UNet's are not.
        cast(Any, self.vae).to(memory_format=torch.channels_last)

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, items: torch.Tensor) -> Draws:
        num = len(items)
        cells = self.crop // 2 ** len(self.config.channels)
        return Draws(
            kind=torch.rand(num, generator=generator),
            photo=torch.rand(num, generator=generator),
            flip=torch.rand(num, generator=generator),
            corner=torch.randint(self.size - self.crop + 1, (num, 2), generator=generator),
            noise=torch.randn(num, self.config.latent_channels, cells, cells, generator=generator),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        target = self._pictures(items, draws).to(self.device)
        latents = self.vae.encoder(target)
        deviation = latents.float().std()  # not detached, or latents would grow to drown the noise
        decoded = self.vae.decoder(
            latents + self.config.latent_noise * deviation * draws["noise"].to(self.device)
        )
        error = multiscale_error(decoded.float(), target, self.config.gradient_weight)
        if self.config.half_weight:
            half = self.vae.decoder(F.avg_pool2d(latents, 2)).float()
            half_error = multiscale_error(half, F.avg_pool2d(target, 2), self.config.gradient_weight)
            error = error + self.config.half_weight * half_error
        error = torch.where(self._kinds(draws) == KINDS.index("pose"), _POSE_WEIGHT, 1.0).to(error) * error
        square = (decoded.float() - target).square().mean(dim=(1, 2, 3))
        return error, {
            "psnr": 10 * (4 / square).log10(),
            "latent_square": latents.float().square().mean(dim=(1, 2, 3)),
        }

    def _kinds(self, draws: Draws) -> Tensor:
        """Which of `KINDS` each picture is, (n,)."""
        return which(list(_SHARES.values()), draws["kind"])

    def _pictures(self, items: np.ndarray, draws: Draws) -> Tensor:
        rows = [
            self._crop(KINDS[kind], item, photo, corner)
            for kind, item, photo, corner in zip(
                self._kinds(draws).tolist(),
                items.tolist(),
                draws["photo"].tolist(),
                draws["corner"].tolist(),
                strict=True,
            )
        ]
        pictures = torch.stack(rows)
        flip = draws["flip"][:, None, None, None] < 0.5
        return torch.where(flip, pictures.flip(-1), pictures)

    def _crop(self, kind: str, item: int, photo: float, corner: tuple[int, int]) -> Tensor:
        source, name = self.scenes, kind
        if kind == "photo":
            name = "image"
            if self.photos is not None:
                source, item = self.photos, int(photo * len(self.photos))
        elif kind == "pose" and len(self.scenes.posed):
            # Few scenes show figures, and figures are small: crops at random would hardly ever see one.
            item = int(self.scenes.posed_for(np.array(item)))
            corner = self._near_a_figure(item, corner)
        y, x = corner
        return as_tensor(source.row(name, item)[y : y + self.crop, x : x + self.crop])

    def _near_a_figure(self, item: int, corner: tuple[int, int]) -> tuple[int, int]:
        """The corner of a crop whose middle lies within half a crop of a figure's."""
        x, y = self.scenes.row("joints", item)[0, :, :2].mean(axis=0)
        room = self.size - self.crop
        top, left = (
            int(min(max(middle + place * self.crop / max(room, 1) - self.crop, 0), room))
            for middle, place in zip((y, x), corner, strict=True)
        )
        return top, left

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Write the autoencoder, its latents rescaled so that those of pictures have deviation 1."""
        self.vae.eval()
        sample = np.unique(np.linspace(0, len(self.scenes) - 1, 256).astype(np.int64))
        pictures = (as_tensor(self.scenes.row("image", i))[None].to(self.vae.device) for i in sample)
        latents = torch.cat([self.vae.encoder(picture) for picture in pictures])
        scale_latents(self.vae, 1 / latents.std().item())
        cast(Any, self.vae).to(memory_format=torch.contiguous_format).save_pretrained(folder)


@torch.no_grad()
def scale_latents(vae: AutoencoderDC, scale: float) -> None:
    """Multiply what the encoder gives and the decoder takes by `scale`, in place; pictures stay the same.

    The whole residual stream is scaled, on both sides, so that half precision has room for it: what adds to
    the stream is multiplied, what reads it divided. The decoder's last norm does not see the difference.
    """
    encoder, decoder = vae.encoder, vae.decoder
    _multiply(scale, encoder.conv_in.conv.weight)
    for half in (encoder, decoder):
        for module in half.modules():
            if isinstance(module, ResBlock):
                _multiply(1 / scale, module.conv1.weight)
                _multiply(scale, module.norm.weight, module.norm.bias)
            elif isinstance(module, DCDownBlock2d | DCUpBlock2d) and module is not decoder.conv_out:
                _multiply(scale, module.conv.bias)
    _multiply(scale, encoder.conv_out.bias, decoder.conv_in.bias)


def _multiply(factor: float, *parameters: Tensor | nn.Module | None) -> None:
    for parameter in parameters:
        cast(Tensor, parameter).mul_(factor)


def new_vae(config: VaeConfig) -> AutoencoderDC:
    """Random weights, residual blocks that add nothing yet."""
    # The first entry stands for the picture's own resolution, which has no blocks: its channels go unused.
    channels, blocks = (config.channels[0], *config.channels), (0, *config.blocks)
    geometry: dict[str, Any] = {
        "latent_channels": config.latent_channels,
        "encoder_block_out_channels": channels,
        "decoder_block_out_channels": channels,
        "encoder_layers_per_block": blocks,
        "decoder_layers_per_block": blocks,
        "encoder_qkv_multiscales": ((),) * len(channels),
        "decoder_qkv_multiscales": ((),) * len(channels),
    }
    vae = AutoencoderDC(**geometry)
    for block in vae.modules():
        if isinstance(block, ResBlock):
            torch.nn.init.zeros_(cast(nn.Parameter, block.norm.weight))
    return vae


def as_tensor(picture: np.ndarray) -> Tensor:
    """A stored picture, uint8 (H, W[, 3]), as float32 (3, H, W) in [-1, 1]; one channel is repeated."""
    row = torch.from_numpy(picture.astype(np.float32)) / 127.5 - 1
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
