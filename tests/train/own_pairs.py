"""A few pairs of noise, and a short training of an adapter on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image

from train.command import main
from train.objectives.pairs import PairsConfig


def picture(seed: int, size: tuple[int, int]) -> PIL.Image.Image:
    width, height = size
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(values)


SIZES = [(64, 64), (64, 64), (96, 64), (64, 64), (80, 80), (96, 64)]


def settings(data: Path, base: Path, /, **changes) -> PairsConfig:
    return PairsConfig(**{"condition": "depth", "data": str(data), "base": str(base), "rank": 2, **changes})


def run(data: Path, base: Path, out: Path, *more: str) -> int:
    arguments = ["adapter", "--data", str(data), "--condition", "depth", "--base", str(base)]
    loop = ["--steps", "2", "--batch_size", "2", "--mixed_precision", "no", "--rank", "2"]
    return main([*arguments, *loop, "--out", str(out), *more])


def twenty(root: Path) -> None:
    """So many that some are held out."""
    for name, seed in (("image", 0), ("depth", 100)):
        (root / name).mkdir(parents=True)
        for i in range(20):
            picture(seed + i, (40, 40)).save(root / name / f"{i:02}.png")
