"""How are pairs read from tables of pictures: parquet files, or a data set of the hub?

`datasets` keeps an uncompressed copy that rows can be picked from; its folder is that of `HF_HOME`. A row's
pictures are read from it when they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unicon.data.pairs import names
from unicon.data.pairs.entries import Entry, Pairs, Picture, Stamp
from unicon.extras import need


def from_parquet(shards: Sequence[Path]) -> Pairs:
    """Picture columns `image`, `depth`, ..., and captions. Raises ValueError without an image column."""
    datasets = need("datasets", extra="train")
    try:
        table = datasets.load_dataset("parquet", data_files=[str(s) for s in shards], split="train")
    except Exception as error:  # one of many kinds: what went wrong inside is the cause that is shown
        raise ValueError(f"{shards[0]}: is no readable parquet file ({error.__cause__ or error})") from error
    return from_table(table, str(shards[0] if len(shards) == 1 else shards[0].parent))


@dataclass(frozen=True, slots=True)
class HubTable:
    """A part of a data set of the hub, written OWNER/NAME[:SUBSET[:SPLIT]][@REVISION]."""

    name: str
    subset: str | None
    split: str
    revision: str | None

    @classmethod
    def of(cls, text: str) -> HubTable:
        """`OWNER/NAME::SPLIT` names a split alone. Raises ValueError for another form."""
        place, _, revision = text.partition("@")
        name, *parts = place.split(":")
        if len(parts) > 2:
            raise ValueError(f"{text}: expected OWNER/NAME[:SUBSET[:SPLIT]][@REVISION]")
        subset, split = (*parts, "", "")[:2]
        return cls(name, subset or None, split or "train", revision or None)

    def load(self, **settings: Any) -> Any:
        """As `datasets` gives it."""
        datasets = need("datasets", extra="train")
        how = {"split": self.split, "revision": self.revision, **settings}
        return datasets.load_dataset(self.name, self.subset, **how)


def from_hub(name: str) -> Pairs:
    """A part of a hub data set, its `train` split by default. Raises ValueError when it cannot be had."""
    hub = HubTable.of(name)
    try:
        table = hub.load()
    except Exception as error:
        raise ValueError(
            f"{name}: is no folder here, and no data set the hub gives ({type(error).__name__}: {error}); "
            f"fetch it first where there is a network: hf download --repo-type dataset {hub.name}"
        ) from error
    return from_table(table, name)


def from_table(table: Any, place: str) -> Pairs:
    """`place` names the table, with the part of it that these rows are."""
    columns = Columns.of(table.features, place)
    stamp = _stamp(table, place)
    table = columns.undecoded(table).with_format("arrow")  # of which a row may be any of the file's

    def entry(index: int) -> Entry:
        cells, row = table[index], dict[str, Any]()
        for name in (columns.image, *columns.maps.values()):
            cell = cells.column(name)[0]
            stored = cell.is_valid and cell["bytes"].is_valid
            where = stamp and stamp._replace(place=(*stamp.place, index, name))
            row[name] = {
                "bytes": Cell(cell["bytes"], where) if stored else None,
                "path": cell["path"].as_py() if cell.is_valid else None,
            }
        if columns.caption:
            row[columns.caption] = cells.column(columns.caption)[0].as_py()
        return columns.entry(row, f"row {index}", place)

    return Pairs(len(table), entry, tuple(columns.maps))


def _stamp(table: Any, place: str) -> Stamp | None:
    """Of the files of a table and of what `datasets` has picked from them, in one short word, which every row
    repeats; None for a table in memory."""
    files = [file["filename"] for file in table.cache_files]
    if not files:
        return None
    stamp = Stamp.of_files(files)
    whole = repr((place, table._fingerprint, stamp.place))
    return stamp._replace(place=(hashlib.blake2b(whole.encode(), digest_size=16).hexdigest(),))


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture in a row of a table."""

    content: Any
    """pyarrow's binary scalar: a place in a file that is mapped into memory."""
    where: Stamp | None
    """None for a table in memory."""

    def read(self) -> bytes:
        return self.content.as_py()

    def stamp(self) -> Stamp | None:
        return self.where


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Which columns of a table hold pictures and captions.

    Tables that were made of webdataset shards name columns as the members end: `jpg`, `depth.png`, `txt`.
    """

    image: str
    maps: Mapping[str, str]
    """Columns by the name of their condition."""
    caption: str | None

    @classmethod
    def of(cls, features: Mapping[str, Any], place: str) -> Columns:
        """From a table's features. Raises ValueError unless there is exactly one image column."""
        datasets = need("datasets", extra="train")
        pictures = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
        # Files that other tools wrote hold pictures as {bytes, path} without saying that these are pictures.
        pictures += [n for n, f in features.items() if isinstance(f, dict) and set(f) == {"bytes", "path"}]
        kinds = {name: names.kind_of_column(name) for name in pictures}
        images = [name for name, kind in kinds.items() if names.is_image(kind)]
        if len(images) != 1:
            raise ValueError(
                f"{place}: has {len(images)} columns of pictures named {' or '.join(names.IMAGE)}; its "
                f"columns of pictures are {', '.join(pictures) or 'none'}: rename one to image"
            )
        texts = [name for name in features if names.is_caption(name) or name == "txt"]
        maps = {kind: name for name, kind in kinds.items() if name != images[0]}
        return cls(image=images[0], maps=maps, caption=texts[0] if texts else None)

    def undecoded(self, table: Any) -> Any:
        """The table with pictures as they are stored; it may be a stream."""
        datasets = need("datasets", extra="train")
        for name in (self.image, *self.maps.values()):
            table = table.cast_column(name, datasets.Image(decode=False))
        return table

    def entry(self, row: Mapping[str, Any], key: str, place: str) -> Entry:
        """A row as a pair. Raises ValueError for captions that are none."""
        where = f"{place} {key}"
        maps = {kind: _picture(row[name], f"{where}, {name}") for kind, name in self.maps.items()}
        return Entry(
            key=key,
            image=_picture(row[self.image], f"{where}, {self.image}"),
            maps={kind: picture for kind, picture in maps.items() if picture is not None},
            captions=names.as_captions(row[self.caption] if self.caption else None, where),
        )


def _picture(value: Mapping[str, Any] | None, place: str) -> Picture | None:
    """A cell as `datasets` stores it: the content itself (here also a `Part`), or where it lies."""
    if value is None or (value.get("bytes") is None and value.get("path") is None):
        return None
    return Picture(place, value["bytes"] if value.get("bytes") is not None else Path(value["path"]))
