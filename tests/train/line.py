"""Something small to train: a line through noisy points, and how its runs are made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from train.checkpoint import Checkpoint, read_checkpoint, whole_checkpoints
from train.config import LoopConfig, RunConfig
from train.loop import fit
from train.objectives.base import Draws, Objective


@dataclass(frozen=True, kw_only=True, slots=True)
class LineConfig:
    slope: float = 2.0
    name: str = "line"


class Line(Objective):
    """Learn y = slope * x + 1 from noisy points: small, but with data order, draws and two tensors."""

    def __init__(self, config: LineConfig):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 1)
        self.frozen = torch.nn.Linear(3, 3).requires_grad_(False)
        self.config = config
        self.points = torch.randn(37, 3)

    @property
    def num_items(self) -> int:
        return len(self.points)

    def draw(self, generator, items):
        return Draws(noise=torch.randn(len(items), generator=generator))

    def forward(self, items, draws):
        x = self.points[items]
        target = self.config.slope * x.sum(1) + 1 + 0.1 * draws["noise"]
        loss = (self.layer(x)[:, 0] - target).square()
        return loss, {"twice": 2 * loss}

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.layer.state_dict(), folder / "layer.pt")


class Wide(Line):
    """The same with a matrix that is large enough for Muon."""

    def __init__(self, config: LineConfig):
        super().__init__(config)
        self.wide = torch.nn.Linear(16, 16)
        self.layer = torch.nn.Linear(16, 1)
        self.points = torch.randn(37, 16)

    def forward(self, items, draws):
        x = self.points[items]
        error = self.layer(self.wide(x).tanh())[:, 0] - self.config.slope * x[:, 0]
        return error.square(), {}


def config(**loop) -> RunConfig:
    defaults = dict(  # noqa: C408
        steps=12, batch_size=8, warmup_steps=2, checkpoint_every=4, log_every=3, mixed_precision="no"
    )
    return RunConfig(name="line", objective=LineConfig(), loop=LoopConfig(**{**defaults, **loop}))


def train(
    folder: Path, run: RunConfig | None = None, seconds: float = float("inf")
) -> dict[str, torch.Tensor]:
    fit(Line(LineConfig()), run or config(), folder, stop_after=seconds)
    return read_checkpoint(whole_checkpoints(folder / "checkpoints")[-1][1]).trained


def newest(folder: Path) -> Checkpoint:
    return read_checkpoint(whole_checkpoints(folder / "checkpoints")[-1][1])
