"""Which bases can the pipeline run, and what do they say about sizes?"""

from __future__ import annotations

from dataclasses import dataclass

from diffusers import UNet2DConditionModel
from transformers import CLIPTextModelWithProjection

from adapters.texts import pooled_width, wants_pooled
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


def check_base(
    unet: UNet2DConditionModel, vae: Autoencoder, text_encoder_2: CLIPTextModelWithProjection | None = None
) -> None:
    """ValueError for a UNet that is told more than its text encoders make, or has more channels than
    latents."""
    added = unet.config["addition_embed_type"]
    if added not in (None, "text_time"):
        raise ValueError(
            f"this UNet takes {added!r} conditions beside its prompt, which this pipeline does not make; use "
            "a Stable Diffusion 1.x, 2.x or XL base"
        )
    made = None if text_encoder_2 is None else text_encoder_2.config.projection_dim
    wanted = pooled_width(unet) if wants_pooled(unet) else None
    if made != wanted:
        raise ValueError(
            f"this UNet is told {wanted or 'no'} pooled numbers beside its prompt, its second text encoder "
            f"makes {made or 'none'}: load a whole base (SDXL's refiner is none)"
        )
    if unet.config["in_channels"] != vae.config["latent_channels"]:
        raise ValueError(
            f"this UNet takes {unet.config['in_channels']} channels, its VAE makes "
            f"{vae.config['latent_channels']}: use the plain text-to-image checkpoint, not one for "
            "inpainting or depth"
        )
