"""Which parts of a network does `torch.compile` take in training?

The blocks a UNet is made of, one by one: nearly all of its arithmetic. Compiling the whole network took
longer and made slower steps (`docs/log.md`).
"""

from __future__ import annotations

from torch import nn

from adapters.compiling import allow_shapes

BLOCKS = ("BasicTransformerBlock", "ResnetBlock2D")


def compile_blocks(model: nn.Module, backend: str = "inductor") -> int:
    """Compile every block of `model` in place; names of parameters stay. Returns how many there are."""
    allow_shapes()
    blocks = [module for module in model.modules() if type(module).__name__ in BLOCKS]
    for block in blocks:
        block.compile(backend=backend)
    return len(blocks)
