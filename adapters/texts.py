"""How does one tensor hold all that a base is told by a prompt?

Token embeddings (tokens, width); behind them, for a base with size and pooled-text conditions (SDXL), one row
more that begins with the pooled embedding. So caches, dropped captions, guidance halves and batches carry
both without knowing of it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapters.base import bare

PIXELS_PER_CELL = 8
"""Of SDXL's autoencoders: its UNet is told the picture's size in pixels."""
SIZES = 6
"""Numbers it is told: height and width as photographed, upper left corner of the crop, and as drawn."""


def with_pooled(hidden: Tensor, pooled: Tensor) -> Tensor:
    """Token embeddings (n, tokens, width) and pooled ones (n, at most width) as (n, tokens + 1, width)."""
    room = hidden.shape[-1] - pooled.shape[-1]
    if room < 0:
        raise ValueError(f"pooled embeddings of {pooled.shape[-1]} do not fit rows of {hidden.shape[-1]}")
    return torch.cat([hidden, F.pad(pooled, (0, room))[:, None]], dim=1)


def wants_pooled(unet: nn.Module) -> bool:
    """Whether a base is told a pooled embedding and sizes beside its tokens."""
    return _config(unet).addition_embed_type == "text_time"


def pooled_width(unet: nn.Module) -> int:
    """Numbers of the pooled embedding it wants, if it is told six sizes."""
    config = _config(unet)
    return config.projection_class_embeddings_input_dim - SIZES * config.addition_time_embed_dim


def told(unet: nn.Module, text: Tensor, sample: Tensor) -> dict[str, Any]:
    """The UNet's arguments for text (item, rows, width) and latents (item, C, h, w)."""
    if not wants_pooled(unet):
        return {"encoder_hidden_states": text}
    height, width = (PIXELS_PER_CELL * side for side in sample.shape[-2:])
    sizes = _sizes(height, width, text.device, text.dtype).expand(len(text), SIZES)
    added = {"text_embeds": text[:, -1, : pooled_width(unet)], "time_ids": sizes}
    return {"encoder_hidden_states": text[:, :-1], "added_cond_kwargs": added}


@lru_cache(maxsize=16)
def _sizes(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(1, 6), brought to the device once."""
    with torch.inference_mode(False):
        return torch.tensor([[height, width, 0, 0, height, width]], device=device, dtype=dtype)


def _config(unet: nn.Module) -> Any:
    return cast(Any, bare(unet)).config
