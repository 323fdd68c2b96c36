"""Which parts of a network does `torch.compile` take in training?

The blocks a UNet is made of, one by one: nearly all of its arithmetic. Compiling the whole network took
longer and made slower steps (`docs/log.md`).
"""

from __future__ import annotations

from torch import nn

BLOCKS = ("BasicTransformerBlock", "ResnetBlock2D")
_MOST_SHAPES = 64
"""Compiled versions of one kind of block: one for every width and picture size. torch gives up at 8."""


def compile_blocks(model: nn.Module, backend: str = "inductor") -> int:
    """Compile every block of `model` in place; names of parameters stay. Returns how many there are."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, _MOST_SHAPES)
    blocks = [module for module in model.modules() if type(module).__name__ in BLOCKS]
    for block in blocks:
        block.compile(backend=backend)
    return len(blocks)
