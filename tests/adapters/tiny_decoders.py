"""Small decoder adapters, what they are told, and the network under them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from adapters import ClipIdentity, DecoderAdapter, DecoderConfig, Likeness, joint_forward
from tests.adapters import tiny

CLIP = ClipIdentity(name="ViT-tiny/8", width=6, weights=(0.5, -0.25))
CONFIG = DecoderConfig(clip=CLIP, num_tokens=3, token_width=8)


def trained(unet: torch.nn.Module, config: DecoderConfig = CONFIG, seed: int = 5) -> DecoderAdapter:
    """One none of whose tensors is zero."""
    decoder = DecoderAdapter.for_unet(unet, config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for tensor in decoder.parameters():
        tensor.data.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    decoder.set_statistics(torch.full((6,), 0.1), torch.full((6,), 0.5))
    return decoder.requires_grad_(False)


def likeness(samples: int, guidance: int = 1, **changes: object) -> Likeness:
    z = torch.randn(samples, 6, generator=torch.Generator().manual_seed(9)).expand(guidance, -1, -1)
    level = torch.zeros(guidance, samples)
    return replace(Likeness(z=z, noise_level=level, given=torch.ones(guidance, samples).bool()), **changes)


def told(unet: torch.nn.Module, like: Likeness | None, items: int = 4, **changes: object) -> Tensor:
    """Every item an image of its own."""
    return joint_forward(
        unet, *tiny.batch(items), likeness=like, **{"pairs": (), "num_branches": 1, **changes}
    )
