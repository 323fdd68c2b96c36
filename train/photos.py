"""How do photographs with labels become training shards?

Any parquet or image folder that `datasets` reads, with an image column and a label or caption column.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.files import whole_folder
from train.shards import write_photo_shards
from unicon.data.photos import centred_square

HELD_OUT_EVERY = 20
"""The last of every 20 photographs is not trained on: demonstrations and measurements may show it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoSource:
    """A labelled photo set and the sentence its label is put into."""

    path: str
    """Parquet file, or folder of one."""
    label: str = "label"
    """Column of the label or caption."""
    caption: str = "a photo of a {label}"
    size_px: int = 128


def prepare_photos(source: PhotoSource, folder: Path) -> None:
    """Write the photographs of `source` as shards into `folder`, in file order; done once, all or nothing."""
    if (folder / "shard_000000").exists():
        return
    with whole_folder(folder) as new:
        num = write_photo_shards(new, _pairs(source))
    print(f"{num} photographs in {folder}")


def _pairs(source: PhotoSource) -> Iterator[tuple[np.ndarray, str]]:
    from datasets import load_dataset

    files = [str(p) for p in sorted(Path(source.path).glob("**/*.parquet"))] or [source.path]
    for index, row in enumerate(load_dataset("parquet", data_files=files, split="train", streaming=True)):
        if index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1:
            continue
        picture = np.asarray(row["image"].convert("RGB"))
        yield centred_square(picture, source.size_px), _caption(source, row)


def _caption(source: PhotoSource, row: dict) -> str:
    label = str(row[source.label]).lower()
    plural = label.endswith("s") and "dress" not in label
    return source.caption.format(label=label).replace(" a " + label, " " + label if plural else " a " + label)
