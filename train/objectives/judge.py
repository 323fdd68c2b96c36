"""How does the judge learn to read depth, edges and poses from pixels?

From rendered scenes and their exact truth, all three at once. Its pictures are tinted, blurred and made
noisy, because what it is for are generated pictures, which are softer and stranger than rendered ones; no
base and no compressor has a part in it.

Depth is learnt twice, but for a factor per picture, which counts little: in logarithms, where a near error
counts as much as a far one, and as a depth map draws it, in shares of the picture's own range.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from eval.judge import HEAT_CELL_PX, Judge, Seen
from train.objectives.base import Draws, Objective
from train.shards import open_shards
from unicon.conditions.palettes import FAR_QUANTILE, NEAR_QUANTILE
from unicon.conditions.pose_heat import heat_of
from unicon.conditions.pose_sides import mirror_joints
from unicon.data.scenes import FAR_M
from unicon.ranges import SHARE


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeConfig:
    """The judge's geometry, its data and what is done to its pictures."""

    channels: tuple[int, ...] = (32, 48, 80, 120)
    """Per resolution, from half of the picture's on."""
    blocks: tuple[int, ...] = (1, 1, 2, 1)
    """Residual blocks per resolution on the way down; one each on the way up."""
    posed_share: float = 0.4
    """Share of the scenes that are exchanged for one with a figure; a third of the others have one anyway."""
    blurred: float = 0.5
    """Share of pictures that are blurred, by deviations of 0 to `most_blur_px`."""
    most_blur_px: float = 1.5
    """Deviation of the strongest blur, pixels; at most 2, beyond which its filter is cut off."""
    noisy: float = 0.5
    """Share of pictures with noise, of deviations of 0 to `most_noise`."""
    most_noise: float = 0.08
    """Deviation of the strongest noise, in shares of a picture's range."""
    tint: float = 0.15
    """Deviation of the logarithm of each channel's gain, and of that of the exponent; a third of it is
    added."""
    edge_weight: float = 2.0
    """Weight of the error of edges beside that of depth."""
    pose_weight: float = 30.0
    """Weight of the error of poses: high, because most cells hold no joint."""
    scenes: str = "scenes"
    """Folder of rendered scenes, below the family's."""
    num_scenes: int = 8192
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def __post_init__(self):
        SHARE.check_fields(self, "posed_share", "blurred", "noisy")

    def build(self, folder: Path) -> JudgeObjective:
        """The objective, with its data below the family's folder."""
        return JudgeObjective(self, folder)


