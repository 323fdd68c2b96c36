"""How do a user's own pairs become training shards, beside labelled photographs?

All views of one size, written picture and map alike; what is encoded of them is `train.latents`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
import PIL.Image
from tqdm import tqdm

from adapters.files import whole_folder
from train.pairs.framing import Bucket, View, framed
from train.shards import SCENES_PER_SHARD, write_shard
from unicon.conditions.mirror import REDRAWN
from unicon.data.pairs import open_pairs
from unicon.data.pairs.check import UNUSABLE, disagreement, on_picture


@dataclass(frozen=True, kw_only=True, slots=True)
class PairViews:
    """Which pairs, and how they are seen."""

    source: str
    condition: str
    size_px: int = 128
    crops: int = 1
    """Squares of each pair, spread over what stands over; each also mirrored."""


def write_pair_shards(views: PairViews, folder: Path) -> None:
    """Write every view of the pairs as shards into `folder`, in their order; done once, all or nothing.

    Raises ValueError for pairs that cannot be read, or do not lie on each other: `unicon check` names all of
    them.
    """
    if (folder / "shard_000000").exists():
        return
    seen = _seen(views)
    with whole_folder(folder) as new:
        for number in count():
            if not (chunk := list(islice(seen, SCENES_PER_SHARD))):
                break
            pictures, maps, captions = zip(*chunk, strict=True)
            arrays = {"image": np.stack(pictures), views.condition: np.stack(maps)}
            texts = {"captions": list(captions), "second_captions": list(captions)}
            write_shard(new / f"shard_{number:06d}", arrays, texts)


def _seen(views: PairViews) -> Iterator[tuple[np.ndarray, np.ndarray, str]]:
    bucket = Bucket(views.size_px, views.size_px)
    places = [(number + 0.5) / views.crops for number in range(views.crops)]
    redrawn = REDRAWN.get(views.condition)
    for entry in tqdm(open_pairs(views.source, [views.condition]), desc="framing pairs", unit="pair"):
        if entry.image is None or views.condition not in entry.maps:
            raise ValueError(
                f"{views.source}: pair {entry.key} is not whole; unicon check lists every such pair"
            )
        image, drawn = entry.image.load(), entry.maps[views.condition].load()
        found = disagreement(np.asarray(image), np.asarray(drawn))
        if found and found[0] in UNUSABLE:
            raise ValueError(
                f"{entry.maps[views.condition].place}: {found[1]}; unicon check lists every such pair"
            )
        drawn = on_picture(drawn, image)  # a view is a part of one size
        turned = drawn if redrawn is None else PIL.Image.fromarray(redrawn(np.asarray(drawn)))
        for view in (View(place, flip) for place in places for flip in (False, True)):
            shown = framed(turned if view.flip else drawn, bucket, view)
            yield framed(image, bucket, view), shown, entry.captions[0] if entry.captions else ""
