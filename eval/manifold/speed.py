"""In which format are products of this machine fastest, when all of them lead to the same result?"""

from __future__ import annotations

import time
from functools import cache

import torch

from eval.manifold.bounds import products

SIDE = 512
WORTHWHILE = 1.5
"""What 8 bits leave open costs time elsewhere, so they must be this many times faster."""


@cache
def fastest_format(device: torch.device) -> torch.dtype:
    """float32, or bfloat16 on processors with units for it; timed once per process, in milliseconds."""
    if device.type != "cpu":
        return torch.float32
    full, half = (_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if full > WORTHWHILE * half else torch.float32


def _seconds(dtype: torch.dtype) -> float:
    """The best of a few products, after one that warms up."""
    matrix = torch.ones(SIDE, SIDE)
    times = []
    with products(dtype):
        for _ in range(5):
            begun = time.perf_counter()
            torch.mm(matrix, matrix)
            times.append(time.perf_counter() - begun)
    return min(times[1:])
