"""Where do an upsampler's pictures of the mini family lie?

Shards like those of the scenes, of pictures in the family's size and the maps of their small versions: every
scene is rendered once at twice that size, and gives one picture of the whole and three crops that show it
enlarged. (Ramesh et al. 2022, section 2.2, train on quarters.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from train import shards
from unicon.conditions.lowres import LOWRES, Degradation, degraded
from unicon.data.scenes import SceneConfig, render

ENLARGED = 2
"""How many times as large scenes are rendered."""
CROPS = 3


@dataclass(frozen=True, slots=True)
class Enlarging:
    """One item, uint8 (H, W, 3) each."""

    image: np.ndarray
    lowres: np.ndarray


def items_of(seed: int, size_px: int) -> Iterator[Enlarging]:
    """The whole of a scene and `CROPS` parts of it, square pictures of `size_px`."""
    scene = render(seed, SceneConfig(size=ENLARGED * size_px, second_view=False, degrade=False)).image
    generator = np.random.default_rng((seed, ENLARGED))
    whole = cv2.resize(scene, (size_px, size_px), interpolation=cv2.INTER_AREA)
    yield Enlarging(whole, degraded(whole, Degradation.drawn(generator), generator))
    for _ in range(CROPS):
        # The whole is made smaller, so that a part's border is blurred with what lies beyond it.
        lowres = degraded(scene, Degradation.drawn(generator), generator)
        top, left = generator.integers(0, (ENLARGED - 1) * size_px + 1, 2)
        part = (slice(top, top + size_px), slice(left, left + size_px))
        yield Enlarging(scene[part], lowres[part])


def render_crops(folder: Path, num: int, first_seed: int, num_workers: int) -> None:
    """Render `num` items, rounded up to whole shards, into `folder`; shards already there are kept."""
    make = partial(_render_shard, folder, first_seed, shards.SCENES_PER_SHARD)
    shards.make_shards(folder, num, make, num_workers)


def _render_shard(folder: Path, first_seed: int, num: int, index: int) -> None:
    import torch

    torch.set_num_threads(1)
    scenes = -(-num // (1 + CROPS))
    start = first_seed + index * scenes
    size_px = SceneConfig().size
    items = [item for seed in range(start, start + scenes) for item in items_of(seed, size_px)][:num]
    arrays = {
        "image": np.stack([item.image for item in items]),
        LOWRES: np.stack([item.lowres for item in items]),
    }
    captions = [""] * num  # what a scene shows is not what a part of it shows
    shards.write_shard(
        folder / f"shard_{index:06d}", arrays, {"captions": captions, "second_captions": captions}
    )
