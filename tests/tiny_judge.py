"""A judge of a few thousand weights, whose answers mean nothing."""

from __future__ import annotations

from pathlib import Path

import torch

from eval.judge import Judge


def tiny_judge() -> Judge:
    """The same every time; its blocks add something."""
    torch.manual_seed(0)
    judge = Judge(channels=(8, 8), blocks=(1, 1), side_px=32)
    with torch.no_grad():
        for parameter in judge.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return judge.eval()


def save_tiny_judge(folder: Path) -> Path:
    """As `train.objectives.judge` exports one."""
    tiny_judge().half().save_pretrained(folder)
    return folder
