"""Where does a token lie, as a feature that queries and keys can carry?

A large base attends to the place it looks from by itself; a small one hardly does, and an adapter would spend
its first thousands of steps on finding the place in the other branch that is its own. So a read may add the
sinusoids of Vaswani et al. 2017 (section 3.5), over both axes, to its queries and keys.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_SLOWEST = 64
"""Tokens of half a period of the lowest frequency; the highest has one."""


class Places(nn.Module):
    """Adds positions to queries or keys (..., tokens, inner), with one learnt weight per head."""

    def __init__(self, heads: int, device: torch.device | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(heads, device=device))

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """`positions` (tokens, inner / heads) are those of `sinusoids`."""
        weighted = self.weight.to(tokens.dtype)[:, None] * positions.to(tokens.dtype)[:, None]
        return tokens + weighted.flatten(1)


def starting_weight(locality: float) -> float:
    """The weight with which a token's own place gets `locality` nats more than one far away."""
    return locality**0.5


def sinusoids(num_tokens: int, latent_size: tuple[int, int], width: int, like: Tensor) -> Tensor:
    """Positions of a block's tokens, (num_tokens, width), with the dtype and on the device of `like`.

    `latent_size` (height, width) and the number of tokens say by how much the block is coarser than the
    latents; a token's place counts in its own block's tokens. The product of a position with itself, divided
    by the square root of `width` as attention does, is 1; with others it is less.
    """
    height, columns = _grid(num_tokens, latent_size)
    num = width // 4
    exponents = torch.arange(num, device=like.device) / max(num - 1, 1)
    frequencies = math.pi * _SLOWEST**-exponents
    y = torch.arange(height, device=like.device)[:, None] * frequencies
    x = torch.arange(columns, device=like.device)[:, None] * frequencies
    rows = torch.cat([y.sin(), y.cos()], dim=1)[:, None].expand(-1, columns, -1)
    across = torch.cat([x.sin(), x.cos()], dim=1)[None].expand(height, -1, -1)
    places = torch.cat([rows, across], dim=2).flatten(0, 1) * (width**0.5 / (2 * num)) ** 0.5
    return torch.nn.functional.pad(places, (0, width - 4 * num)).to(like.dtype)


def _grid(num_tokens: int, latent_size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a block's tokens; every coarser resolution halves both, rounded up."""
    height, width = latent_size
    while height * width > num_tokens:
        height, width = -(-height // 2), -(-width // 2)
    return height, width
