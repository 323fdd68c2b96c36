"""How are pairs read from tables of pictures: parquet files, or a data set of the hub?

`datasets` keeps an uncompressed copy that rows can be picked from; its folder is that of `HF_HOME`. A row's
pictures are read from it when they are asked for.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from unicon.data.pairs import names
from unicon.data.pairs.entries import Entry, Pairs, Part, Picture, Stamp, Unreachable
from unicon.data.photos import SUFFIXES
from unicon.extras import need

ATTEMPTS = 3
"""How often something is asked for over a network that breaks off."""
_BYTES = ("binary", "large_binary", "binary_view")


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
            content = cell["bytes"] if name not in columns.bare and cell.is_valid else cell
            where = stamp and stamp._replace(place=(*stamp.place, index, name))
            stored = Cell(content, where) if content.is_valid else None
            has_path = stored is None and cell.is_valid
            row[name] = {"bytes": stored, "path": cell["path"].as_py() if has_path else None}
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


@dataclass(slots=True)
class Remote:
    """A file elsewhere or in an archive, fetched when it is first asked for and then held."""

    url: str
    """As fsspec takes it: `hf://datasets/OWNER/NAME/...`, `zip://NAME::...`."""
    content: bytes | None = None

    def read(self) -> bytes:
        """Raises ValueError for a file that is not there or damaged, Unreachable where the network fails."""
        if self.content is None:
            self.content = _fetched(self.url)
        return self.content

    def stamp(self) -> None:
        return None


def _fetched(url: str) -> bytes:
    fsspec, failure = need("fsspec", extra="train"), None
    for _ in range(ATTEMPTS):
        try:
            with fsspec.open(url, "rb") as file:
                return file.read()
        except (FileNotFoundError, KeyError) as error:
            raise ValueError(f"{url}: no such file, named by its table; check the table") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{url}: is in a damaged archive ({error}); copy it again") from error
        except Exception as error:  # of whichever client asked
            failure = error
    raise Unreachable(
        f"{url}: cannot be read ({failure}); the same command continues when it can"
    ) from failure


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Which columns of a table hold pictures and captions.

    Tables that were made of webdataset shards name columns as the members end: `jpg`, `depth.png`, `txt`.
    """

    image: str
    maps: Mapping[str, str]
    """Columns by the name of their condition."""
    caption: str | None
    bare: frozenset[str] = field(default=frozenset())
    """Columns that hold a picture's bytes without saying that it is one."""

    @classmethod
    def of(cls, features: Mapping[str, Any], place: str) -> Columns:
        """From a table's features. Raises ValueError unless there is exactly one image column."""
        datasets = need("datasets", extra="train")
        pictures = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
        # Files that other tools wrote hold pictures as {bytes, path} without saying that these are pictures.
        pictures += [n for n, f in features.items() if isinstance(f, dict) and set(f) == {"bytes", "path"}]
        bare = frozenset(n for n, f in features.items() if _is_bytes(f) and _may_be_picture(n))
        pictures += [name for name in features if name in bare]
        kinds = {name: names.kind_of_column(name) for name in pictures}
        images = [name for name, kind in kinds.items() if names.is_image(kind)]
        if len(images) != 1:
            raise ValueError(
                f"{place}: has {len(images)} columns of pictures named {' or '.join(names.IMAGE)}; its "
                f"columns of pictures are {', '.join(pictures) or 'none'}: rename one to image"
            )
        texts = [name for name in features if names.is_caption(name) or name == "txt"]
        maps = {kind: name for name, kind in kinds.items() if name != images[0]}
        return cls(image=images[0], maps=maps, caption=texts[0] if texts else None, bare=bare)

    def undecoded(self, table: Any) -> Any:
        """The table with pictures as they are stored; it may be a stream."""
        datasets = need("datasets", extra="train")
        for name in (self.image, *self.maps.values()):
            if name not in self.bare:
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


def _is_bytes(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in _BYTES


def _may_be_picture(column: str) -> bool:
    """By its name: `depth` or `depth.png`, but not `embedding.npy`."""
    return "." not in column or PurePosixPath(column).suffix.lower() in SUFFIXES


def _picture(value: Mapping[str, Any] | bytes | None, place: str) -> Picture | None:
    """A cell as `datasets` stores it: the content itself (here also a `Part`), or where it lies."""
    stored = {"bytes": value} if isinstance(value, bytes) else value or {}
    content, path = stored.get("bytes"), stored.get("path")
    if content is None and path is None:
        return None
    return Picture(place, content if content is not None else _at(str(path)))


def _at(path: str) -> Path | Part:
    return Remote(path) if "://" in path else Path(path)
