"""What is the least that reading between branches could cost?

Attention processors that add to the base's self-attention exactly one more attention, with weights of its
own, and nothing else: no layout, no gates, no adapters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor


class OneRead:
    """The base's self-attention, plus one read: queries, attention to ready keys and values, output."""

    def __init__(self, attn: Attention):
        self.original = attn.processor
        self.layers = [deepcopy(layer) for layer in (attn.to_q, attn.to_out[0])]
        self.ready: dict[int, tuple[Tensor, Tensor]] = {}

    def __call__(self, attn: Attention, hidden_states: Tensor, *rest: Any, **named: Any) -> Tensor:
        to_q, to_out = self.layers
        own = self.original(attn, hidden_states, *rest, **named)
        key, value = self.other(attn, hidden_states)
        return own + to_out(attend(to_q(hidden_states), key, value, attn.heads))

    def other(self, attn: Attention, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of one other branch, the same for all items: made once, in the warm-up."""
        tokens = hidden.shape[1]
        if tokens not in self.ready:
            shape = (1, tokens, attn.inner_dim)
            self.ready[tokens] = (torch.randn(shape).to(hidden), torch.randn(shape).to(hidden))
        key, value = (t.expand(len(hidden), -1, -1) for t in self.ready[tokens])
        return key, value


class OneSelfAttention:
    """The base's self-attention twice, with other weights."""

    def __init__(self, attn: Attention):
        self.original = attn.processor
        self.layers = [deepcopy(layer) for layer in (attn.to_q, attn.to_k, attn.to_v, attn.to_out[0])]

    def __call__(self, attn: Attention, hidden_states: Tensor, *rest: Any, **named: Any) -> Tensor:
        to_q, to_k, to_v, to_out = self.layers
        own = self.original(attn, hidden_states, *rest, **named)
        query, key, value = to_q(hidden_states), to_k(hidden_states), to_v(hidden_states)
        return own + to_out(attend(query, key, value, attn.heads))


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention of (item, tokens, inner) tensors."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def with_floor(
    unet: UNet2DConditionModel, floor: Callable[[Attention], OneRead | OneSelfAttention]
) -> dict[str, Any]:
    """The UNet's processors, those of self-attention replaced by a floor."""

    def chosen(name: str, original: Any) -> Any:
        return floor(unet.get_submodule(name.removesuffix(".processor"))) if ".attn1." in name else original

    return {name: chosen(name, original) for name, original in unet.attn_processors.items()}


def floor_bytes(processors: Mapping[str, Any]) -> int:
    """Weights that a floor holds beside the base."""
    floors = [p for p in processors.values() if isinstance(p, (OneRead, OneSelfAttention))]
    return sum(w.nbytes for floor in floors for layer in floor.layers for w in layer.parameters())
