"""What network reads maps from a picture's pixels, and has nothing of any base?

A small feed-forward network, trained on rendered scenes alone (`train.objectives.judge`), so that what a base
makes can be looked at by somebody else. It tells planar depth in metres, edges, and how likely each joint and
limb lies in each place. Leaves out what maps of these look like (`eval.protocols.readers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from unicon.conditions.pose import JOINT_NAMES, LIMBS

JUDGE = "judge"
"""Its folder in a base's."""
CONFIG = "config.json"
CONDITIONS = ("depth", "edge", "pose")
NUM_JOINTS, NUM_LIMBS = len(JOINT_NAMES), len(LIMBS)
HEAT_CELL_PX = 2
"""Pixels per cell of the heat of joints and limbs."""
_SHARES = (HEAT_CELL_PX**2, HEAT_CELL_PX**2, NUM_JOINTS, NUM_LIMBS)
"""Channels of the answer: depth and edges of every pixel of a cell, joints and limbs of the cell."""
_USUAL = (1.4, -2.5, -6.5, -5.5)
"""What it answers before it has learnt anything: 4 m, few edges, hardly a joint or limb anywhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the network says about n pictures of H x W pixels."""

    log_depth: Tensor
    """(n, H, W) natural logarithm of planar depth in metres; sky is `FAR_M`."""
    edges: Tensor
    """(n, H, W) logits."""
    joints: Tensor
    """(n, 18, H / 2, W / 2) logits."""
    limbs: Tensor
    """(n, 17, H / 2, W / 2) logits, in the order of `pose.LIMBS`."""


class Judge(ModelMixin, ConfigMixin):
    """A U-Net of residual convolutions, from half of the picture's resolution down."""

    @register_to_config
    def __init__(
        self,
        channels: Sequence[int] = (32, 48, 80, 120),
        blocks: Sequence[int] = (1, 1, 2, 1),
        side_px: int = 128,
    ):
        """`channels` and `blocks` per resolution, from the highest; `side_px` of what it was trained on.

        Raises ValueError unless there are as many of both.
        """
        super().__init__()
        if len(channels) != len(blocks):
            raise ValueError(f"channels {channels} and blocks {blocks} must be equally many, one per level")
        self.stem = nn.Conv2d(3 * HEAT_CELL_PX**2, channels[0], 3, padding=1)
        self.levels = nn.ModuleList(
            nn.Sequential(*(_Block(width) for _ in range(num)))
            for width, num in zip(channels, blocks, strict=True)
        )
        pairs = list(zip(channels, channels[1:], strict=False))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 3, 2, 1) for fine, coarse in pairs)
        self.up = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for fine, coarse in pairs)
        self.joined = nn.ModuleList(_Block(fine) for fine, _ in pairs)
        self.head = nn.Conv2d(channels[0], sum(_SHARES), 1)
        usual = torch.tensor(_USUAL).repeat_interleave(torch.tensor(_SHARES))
        self.head.bias = nn.Parameter(usual)

    @property
    def multiple_px(self) -> int:
        """Sides of pictures are a multiple of this."""
        return HEAT_CELL_PX * 2 ** len(self.down)

    def forward(self, pictures: Tensor) -> Seen:
        """Pictures (n, 3, H, W) in [0, 1]."""
        x, _ = self.features(pictures)
        depth, edges, joints, limbs = self.head(x).float().split(_SHARES, dim=1)
        return Seen(
            log_depth=F.pixel_shuffle(depth, HEAT_CELL_PX)[:, 0],
            edges=F.pixel_shuffle(edges, HEAT_CELL_PX)[:, 0],
            joints=joints,
            limbs=limbs,
        )

    def features(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(n, C, h, w) at the highest resolution, what the answer is read from, and at the lowest."""
        x = self.stem(F.pixel_unshuffle(2 * pictures - 1, HEAT_CELL_PX))
        kept = []
        for level, down in zip(self.levels, self.down, strict=False):
            kept.append(level(x))
            x = down(kept[-1])
        x = lowest = self.levels[-1](x)
        for up, joined, fine in zip(reversed(self.up), reversed(self.joined), reversed(kept), strict=True):
            x = joined(fine + F.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        return x, lowest


class _Block(nn.Module):
    """Adds nothing at first."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.GroupNorm(1, width)
        self.first, self.second = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.silu(self.first(self.norm(x))))


def pooled(*maps: Tensor) -> np.ndarray:
    """(n, C, h, w) each -> (n, twice all channels): means and deviations over the picture, float32."""
    flat = [each.float().flatten(2) for each in maps]
    return torch.cat([part for each in flat for part in (each.mean(2), each.std(2))], dim=1).cpu().numpy()


def load_judge_network(folder: str | Path) -> Judge:
    """From its folder, in float32 and evaluation; ValueError if it is none."""
    config = Path(folder) / CONFIG
    if not config.is_file() or Judge.load_config(str(folder)).get("_class_name") != Judge.__name__:
        raise ValueError(f"{folder} is no judge: its {CONFIG} is missing or another's; give a run's `export`")
    judge = Judge.from_pretrained(str(folder), dtype=torch.float32)
    assert isinstance(judge, Judge)
    return judge.eval()
