"""Which bases can the pipeline run, and what do they say about sizes?"""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import UNet2DConditionModel

from unicon.latents import Autoencoder, downscale


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseSize:
    """What a base says about sizes."""

    own_px: int
    """Side of the pictures it was trained on."""
    multiple_px: int
    """Sides are a multiple of this: the VAE's factor times the UNet's halvings."""


def base_size(unet: UNet2DConditionModel, vae: Autoencoder) -> BaseSize:
    """The sizes of a base."""
    cells = unet.config["sample_size"]
    own = max(cells) if isinstance(cells, (tuple, list)) else cells
    halvings = len(unet.config["block_out_channels"]) - 1
    return BaseSize(own_px=own * downscale(vae), multiple_px=downscale(vae) * 2**halvings)


def check_base(unet: UNet2DConditionModel, vae: Autoencoder) -> None:
    """ValueError for a UNet that wants more than a prompt, or more channels than latents have."""
    if unet.config["addition_embed_type"] is not None:
        raise ValueError(
            f"this UNet takes {unet.config['addition_embed_type']!r} conditions beside its prompt (as SDXL "
            "does), which this pipeline does not make; use a Stable Diffusion 1.x or 2.x base"
        )
    if unet.config["in_channels"] != vae.config["latent_channels"]:
        raise ValueError(
            f"this UNet takes {unet.config['in_channels']} channels, its VAE makes "
            f"{vae.config['latent_channels']}: use the plain text-to-image checkpoint, not one for "
            "inpainting or depth"
        )
