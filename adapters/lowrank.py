"""What is trained: low-rank updates of a frozen attention, and projections that start at zero.

Shapes are those of `torch.nn.functional.linear`: (..., channels). Where the results go is for `joint.py`.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapters.config import BlockGeometry
from adapters.positions import Places


class LowRank(nn.Module):
    """x -> up @ down @ x (Hu et al. 2021, eq. 3, with alpha = rank). `up` starts at zero."""

    def __init__(self, width_in: int, width_out: int, rank: int, device: torch.device | None = None):
        super().__init__()
        self.down = nn.Parameter(torch.zeros(rank, width_in, device=device))
        self.up = nn.Parameter(torch.zeros(width_out, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        # A float32 update on a half-precision base computes in float32 unless autocast decides otherwise.
        return F.linear(F.linear(x.to(self.down.dtype), self.down), self.up).to(x.dtype)

    def matrix(self) -> Tensor:
        """The update as one (width_out, width_in) matrix in float32."""
        return self.up.float() @ self.down.float()


class AttentionUpdate(nn.Module):
    """Updates of the four matrices of one attention, on behalf of one branch."""

    def __init__(self, width: int, inner: int, context: int, rank: int, device: torch.device | None = None):
        super().__init__()
        self.q = LowRank(width, inner, rank, device)
        self.k = LowRank(context, inner, rank, device)
        self.v = LowRank(context, inner, rank, device)
        self.out = LowRank(inner, width, rank, device)


class ZeroGain(nn.Module):
    """x -> gain * x + up @ down @ x, all zero at the start: a light stand-in for a C x C matrix."""

    def __init__(self, width: int, rank: int, device: torch.device | None = None):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(width, device=device))
        self.rest = LowRank(width, width, rank, device)

    def forward(self, x: Tensor) -> Tensor:
        return (self.gain * x).to(x.dtype) + self.rest(x)

    def matrix(self) -> Tensor:
        return torch.diag(self.gain.float()) + self.rest.matrix()


class BranchProjection(nn.Module):
    """One light projection per branch: what one branch receives does not depend on what the other read."""

    def __init__(self, width: int, rank: int, device: torch.device | None = None):
        super().__init__()
        self.image = ZeroGain(width, rank, device)
        self.condition = ZeroGain(width, rank, device)

    def forward(self, image: Tensor | None, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        return (
            None if image is None else self.image(image),
            None if condition is None else self.condition(condition),
        )


class SharedProjection(nn.Module):
    """One C x C matrix for both branches (published: `conv`)."""

    def __init__(self, width: int, device: torch.device | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, width, device=device))

    def forward(self, image: Tensor | None, condition: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        image, condition = (
            None if x is None else F.linear(x.to(self.weight.dtype), self.weight).to(x.dtype)
            for x in (image, condition)
        )
        return image, condition


class FusedProjection(nn.Module):
    """One 2C x 2C matrix over [image, condition] (published: `conv_fuse`). Needs both reads."""

    def __init__(self, width: int, device: torch.device | None = None):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2 * width, 2 * width, device=device))

    def forward(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([image, condition], dim=-1)
        image, condition = F.linear(both.to(self.weight.dtype), self.weight).to(both.dtype).chunk(2, dim=-1)
        return image, condition


class SelfAttentionAdapter(nn.Module):
    """An adapter's part in one self-attention.

    `image` updates all image tokens in joint reading and `condition` all condition tokens, as query, key,
    value and output alike (published: xy_lora, yx_lora); `own` is the condition branch's self-attention
    (y_lora). Joint reading is absent (None) in skipped blocks.
    """

    def __init__(
        self,
        block: BlockGeometry,
        *,
        rank: int,
        projection: str | None,
        own: bool,
        pool_keys: int,
        places: bool = False,
        device: torch.device | None = None,
    ):
        super().__init__()
        self.pool_keys = pool_keys
        width, inner = block.width, block.inner
        sizes = (width, inner, width, rank, device)
        self.image = AttentionUpdate(*sizes) if projection else None
        self.condition = AttentionUpdate(*sizes) if projection else None
        self.own = AttentionUpdate(*sizes) if own else None
        self.projection = _projection(projection, width, rank, device)
        self.places = Places(block.heads, device) if projection and places else None
        """Positions in queries and keys of reads."""

    @property
    def reads(self) -> bool:
        """Whether branches read each other in this block."""
        return self.projection is not None

    def side(self, is_image: bool) -> AttentionUpdate:
        """The update of all image tokens, or of all condition tokens, in reads."""
        update = self.image if is_image else self.condition
        assert update is not None, "skipped blocks do not read"
        return update

    def output(
        self, attn: nn.Module, image: Tensor | None, condition: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """What each branch receives for what its queries found, (..., inner) -> (..., width); None stays."""
        assert self.projection is not None, "skipped blocks do not read"
        to_out = cast(nn.ModuleList, attn.to_out)[0]
        image = None if image is None else to_out(image) + self.side(is_image=True).out(image)
        condition = (
            None if condition is None else to_out(condition) + self.side(is_image=False).out(condition)
        )
        return self.projection(image, condition)


def _projection(kind: str | None, width: int, rank: int, device: torch.device | None) -> nn.Module | None:
    if kind == "branch":
        return BranchProjection(width, rank, device)
    if kind == "shared":
        return SharedProjection(width, device)
    return FusedProjection(width, device) if kind == "fused" else None
