"""How are pairs read from tables of pictures: parquet files, or a data set of the hub?

`datasets` keeps an uncompressed copy that rows can be picked from; its folder is that of `HF_HOME`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unicon.data.pairs import names
from unicon.data.pairs.entries import Entry, Pairs, Picture
from unicon.extras import need


def from_parquet(shards: Sequence[Path]) -> Pairs:
    """Picture columns `image`, `depth`, ..., and captions. Raises ValueError without an image column."""
    datasets = need("datasets", extra="train")
    try:
        table = datasets.load_dataset("parquet", data_files=[str(s) for s in shards], split="train")
    except Exception as error:  # one of many kinds: what went wrong inside is the cause that is shown
        raise ValueError(f"{shards[0]}: is no readable parquet file ({error.__cause__ or error})") from error
    return _pairs(table, str(shards[0] if len(shards) == 1 else shards[0].parent))


def from_hub(name: str) -> Pairs:
    """The `train` split of a hub data set. Raises ValueError when it cannot be had."""
    datasets = need("datasets", extra="train")
    try:
        table = datasets.load_dataset(name, split="train")
    except Exception as error:
        raise ValueError(
            f"{name}: is no folder here, and no data set the hub gives ({type(error).__name__}: {error}); "
            f"fetch it first where there is a network: hf download --repo-type dataset {name}"
        ) from error
    return _pairs(table, name)


def _pairs(table: Any, place: str) -> Pairs:
    """Raises ValueError unless there is exactly one image column."""
    datasets = need("datasets", extra="train")
    pictures = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    # Files that other tools wrote hold pictures as {bytes, path} without saying that these are pictures.
    pictures += [n for n, f in table.features.items() if isinstance(f, dict) and set(f) == {"bytes", "path"}]
    images = [name for name in pictures if names.is_image(name)]
    if len(images) != 1:
        raise ValueError(
            f"{place}: has {len(images)} columns of pictures named {' or '.join(names.IMAGE)}; its columns "
            f"of pictures are {', '.join(pictures) or 'none'}: rename one to image"
        )
    for name in pictures:
        table = table.cast_column(name, datasets.Image(decode=False))
    texts = [name for name in table.column_names if names.is_caption(name)]
    maps = tuple(name for name in pictures if name != images[0])
    caption = texts[0] if texts else None

    def entry(index: int) -> Entry:
        row, where = table[index], f"{place} row {index}"
        found = {name: _picture(row[name], f"{where}, {name}") for name in pictures}
        return Entry(
            key=f"row {index}",
            image=found[images[0]],
            maps={name: picture for name in maps if (picture := found[name]) is not None},
            captions=names.as_captions(row[caption] if caption else None, where),
        )

    return Pairs(len(table), entry, maps)


def _picture(value: dict[str, Any] | None, place: str) -> Picture | None:
    """A cell as `datasets` stores it: the content itself, or where it lies."""
    if value is None or (value.get("bytes") is None and value.get("path") is None):
        return None
    return Picture(place, value["bytes"] if value.get("bytes") is not None else Path(value["path"]))
