"""How do a user's own pairs become training shards, beside labelled photographs?

All views of one size, written picture and map alike; what is encoded of them is `train.latents`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from train.pairs.framing import Bucket, View, framed
from train.shards import SCENES_PER_SHARD, write_shard
from unicon.data.pairs import open_pairs


@dataclass(frozen=True, kw_only=True, slots=True)
class PairViews:
    """Which pairs, and how they are seen."""

    source: str
    condition: str
    size_px: int = 128
    crops: int = 1
    """Squares of each pair, spread over what stands over; each also mirrored."""


def write_pair_shards(views: PairViews, folder: Path) -> None:
    """Write every view of the pairs as shards into `folder`, in their order; done once.

    Raises ValueError for pairs that cannot be read: `unicon check` names all of them.
    """
    if (folder / "shard_000000").exists():
        return
    seen, number = _seen(views), 0
    while chunk := list(islice(seen, SCENES_PER_SHARD)):
        pictures, maps, captions = zip(*chunk, strict=True)
        arrays = {"image": np.stack(pictures), views.condition: np.stack(maps)}
        texts = {"captions": list(captions), "second_captions": list(captions)}
        write_shard(folder / f"shard_{number:06d}", arrays, texts)
        number += 1


def _seen(views: PairViews) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    bucket = Bucket(views.size_px, views.size_px)
    places = [(number + 0.5) / views.crops for number in range(views.crops)]
    for entry in tqdm(open_pairs(views.source, [views.condition]), desc="framing pairs", unit="pair"):
        if entry.image is None or views.condition not in entry.maps:
            raise ValueError(
                f"{views.source}: pair {entry.key} is not whole; unicon check lists every such pair"
            )
        sides = [side.load() for side in (entry.image, entry.maps[views.condition])]
        for view in (View(place, flip) for place in places for flip in (False, True)):
            picture, drawn = (framed(side, bucket, view) for side in sides)
            yield picture, drawn, entry.captions[0] if entry.captions else ""
