"""Tiny real UNets of the geometries the adapters must fit, and batches for them."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from adapters import AdapterConfig, JointAdapter, Pair, joint_forward

FIXTURES = Path(__file__).parent.parent / "fixtures" / "official_unicon"
SIZE = 8
POOLED = 7
"""Width of the pooled text embeddings of SDXL-like UNets."""
PAIR = (Pair(image=0, condition=1, adapter="depth"),)


def tiny_unet(**changes: object) -> UNet2DConditionModel:
    """Two resolutions, three transformer blocks, 4-channel 8x8 latents, text width 12."""
    torch.manual_seed(0)
    config = {
        "sample_size": SIZE,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 12,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**{**config, **changes}).eval()


def short_unet() -> UNet2DConditionModel:
    """Attention at both resolutions but none on the way up: a compiler's time goes with their number."""
    return tiny_unet(up_block_types=("UpBlock2D", "UpBlock2D"))


def sdxl_like_unet() -> UNet2DConditionModel:
    """Several transformer layers per block, linear projections, heads of a fixed width, added conditions."""
    return tiny_unet(
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + POOLED,
    )


def config(**changes: object) -> AdapterConfig:
    return AdapterConfig(**{"condition": "depth", "rank": 2, **changes})


def trained(
    unet: UNet2DConditionModel, adapter_config: AdapterConfig | None = None, seed: int = 1
) -> JointAdapter:
    """An adapter none of whose tensors is zero, as after training."""
    adapter = JointAdapter.for_unet(unet, adapter_config or config(), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _, tensor in adapter.tensors():
        tensor.data.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return adapter.requires_grad_(False)


def batch(items: int, *, seed: int = 0, size: int = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, one timestep per item, text."""
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn(items, 4, size, size, generator=generator)
    timestep = torch.randint(0, 1000, (items,), generator=generator)
    return sample, timestep, torch.randn(items, 5, 12, generator=generator)


def plain(unet: UNet2DConditionModel, items: int = 2) -> Tensor:
    """The UNet's own call on `batch(items)`; an SDXL-like one takes the last row of text as pooled."""
    sample, timestep, text = batch(items)
    if unet.config.addition_embed_type is None:
        return unet(sample, timestep, text).sample
    side = 8.0 * SIZE
    sizes = torch.tensor([side, side, 0, 0, side, side]).repeat(items, 1)
    added = {"text_embeds": text[:, -1, :POOLED], "time_ids": sizes}
    return unet(sample, timestep, text[:, :-1], added_cond_kwargs=added).sample


def two_way(unet: torch.nn.Module, *, items: int = 2, **changes: object) -> Tensor:
    """One pair of branches, run two-way."""
    return joint_forward(unet, *batch(items), **{"pairs": PAIR, "num_branches": 2, **changes})
