"""What makes latents of a code, and numbers of latents?"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """Adds nothing at first."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.leaky_relu(self.first(F.leaky_relu(x, 0.2)), 0.2))


class FromCode(nn.Module):
    """Codes (n, width) to latents (n, C, 16, 16)."""

    def __init__(self, code: int, channels: int, widths: tuple[int, int, int] = (96, 64, 48)):
        super().__init__()
        self.first = nn.Linear(code, 16 * widths[0])
        self.up = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.blocks = nn.ModuleList(Block(width) for width in widths)
        self.last = nn.Conv2d(widths[-1], channels, 3, padding=1)

    def forward(self, code: Tensor) -> Tensor:
        x = self.blocks[0](self.first(code).unflatten(1, (-1, 4, 4)))
        for up, block in zip(self.up, list(self.blocks)[1:], strict=True):
            x = block(F.interpolate(up(x), scale_factor=2.0, mode="bilinear"))
        return self.last(F.leaky_relu(x, 0.2))


class ToCode(nn.Module):
    """Latents (n, C, 16, 16) to numbers (n, width)."""

    def __init__(self, width: int, channels: int, widths: tuple[int, int, int] = (48, 64, 96)):
        super().__init__()
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, widths[1:], strict=False))
        self.blocks = nn.ModuleList(Block(each) for each in widths)
        self.last = nn.Linear(16 * widths[-1], width)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.blocks[0](self.first(latents))
        for down, block in zip(self.down, list(self.blocks)[1:], strict=True):
            x = block(F.avg_pool2d(down(x), 2))
        return self.last(F.leaky_relu(x, 0.2).flatten(1))
