"""The names of Stable Diffusion's original single-file checkpoints, for weights of a diffusers pipeline."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
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
    stem, _, kind = name.rpartition(".")
    if stem in _ENDS:
        return f"{_ENDS[stem]}.{kind}"
    layers = config.layers_per_block
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        part, j, rest = match.groups()
        place = 1 if part == "attentions" else 2 * int(j)
        return f"middle_block.{place}.{_in_resnet(rest)}"
    side, i, part, j, rest = re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name).groups()
    i, j = int(i), int(j)
    if part == "downsamplers":
        return f"input_blocks.{(i + 1) * (layers + 1)}.0.{rest.replace('conv', 'op')}"
    if part == "upsamplers":
        has_attention = "CrossAttn" in config.up_block_types[i]
        return f"output_blocks.{i * (layers + 1) + layers}.{2 if has_attention else 1}.{rest}"
    first = (
        f"input_blocks.{i * (layers + 1) + j + 1}"
        if side == "down"
        else f"output_blocks.{i * (layers + 1) + j}"
    )
    return f"{first}.{int(part == 'attentions')}.{_in_resnet(rest)}"


def _in_resnet(rest: str) -> str:
    head, _, kind = rest.partition(".")
    return f"{_RESNET.get(head, head)}.{kind}"


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
