"""How do pictures become latents and come back?

Pictures are (n, 3, H, W) in [0, 1]; latents (n, C, h, w), float32, scaled as the UNet wants them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny
from diffusers.utils import logging
from torch import Tensor

logger = logging.get_logger(__name__)

CHUNK = 16
"""Pictures that go through the autoencoder at once."""

Autoencoder = AutoencoderKL | AutoencoderTiny | AutoencoderDC
"""Stable Diffusion's, its small stand-in, and the residual one of the mini family."""


def downscale(vae: Autoencoder) -> int:
    """Pixels per latent cell and side."""
    channels = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
    return 2 ** (len(channels) - 1)


def encode(vae: Autoencoder, pictures: Tensor) -> Tensor:
    """The mean of the encoder's law: the same latents every time. Raises ValueError as `decode`."""
    latents = _finite(vae, lambda part: _mean(vae, part), pictures * 2 - 1)
    return (latents - _shift(vae)) * vae.config["scaling_factor"]


def decode(vae: Autoencoder, latents: Tensor) -> Tensor:
    """Float32 pictures, clipped to [0, 1]. Raises ValueError for latents that give NaN or infinity."""
    scaled = latents / vae.config["scaling_factor"] + _shift(vae)
    pictures = _finite(vae, lambda part: cast(Any, vae).decode(part).sample, scaled)
    return (pictures / 2 + 0.5).clamp(0, 1)


@contextmanager
def in_parts(vae: Autoencoder, wanted: bool) -> Iterator[None]:
    """For a while the autoencoder takes pictures that are larger than its tile in overlapping parts, if that
    is wanted; one that does so anyway stays as it is."""
    before = vae.use_tiling
    vae.use_tiling = before or wanted
    try:
        yield
    finally:
        vae.use_tiling = before


def _finite(vae: Autoencoder, run: Callable[[Tensor], Tensor], given: Tensor) -> Tensor:
    """What an autoencoder makes of chunks, float32. One that overflows in half precision (SDXL's does) is
    moved to float32 for good."""
    while True:
        with torch.autocast(given.device.type, enabled=False):  # training's, in which some overflow, too
            made = torch.cat([run(part).float() for part in given.to(vae.dtype).split(CHUNK)])
        if bool(made.isfinite().all()):
            return made
        if vae.dtype == torch.float32 or not bool(given.isfinite().all()):
            raise ValueError(f"the autoencoder makes NaN or infinity in {vae.dtype}: its input or weights do")
        logger.warning(f"the autoencoder overflows in {vae.dtype}; it runs in float32 from now on")
        torch.nn.Module.to(vae, torch.float32)


def _mean(vae: Autoencoder, pictures: Tensor) -> Tensor:
    out = vae.encode(pictures)
    if "latent_dist" in out:
        return out.latent_dist.mode()
    return out.latents if "latents" in out else out.latent


def _shift(vae: Autoencoder) -> float:
    return vae.config.get("shift_factor") or 0.0
