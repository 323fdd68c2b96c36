"""The names of Stable Diffusion's original single-file checkpoints, for weights of a diffusers pipeline."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from adapters.original_names import original_name

_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_checkpoint(pipe: Any) -> dict[str, Tensor]:
    """Every tensor of UNet, autoencoder and text encoders under its original name: of Stable Diffusion 1 with
    one text encoder, of XL with two."""
    unet = {_of_unet(name, pipe.unet.config): t for name, t in pipe.unet.state_dict().items()}
    vae = dict(_of_vae(name, t, pipe.vae.config) for name, t in pipe.vae.state_dict().items())
    second = getattr(pipe, "text_encoder_2", None)
    place = "cond_stage_model" if second is None else "conditioner.embedders.0"
    text = pipe.text_encoder.state_dict()
    prefix = "" if next(iter(text)).startswith("text_model.") else "text_model."
    return {
        **{f"model.diffusion_model.{name}": t for name, t in unet.items()},
        **{f"first_stage_model.{name}": t for name, t in vae.items()},
        **{f"{place}.transformer.{prefix}{name}": t for name, t in text.items()},
        **({} if second is None else _of_open_clip(second.state_dict())),
    }


def _of_open_clip(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """XL's second text encoder: OpenCLIP's names, with queries, keys and values in one matrix."""
    found = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("text_model.")
        if ".self_attn." in name and ".out_proj." not in name:
            layer, _, rest = name.partition(".self_attn.")
            parts = [tensors[f"text_model.{layer}.self_attn.{w}_proj.{rest.split('.')[1]}"] for w in "qkv"]
            layer = layer.removeprefix("encoder.layers.")
            found[f"transformer.resblocks.{layer}.attn.in_proj_{rest.split('.')[1]}"] = torch.cat(parts)
        elif name.startswith("encoder.layers."):
            layer, _, rest = name.removeprefix("encoder.layers.").partition(".")
            rest = rest.replace("self_attn", "attn").replace("layer_norm", "ln_")
            found[f"transformer.resblocks.{layer}.{rest.replace('fc1', 'c_fc').replace('fc2', 'c_proj')}"] = (
                tensor
            )
        elif name == "text_projection.weight":
            found["text_projection"] = tensor.T
        elif not name.endswith("position_ids"):
            found[_OPEN_CLIP[name]] = tensor
    return {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in found.items()}


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
