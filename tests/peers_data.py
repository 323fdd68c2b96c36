"""A folder of eight encoded scenes with their pixels, as a mini family has them, for a tiny base."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.tiny_base import SIDE_PX
from train.latents import TRIGGERS
from train.shards import MAPS, write_shard

NUM, SHAPE, TOKENS, WIDTH = 8, (4, 8, 8), 16, 12


def write_family(folder: Path, num: int = NUM) -> Path:
    """`latents` and `scenes` below `folder`: random, but the same every time."""
    rng = np.random.default_rng(0)
    captions = [f"ball {i}" for i in range(num)]
    texts = {"captions": captions, "second_captions": captions}
    arrays = {name: rng.standard_normal((num, *SHAPE)).astype(np.float16) for name in MAPS}
    arrays |= {f"{n}_text": rng.standard_normal((num, TOKENS, WIDTH)).astype(np.float16) for n in MAPS}
    joints = np.full((num, 1, 18, 3), np.nan, np.float32)
    joints[3] = 1.0  # one scene shows a figure
    write_shard(folder / "latents" / "shard_000000", {**arrays, "joints": joints}, texts)
    bare = rng.standard_normal((len(TRIGGERS), TOKENS, WIDTH)).astype(np.float16)
    np.save(folder / "latents" / "empty_text.npy", bare)
    pixels = {n: rng.integers(0, 255, (num, SIDE_PX, SIDE_PX), dtype=np.uint8) for n in ("depth", "edge")}
    pixels |= {n: rng.integers(0, 255, (num, SIDE_PX, SIDE_PX, 3), dtype=np.uint8) for n in ("image", "pose")}
    write_shard(folder / "scenes" / "shard_000000", {**pixels, "joints": joints}, texts)
    return folder
