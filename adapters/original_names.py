"""What do Stable Diffusion's authors call a layer of the UNet that diffusers calls otherwise?

Their checkpoints count a block's parts through all resolutions; kohya's LoRAs for SDXL are named after them.
"""

from __future__ import annotations

import re
from typing import Any

_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
_PATH = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)")


def original_name(path: str, config: Any) -> str:
    """The original name of the layer at a path of a UNet with this config; other paths stay."""
    if path in _ENDS:
        return _ENDS[path]
    if match := _MIDDLE.fullmatch(path):
        part, number, rest = match.groups()
        return f"middle_block.{1 if part == 'attentions' else 2 * int(number)}.{_RESNET.get(rest, rest)}"
    if not (match := _PATH.fullmatch(path)):
        return path
    side, block, part, number, rest = match.groups()
    parts = config.layers_per_block + 1
    place = int(block) * parts + int(number)
    if part == "downsamplers":
        return f"input_blocks.{(int(block) + 1) * parts}.0.{rest.replace('conv', 'op')}"
    if part == "upsamplers":
        has_attention = "CrossAttn" in config.up_block_types[int(block)]
        return f"output_blocks.{int(block) * parts + parts - 1}.{2 if has_attention else 1}.{rest}"
    whole = f"input_blocks.{place + 1}" if side == "down" else f"output_blocks.{place}"
    return f"{whole}.{int(part == 'attentions')}.{_RESNET.get(rest, rest)}"
