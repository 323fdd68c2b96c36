"""The names of Stable Diffusion's original single-file checkpoints, for weights of a diffusers pipeline."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from adapters.original_names import original_name

_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_checkpoint(pipe: Any) -> dict[str, Tensor]:
    """Every tensor of UNet, autoencoder and text encoder under its original name."""
    unet = {_of_unet(name, pipe.unet.config): t for name, t in pipe.unet.state_dict().items()}
    vae = dict(_of_vae(name, t, pipe.vae.config) for name, t in pipe.vae.state_dict().items())
    text = pipe.text_encoder.state_dict()
    prefix = "" if next(iter(text)).startswith("text_model.") else "text_model."
    return {
        **{f"model.diffusion_model.{name}": t for name, t in unet.items()},
        **{f"first_stage_model.{name}": t for name, t in vae.items()},
        **{f"cond_stage_model.transformer.{prefix}{name}": t for name, t in text.items()},
    }


def _of_unet(name: str, config: Any) -> str:
    path, _, kind = name.rpartition(".")
    return f"{original_name(path, config)}.{kind}"


def _of_vae(name: str, tensor: Tensor, config: Any) -> tuple[str, Tensor]:
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    last = len(config.block_out_channels) - 1
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{last - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{last - int(m[1])}.upsample", name)
    if ".attentions.0." in name:
        for theirs, original in _ATTENTION.items():
            name = name.replace(f"mid_block.attentions.0.{theirs}.", f"mid.attn_1.{original}.")
        if tensor.ndim == 2:
            tensor = tensor[:, :, None, None]
    return name, tensor
