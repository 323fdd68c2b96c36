"""How do pictures become latents and come back?

Pictures are (n, 3, H, W) in [0, 1]; latents (n, C, h, w), float32, scaled as the UNet wants them.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTinyOutput
from torch import Tensor

CHUNK = 16
"""Pictures that go through the autoencoder at once."""

Autoencoder = AutoencoderKL | AutoencoderTiny


def downscale(vae: Autoencoder) -> int:
    """Pixels per latent cell and side."""
    return 2 ** (len(vae.config["block_out_channels"]) - 1)


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
    return out.latents if isinstance(out, AutoencoderTinyOutput) else out.latent_dist.mode()


def _shift(vae: Autoencoder) -> float:
    return vae.config.get("shift_factor") or 0.0