class JudgeObjective(Objective):
    """Read all maps from changed pictures."""

    def __init__(self, config: JudgeConfig, folder: Path):
        super().__init__()
        self.config = config
        self.scenes = open_shards(folder / config.scenes, config.num_scenes)
        self.side_px = self.scenes.arrays["image"][0].shape[1]
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        self.judge = Judge(channels=config.channels, blocks=config.blocks, side_px=self.side_px)
        # Convolutions as wide as pictures are faster on a CPU this way.
        cast(Any, self.judge).to(memory_format=torch.channels_last)

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        num = len(items)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(num, *shape, generator=generator)

        return Draws(
            posed=uniform(), flip=uniform(), blurred=uniform(), blur=uniform(), noisy=uniform(),
            noise_level=uniform(), tint=torch.randn(num, 7, generator=generator),
            noise=torch.randn(num, 3, self.side_px, self.side_px, generator=generator),
        )  # fmt: skip

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        items, config = np.asarray(items), self.config
        chosen = draws["posed"].numpy() < config.posed_share
        items = np.where(chosen, self.scenes.posed_for(items), items)
        flip = draws["flip"] < 0.5
        pictures = _mirrored(self._rows("image", items).movedim(-1, 1) / 255, flip)
        with torch.autocast("cpu", enabled=False):  # blur would round pictures to 8 bits and less
            pictures = changed(pictures, draws, config).to(self.device)
        seen = self.judge(pictures.contiguous(memory_format=torch.channels_last))
        metres = _mirrored(self._rows("metres", items), flip).to(self.device)
        edges = _mirrored(self._rows("edge", items) / 255, flip).to(self.device)
        joints, limbs = (heat.to(self.device) for heat in self._heat(items, flip.tolist()))
        depth = depth_error(seen, metres)
        edge = _crossed(seen.edges, edges)
        pose = _crossed(seen.joints, joints) + _crossed(seen.limbs, limbs)
        loss = depth + config.edge_weight * edge + config.pose_weight * pose
        return loss, {"depth": depth, "edge": edge, "pose": pose}

    def _rows(self, name: str, items: np.ndarray) -> Tensor:
        return torch.from_numpy(self.scenes.gather(name, items).astype(np.float32))

    def _heat(self, items: np.ndarray, flips: list[bool]) -> tuple[Tensor, Tensor]:
        """Of joints (n, 18, h, w) and limbs (n, 17, h, w)."""
        side = self.side_px // HEAT_CELL_PX
        found = []
        for item, flip in zip(items, flips, strict=True):
            people = self.scenes.row("joints", item)
            people = people[np.isfinite(people[:, 0, 0])]
            if flip:
                people = np.array([mirror_joints(person, self.side_px) for person in people])
            people = people.reshape(-1, 18, 3).astype(np.float32)
            people[..., :2] = (people[..., :2] + 0.5) / HEAT_CELL_PX - 0.5
            found.append(heat_of(people, (side, side)))
        joints, limbs = (torch.from_numpy(np.stack(each)) for each in zip(*found, strict=True))
        return joints, limbs

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Write the judge in half precision, as `eval.judge.load_judge_network` reads it."""
        half = Judge.from_config(self.judge.config)
        half.load_state_dict(self.judge.state_dict())
        half.half().save_pretrained(folder)


def changed(pictures: Tensor, draws: Draws, config: JudgeConfig) -> Tensor:
    """Pictures (n, 3, H, W) in [0, 1], tinted, some blurred, some noisy; clipped to [0, 1]."""
    tint = config.tint * draws["tint"][..., None, None]
    pictures = tint[:, :3].exp() * pictures.clamp(min=1e-4) ** tint[:, 3:4].exp()
    pictures = pictures + tint[:, 4:] / 3
    blur = torch.where(draws["blurred"] < config.blurred, config.most_blur_px * draws["blur"], 0.0)
    level = torch.where(draws["noisy"] < config.noisy, config.most_noise * draws["noise_level"], 0.0)
    return (blurred(pictures, blur) + level[:, None, None, None] * draws["noise"]).clamp(0, 1)


def blurred(pictures: Tensor, deviations_px: Tensor) -> Tensor:
    """Pictures (n, C, H, W), each by a Gaussian of its own deviation (n,), 0 for none; up to 2 px."""
    reach = 5
    place = torch.arange(-reach, reach + 1, dtype=pictures.dtype, device=pictures.device)
    kernels = torch.exp(-0.5 * (place / deviations_px.clamp(min=1e-3)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(pictures.shape[1], 0)[:, None]
    flat = F.pad(pictures.flatten(0, 1)[None], (reach,) * 4, mode="replicate")
    flat = F.conv2d(flat, kernels[:, :, None, :], groups=len(kernels))
    return F.conv2d(flat, kernels[:, :, :, None], groups=len(kernels))[0].view_as(pictures)


def depth_error(seen: Seen, metres: Tensor) -> Tensor:
    """Per picture (n,). Sky counts a little: that it is far says where surfaces end."""
    surface = (metres < FAR_M).float()
    off = seen.log_depth - metres.clamp(min=0.05, max=FAR_M).log()
    factor = _mean(off, surface)[:, None, None]
    log = _mean((off - factor).abs(), surface) + 0.3 * factor[:, 0, 0].abs()
    sky = (off.abs() * (1 - surface)).mean(dim=(1, 2))
    ends = metres.new_tensor([NEAR_QUANTILE, FAR_QUANTILE])
    # Of every fourth pixel: sorting all took a tenth of a step.
    near, far = metres[:, ::2, ::2].flatten(1).quantile(ends, dim=1)[..., None, None]
    drawn = [1 - ((m - near) / (far - near).clamp(min=1e-3)).clamp(-0.5, 1.5)
             for m in ((seen.log_depth - factor).clamp(max=4).exp(), metres)]  # fmt: skip
    steps = sum((drawn[0].diff(dim=d) - drawn[1].diff(dim=d)).abs().mean(dim=(1, 2)) for d in (-1, -2))
    return log + 0.3 * sky + 2 * (drawn[0] - drawn[1]).abs().mean(dim=(1, 2)) + steps


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=1)


def _crossed(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy per picture (n,)."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).mean(1)


def _mirrored(values: Tensor, flip: Tensor) -> Tensor:
    """Those of `flip` (n,) from right to left."""
    return torch.where(flip.view(-1, *[1] * (values.ndim - 1)), values.flip(-1), values)
