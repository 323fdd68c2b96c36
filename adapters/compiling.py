"""What does `torch.compile` have to know of networks with something grafted on them?

diffusers imports its compiler anyway; here are the two of its settings that would make it fail, or forget.
"""

from __future__ import annotations

import torch._dynamo

MOST_SHAPES = 64
"""Compiled versions of one kind of block: one for every width, picture size, and set of branches that run.
torch gives up at 8."""


def allow_shapes() -> None:
    """Let blocks be compiled once more where a call has other branches or guidance halves."""
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, MOST_SHAPES)


def guard_hooks() -> None:
    """Let the compiler tell layers with a hook from others, or blocks of equal shapes would share code in
    which the update of one of them is missing."""
    torch._dynamo.config.skip_nnmodule_hook_guards = False
