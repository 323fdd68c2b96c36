"""Which base is this: where are its transformer blocks, and is it the one an adapter was built for?

Reads shapes and classes only, never weights, so it works on bases whose weights are on `meta` or sharded.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from diffusers.models.attention import BasicTransformerBlock
from torch import nn

from adapters.config import BaseGeometry, BlockGeometry

_FAMILIES = {768: "stable-diffusion-v1", 1024: "stable-diffusion-v2", 2048: "stable-diffusion-xl-v1-base"}


def bare(unet: nn.Module) -> nn.Module:
    """The UNet inside what DDP, FSDP or `torch.compile` wrapped around it."""
    while "down_blocks" not in unet._modules and len(unet._modules) == 1:
        unet = next(unet.children())
    return unet


def transformer_blocks(unet: nn.Module) -> dict[str, BasicTransformerBlock]:
    """The blocks that joint attention can enter, by path.

    Raises `ValueError` for a base without any, or with blocks that have no self-attention.
    """
    blocks = dict(_blocks(bare(unet), ""))
    if not blocks:
        raise ValueError(
            f"{type(unet).__name__} has no transformer blocks, so there is no self-attention to join: "
            "use a UNet2DConditionModel with CrossAttn blocks (Stable Diffusion 1.x, 2.x, XL, mini)"
        )
    for path, block in blocks.items():
        if block.only_cross_attention:
            raise ValueError(
                f"{path} reads only text (only_cross_attention=True): it has no self-attention to join"
            )
    return blocks


def _blocks(module: nn.Module, prefix: str) -> Iterator[tuple[str, BasicTransformerBlock]]:
    """(path, block) below a module. What blocks hold is not looked at: it is most of a base, and this is
    asked in every step."""
    for name, child in module.named_children():
        if isinstance(child, BasicTransformerBlock):
            yield prefix + name, child
        else:
            yield from _blocks(child, f"{prefix}{name}.")


def geometry(unet: nn.Module) -> BaseGeometry:
    """The fingerprint of a base."""
    blocks = {path: _block_geometry(block) for path, block in transformer_blocks(unet).items()}
    return BaseGeometry(latent_channels=cast(Any, bare(unet)).config.in_channels, blocks=blocks)


def _block_geometry(block: BasicTransformerBlock) -> BlockGeometry:
    attn = block.attn1
    context = 0 if block.attn2 is None else block.attn2.cross_attention_dim
    return BlockGeometry(width=attn.query_dim, inner=attn.inner_dim, heads=attn.heads, context=context)


def family(base: BaseGeometry) -> str:
    """What ModelSpec calls a base of this geometry; "unknown" for one it has no name for.

    Told by the width of text tokens: 768 Stable Diffusion 1.x, 1024 2.x, 2048 XL.
    """
    contexts = {block.context for block in base.blocks.values()}
    return _FAMILIES.get(contexts.pop(), "unknown") if len(contexts) == 1 else "unknown"


def check_base(expected: BaseGeometry, unet: nn.Module, source: str) -> None:
    """Raise `ValueError` saying what differs unless `unet` has the geometry `source` was built for."""
    found = geometry(unet)
    if found != expected:
        raise ValueError(
            f"{source} was built for another base{_families(expected, found)}: "
            f"{_difference(expected, found)}. "
            "Load it on the base family it was trained on, or train one for this base"
        )


def _families(expected: BaseGeometry, found: BaseGeometry) -> str:
    there, here = family(expected), family(found)
    return f" ({there}, this one is {here})" if there != here else ""


def _difference(expected: BaseGeometry, found: BaseGeometry) -> str:
    if expected.latent_channels != found.latent_channels:
        return f"its latents have {expected.latent_channels} channels, this base's {found.latent_channels}"
    if lacking := sorted(expected.blocks.keys() ^ found.blocks.keys()):
        where = "only the adapter" if lacking[0] in expected.blocks else "only this base"
        return f"{len(lacking)} blocks do not match, first {lacking[0]} ({where} has it)"
    path = next(path for path, block in expected.blocks.items() if found.blocks[path] != block)
    return f"{path} is {expected.blocks[path]} there and {found.blocks[path]} here"
