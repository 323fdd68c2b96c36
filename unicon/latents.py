"""How do pictures become latents and come back?

Pictures are (n, 3, H, W) in [0, 1]; latents (n, C, h, w), float32, scaled as the UNet wants them.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny
from torch import Tensor

CHUNK = 16
"""Pictures that go through the autoencoder at once."""

Autoencoder = AutoencoderKL | AutoencoderTiny | AutoencoderDC
"""Stable Diffusion's, its small stand-in, and the residual one of the mini family."""


def downscale(vae: Autoencoder) -> int:
    """Pixels per latent cell and side."""
    channels = vae.config.get("block_out_channels") or vae.config["encoder_block_out_channels"]
    return 2 ** (len(channels) - 1)


def encode(vae: Autoencoder, pictures: Tensor) -> Tensor:
    """The mean of the encoder's law: the same latents every time."""
    parts = [_mean(vae, part) for part in (pictures * 2 - 1).to(vae.dtype).split(CHUNK)]
    return (torch.cat(parts).float() - _shift(vae)) * vae.config["scaling_factor"]


def decode(vae: Autoencoder, latents: Tensor) -> Tensor:
    """Float32 pictures, clipped to [0, 1]. Raises ValueError where the decoder overflows."""
    scaled = (latents / vae.config["scaling_factor"] + _shift(vae)).to(vae.dtype)
    pictures = torch.cat([vae.decode(part).sample.float() for part in scaled.split(CHUNK)])
    if not bool(pictures.isfinite().all()):
        raise ValueError(
            f"the autoencoder's pictures hold NaN or infinity in {vae.dtype}; run it in torch.float32"
        )
    return (pictures / 2 + 0.5).clamp(0, 1)


def _mean(vae: Autoencoder, pictures: Tensor) -> Tensor:
    out = vae.encode(pictures)
    if "latent_dist" in out:
        return out.latent_dist.mode()
    return out.latents if "latents" in out else out.latent


def _shift(vae: Autoencoder) -> float:
    return vae.config.get("shift_factor") or 0.0
