"""Tiny data sets in the formats of the public ones, and a user's own pairs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32


def _noise(seed: int, height: int = SIDE, width: int = SIDE) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)


def _table(folder: Path, rows: list[dict]) -> Path:
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def nyu(folder: Path, num: int = 40) -> Path:
    """Pictures and depths of 40 x 32 pixels."""
    folder.mkdir(parents=True)
    rows = []
    for n in range(num):
        rows.append({"image_file_name": f"i{n}.png", "depth_file_name": f"d{n}.png"})
        _noise(n, SIDE, 40).save(folder / f"i{n}.png")
        depth = np.linspace(30, 255, SIDE * 40).reshape(SIDE, 40) + np.random.default_rng(n).normal(0, 5)
        Image.fromarray(np.clip(depth, 1, 255).astype(np.uint8)).save(folder / f"d{n}.png")
    return _table(folder, rows)


def cut_out(folder: Path, rows: np.ndarray) -> None:
    """Leave no depth in these rows (32,) bool of all pictures that `nyu` wrote there."""
    for path in folder.glob("d*.png"):
        depth = np.array(Image.open(path))
        depth[rows] = 0
        Image.fromarray(depth).save(path)


def bsds(folder: Path, num: int = 3) -> Path:
    """Landscape and portrait pictures with two annotators."""
    folder.mkdir(parents=True)
    rows = []
    for n in range(num):
        height, width = (SIDE, 40) if n % 2 else (40, SIDE)
        _noise(n, height, width).save(folder / f"{n}.png")
        drawn = np.zeros((2, height, width), bool)
        drawn[0, 10 + n, 5:25], drawn[1, 11 + n, 5:25], drawn[1, 5:20, 12] = True, True, True
        np.savez(folder / f"{n}.npz", boundaries=np.packbits(drawn, axis=-1), shape=drawn.shape)
        rows.append({"image_file_name": f"{n}.png", "boundary_file_name": f"{n}.npz"})
    return _table(folder, rows)


def lsp(folder: Path, num: int = 40) -> Path:
    """One person in each picture, all 14 joints visible."""
    folder.mkdir(parents=True)
    rows = []
    for n in range(num):
        places = np.random.default_rng(n).uniform(3, SIDE - 3, (14, 2))
        _noise(n).save(folder / f"{n}.png")
        rows.append({"file_name": f"{n}.png", "keypoints": [[*xy, 1] for xy in places.tolist()]})
    return _table(folder, rows)


def pairs(folder: Path, num: int = 4, captions: bool = True) -> Path:
    """image/, depth/ (of another size) and captions by stem."""
    for name in ("image", "depth", *(("caption",) if captions else ())):
        (folder / name).mkdir(parents=True)
    for n in range(num):
        _noise(n).save(folder / "image" / f"p{n}.png")
        _noise(n + 100, 64, 64).convert("L").save(folder / "depth" / f"p{n}.png")
        if captions:
            (folder / "caption" / f"p{n}.txt").write_text(f"a picture </script> number {n}")
    return folder
