"""How are pairs read one after another from a source that need not fit on a disk?

Webdataset shards (tar files: a file, a folder, a pattern, or http addresses), parquet files, and any data set
of the hub. `datasets` orders the shards, gives each process its own and remembers the place; the tar files
are read here, because a damaged member of one must not end the stream.
"""

from __future__ import annotations

import hashlib
import tarfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

from unicon.data.pairs import names
from unicon.data.pairs.entries import Entry, FilePart, Unreachable
from unicon.data.pairs.patterns import expand, is_pattern, matching
from unicon.data.pairs.tables import ATTEMPTS, Columns, HubTable
from unicon.data.pairs.tars import Sample, is_hidden, parts
from unicon.extras import need
from unicon.sources import is_hub_id

TARS = (".tar", ".tar.gz", ".tgz")
FORMS = (
    "tar files (one, a folder, a pattern such as 'shards/{000..127}.tar' or 'shards/*.tar', or http "
    "addresses), parquet files, or the id of a hub data set"
)
TIMEOUT = 60.0
"""Seconds of silence after which a connection counts as broken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairStream:
    """Pairs that come one after another."""

    rows: Any
    """A `datasets.IterableDataset`: shards in their order, nothing shuffled."""
    entry: Callable[[Any], Entry]
    """A row as a pair. Raises ValueError that names a row which is none."""


def open_stream(source: str | Path, condition: str = "") -> PairStream:
    """The pairs of tar files, parquet files or a hub data set, as they come.

    A map that does not say of what (`conditioning_image`) is of `condition`, if that is given. Raises
    ValueError where nothing of a known form is found.
    """
    stream = _open(source)

    def entry(row: Any) -> Entry:
        found = stream.entry(row)
        own = next(iter(found.maps), "")
        if len(found.maps) != 1 or own not in names.ANY_MAP:
            return found
        return replace(found, maps={condition: found.maps[own]})

    return replace(stream, entry=entry) if condition else stream


def _open(source: str | Path) -> PairStream:
    text = str(source)
    if text.startswith(("http://", "https://")):
        return _from_tars(expand(text))
    path = Path(source)
    if path.is_dir():
        return _from_files([str(p) for p in sorted(path.iterdir()) if not p.name.startswith(".")], text)
    if path.is_file():
        return _from_files([text], text)
    if is_pattern(text):
        return _from_files(matching(text), text)
    if is_hub_id(text):
        return _from_hub(text)
    raise ValueError(f"{source}: no such file or folder; check the spelling and the current folder")


def _from_files(files: Sequence[str], source: str) -> PairStream:
    tars = [file for file in files if file.endswith(TARS)]
    if tars:
        return _from_tars(tars)
    if tables := [file for file in files if file.endswith(".parquet")]:
        return _from_table(HubTable.of("parquet").load, source, data_files=list(tables))
    raise ValueError(f"{source}: nothing in it can be streamed; expected {FORMS}, or leave --streaming out")


# --- tables -----------------------------------------------------------------------------------------------


def _from_hub(name: str) -> PairStream:
    return _from_table(HubTable.of(name).load, name)


def _from_table(load: Callable[..., Any], place: str, **settings: Any) -> PairStream:
    try:
        table = load(streaming=True, **settings)
        features = table.features or table._resolve_features().features
    except Exception as error:  # one of many kinds: what went wrong inside is the cause that is shown
        raise ValueError(
            f"{place}: can be streamed neither from here nor from the hub "
            f"({type(error).__name__}: {error.__cause__ or error})"
        ) from error
    columns = Columns.of(features, place)
    return PairStream(
        rows=columns.undecoded(table), entry=lambda row: columns.entry(row, _key(row, columns.image), place)
    )


def _key(row: dict[str, Any], image: str) -> str:
    """What a row is called: rows of a stream have no number, so by its own name or by its picture."""
    for name in names.KEYS:
        if isinstance(row.get(name), (str, int)):
            return f"row {row[name]}"
    picture = {"bytes": row[image]} if isinstance(row[image], bytes) else row[image] or {}
    if picture.get("path"):
        return f"row {picture['path']}"
    return f"row with picture {hashlib.blake2b(picture.get('bytes') or b'', digest_size=6).hexdigest()}"


# --- tar files --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Held:
    """A member that was read when it came by."""

    shard: str
    name: str
    content: bytes | _Passed

    @property
    def place(self) -> str:
        return f"{self.shard}: {self.name}"

    def read(self) -> bytes:
        return self.content.read() if isinstance(self.content, _Passed) else self.content


@dataclass(frozen=True, slots=True)
class _Passed:
    """A link to a member that has come by long before."""

    place: str

    def read(self) -> bytes:
        raise ValueError(
            f"{self.place}: is a link to a member that a stream has passed; pack it with tar "
            "--hard-dereference, or leave --streaming out"
        )

    def stamp(self) -> None:
        return None


def _from_tars(shards: Sequence[str]) -> PairStream:
    datasets = need("datasets", extra="train")
    rows = datasets.IterableDataset.from_generator(_rows, gen_kwargs={"shards": list(shards)})
    return PairStream(rows=rows, entry=_entry)


def _entry(row: dict[str, Any]) -> Entry:
    if row["damage"]:
        raise ValueError(row["damage"])
    sample = Sample()
    for name, content in row["members"]:
        held = _Passed(f"{row['shard']}: {name}") if content is None else content
        sample.add(_Held(row["shard"], name, held))
    return sample.entry(row["key"])


def _rows(shards: Sequence[str]) -> Iterator[dict[str, Any]]:
    """One row for every stem with a picture, and one for what is damaged in a shard."""
    for shard in shards:
        done = 0
        for attempt in range(ATTEMPTS if _is_remote(shard) else 1):
            try:
                for number, (stem, members) in enumerate(_stems(shard)):
                    if number >= done:  # a second attempt starts over
                        done = number + 1
                        yield _row(shard, stem, members)
                break
            except (tarfile.TarError, EOFError, zlib.error) as error:
                if attempt + 1 == (ATTEMPTS if _is_remote(shard) else 1):
                    damage = f"{shard}: is no tar file, or is cut short after {done} pairs ({error})"
                    yield _row(shard, "", [], f"{damage}; copy it again")
            except (OSError, HTTPException) as error:  # the latter where an answer breaks off
                if not _is_remote(shard) or attempt + 1 == ATTEMPTS:
                    raise Unreachable(
                        f"{shard}: cannot be read ({error}); the same command continues when it can"
                    ) from error


def _row(shard: str, stem: str, members: list[tuple[str, bytes | None]], damage: str = "") -> dict[str, Any]:
    short = shard.rstrip("/").rpartition("/")[2]
    return {
        "key": f"{short}/{stem}" if stem else short, "shard": shard, "members": members, "damage": damage,
    }  # fmt: skip


def _stems(shard: str) -> Iterator[tuple[str, list[tuple[str, bytes | None]]]]:
    """Members that follow one another and share a stem, as webdataset writes them."""
    stem, members = "", []
    passed: dict[str, tarfile.TarInfo] = {}
    with _opened(shard) as file, tarfile.open(fileobj=file, mode="r|*") as tar:
        for info in tar:
            if not (info.isfile() or info.islnk()) or is_hidden(info.name):
                continue
            own = parts(info.name)[0]
            if members and own != stem:
                yield stem, members
                members = []
            stem = own
            if info.islnk():
                members.append((info.name, _linked(shard, passed.get(info.linkname), dict(members))))
                continue
            passed[info.name] = info
            content = tar.extractfile(info)
            assert content is not None, "a plain file has content"
            members.append((info.name, content.read()))
    if members and _is_whole(shard):
        yield stem, members
    if not _is_whole(shard):  # Python's tarfile takes a shard cut between two members for its end
        raise tarfile.ReadError("unexpected end of data")


def _linked(shard: str, there: tarfile.TarInfo | None, held: dict[str, bytes | None]) -> bytes | None:
    """What a link holds to a member before it, by which tar stores a file once; None where that is gone."""
    if there is None or there.name in held or not _is_plain(shard):
        return None if there is None else held.get(there.name)
    return FilePart(Path(shard), there.offset_data, there.size).read()


def _is_plain(shard: str) -> bool:
    """Whether it lies on this disk as it is read."""
    return shard.endswith(".tar") and not _is_remote(shard)


def _is_whole(shard: str) -> bool:
    """Whether a tar file on this disk ends as tar files do, with zeros; others are watched as they come."""
    if not _is_plain(shard):
        return True
    with Path(shard).open("rb") as file:
        file.seek(-min(512, Path(shard).stat().st_size), 2)
        return not any(file.read())


def _is_remote(shard: str) -> bool:
    return shard.startswith(("http://", "https://"))


def _opened(shard: str) -> Any:
    if _is_remote(shard):
        return _Whole(urllib.request.urlopen(shard, timeout=TIMEOUT))
    return Path(shard).open("rb")


class _Whole:
    """An answer over http that notices when it breaks off."""

    def __init__(self, answer: Any):
        self.answer, self.left = answer, int(answer.headers.get("Content-Length") or -1)

    def read(self, size: int) -> bytes:
        content = self.answer.read(size)
        if not content and self.left > 0:
            raise OSError(f"the connection broke off with {self.left} bytes to come")
        self.left -= len(content)
        return content

    def __enter__(self) -> _Whole:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
