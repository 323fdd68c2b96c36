"""How do photographs with labels or captions become training shards?

A parquet file, or a folder of them, with a column `image` and one of labels or captions; or a folder with a
folder of pictures for each label. `datasets` reads all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from adapters.files import whole_folder
from train.shards import write_photo_shards
from unicon.data.pairs.names import CAPTIONS
from unicon.data.photos import centred_square

HELD_OUT_EVERY = 20
"""The last of every 20 photographs is not trained on: demonstrations and measurements may show it."""
LABEL = "label"


def prepare_photos(path: str, folder: Path, size_px: int = 128) -> None:
    """Write the photographs at `path` as shards into `folder`, in file order; done once, all or nothing.

    A label is put into the sentence "a photo of a ..."; a caption stays as it is, of several the first.
    Raises ValueError for data without pictures, or without words about them.
    """
    if (folder / "shard_000000").exists():
        return
    with whole_folder(folder) as new:
        num = write_photo_shards(new, _photos(path, size_px))
    print(f"{num} photographs in {folder}")


def _photos(path: str, size_px: int) -> Iterator[tuple[np.ndarray, str]]:
    rows = _opened(path)
    names = list(rows.features or {})
    words = next((name for name in (LABEL, *CAPTIONS) if name in names), None)
    if "image" not in names or words is None:
        raise ValueError(
            f"photos {path!r} have the columns {', '.join(names) or 'none'}; expected image, and one of "
            f"{', '.join((LABEL, *CAPTIONS))}"
        )
    labels = getattr(rows.features[words], "names", None)  # of a ClassLabel, whose rows hold numbers
    for index, row in enumerate(rows):
        if index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1:
            continue
        picture = np.asarray(row["image"].convert("RGB"))
        said = row[words] if labels is None else labels[row[words]]
        yield centred_square(picture, size_px), _caption(said) if words == LABEL else _first(said)


def _opened(path: str) -> Any:
    """A stream of rows."""
    from datasets import load_dataset

    files = [str(p) for p in sorted(Path(path).glob("**/*.parquet"))]
    if Path(path).is_dir() and not files:
        return load_dataset("imagefolder", data_dir=path, split="train", streaming=True)
    return load_dataset("parquet", data_files=files or [path], split="train", streaming=True)


def _caption(label: object) -> str:
    name = str(label).lower()
    is_plural = name.endswith("s") and "dress" not in name
    return f"a photo of {name}" if is_plural else f"a photo of a {name}"


def _first(captions: str | list[str]) -> str:
    return captions if isinstance(captions, str) else captions[0]
