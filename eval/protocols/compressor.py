"""How do pictures pass through a base's VAE, outside of a pipeline's call?

Leaves out how well they survive it (`eval.protocols.vae`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor


def as_batch(pictures: np.ndarray) -> Tensor:
    """(n, H, W, 3), uint8 or floats in [0, 1] -> float32 (n, 3, H, W) in [0, 1]."""
    tensor = torch.from_numpy(np.ascontiguousarray(pictures)).movedim(-1, 1)
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor.float()


def as_array(pictures: Tensor) -> np.ndarray:
    """(n, 3, H, W) -> float32 (n, H, W, 3) on the CPU."""
    return pictures.float().movedim(1, -1).cpu().numpy()


@torch.no_grad()
def to_latents(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """(n, 3, H, W) in [0, 1] -> the mode of the latents as the UNet gets them, float32 (n, C, h, w)."""
    mode = vae.encode((pictures * 2 - 1).to(vae.device, vae.dtype)).latent_dist.mode().float()
    return (mode - (vae.config.shift_factor or 0.0)) * vae.config.scaling_factor


@torch.no_grad()
def from_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """The inverse of `to_latents`: (n, 3, H, W) in [0, 1], clipped."""
    scaled = latents / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
    return (vae.decode(scaled.to(vae.dtype)).sample.float() / 2 + 0.5).clamp(0, 1)


def downscale(vae: AutoencoderKL) -> int:
    """Pixels per side of one latent cell."""
    return 2 ** (len(vae.config.block_out_channels) - 1)


def load_vae(folder: str | Path, device: torch.device) -> AutoencoderKL:
    """The VAE of "mini", of a base folder (its `vae/`), or in a folder of its own; float32, for evaluation.

    Raises ValueError when the folder holds neither.
    """
    from unicon.mini import mini_folder

    path = mini_folder() if str(folder) == "mini" else Path(folder)
    for place in (path / "vae", path):
        if (place / "config.json").is_file():
            vae = AutoencoderKL.from_pretrained(place).eval()
            # diffusers' `to` is wrapped in a way that hides its own first argument from type checkers.
            torch.nn.Module.to(vae, device)
            return vae
    raise ValueError(f"{path} holds no VAE: expected vae/config.json (a base) or config.json (a VAE alone)")
