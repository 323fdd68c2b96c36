"""The tiny base and the tiny pictures on which the commands are tested."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image

from tests.tiny_base import SIDE_PX, save_tiny_base
from unicon.cli import main as cli


@cache
def base() -> Path:
    """One folder for all tests of a session."""
    return save_tiny_base(Path(mkdtemp(prefix="unicon-tiny-")) / "base")


def command(name: str, *arguments: object, steps: int = 2) -> int:
    """Run a command on the tiny base and return its exit code."""
    shared = ["--base", base(), "--device", "cpu", "--dtype", "float32"]
    if name != "limits":
        shared += ["--steps", steps]
    return cli.main([name, *map(str, [*arguments, *shared])])


def save_noise(path: Path, *, width: int = SIDE_PX, height: int = SIDE_PX, seed: int = 0) -> Path:
    """A picture of noise, in a folder made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(values).save(path)
    return path


def names(folder: Path) -> list[str]:
    """Every file below a folder, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def opened(path: Path) -> Image.Image:
    """A picture read whole, its file closed again."""
    with Image.open(path) as picture:
        picture.load()
        return picture
