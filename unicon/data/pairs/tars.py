"""How are pairs read from webdataset shards: tar files whose members share a stem?

The members are listed once and then read where they lie, so that any of them can be had at any time.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from unicon.data.pairs import names
from unicon.data.pairs.entries import Entry, Pairs, Picture
from unicon.data.photos import SUFFIXES


@dataclass(frozen=True, slots=True)
class _Member:
    shard: Path
    name: str
    start: int
    size: int

    @property
    def place(self) -> str:
        return f"{self.shard}: {self.name}"

    def read(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.start)
            return file.read(self.size)


@dataclass(slots=True)
class _Sample:
    """What one stem has: pictures by name (`image`, `depth`), texts and JSON."""

    pictures: dict[str, _Member] = field(default_factory=dict)
    text: _Member | None = None
    json: _Member | None = None


def from_tars(shards: Sequence[Path]) -> Pairs:
    """`STEM.image.png` (or `STEM.jpg`), `STEM.depth.png`, and `STEM.txt` or captions in `STEM.json`.

    Raises ValueError for a file that is no plain tar.
    """
    samples: dict[str, _Sample] = {}
    for shard in shards:
        for member in _members(shard):
            stem, kind, suffix = _parts(member.name)
            sample = samples.setdefault(f"{shard.name}/{stem}", _Sample())
            if suffix in SUFFIXES:
                sample.pictures["image" if not kind or names.is_image(kind) else kind] = member
            elif suffix == ".txt":
                sample.text = member
            elif suffix == ".json":
                sample.json = member
    conditions = dict.fromkeys(n for s in samples.values() for n in s.pictures if n != "image")
    with_pictures = {key: sample for key, sample in samples.items() if sample.pictures}
    found = list(with_pictures.items())
    return Pairs(len(found), lambda index: _entry(*found[index]), tuple(conditions))


def _entry(key: str, sample: _Sample) -> Entry:
    pictures = {name: Picture(member.place, member.read()) for name, member in sample.pictures.items()}
    image = pictures.pop("image", None)
    return Entry(key=key, image=image, maps=pictures, captions=_captions(sample))


def _members(shard: Path) -> list[_Member]:
    try:
        with tarfile.open(shard, "r:") as tar:
            return [_Member(shard, m.name, m.offset_data, m.size) for m in tar if m.isfile()]
    except tarfile.TarError as error:
        raise ValueError(
            f"{shard}: is no plain tar file, or is cut short ({error}); copy it again, uncompressed"
        ) from error


def _parts(name: str) -> tuple[str, str, str]:
    """`a/b.depth.png` as ("a/b", "depth", ".png"): a stem ends at the first dot of the file's name."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    kind, _, suffix = extension.rpartition(".")
    return str(path.parent / stem), kind, f".{suffix.lower()}"


def _captions(sample: _Sample) -> tuple[str, ...]:
    if sample.text is not None:
        return names.as_captions(sample.text.read().decode("utf-8").splitlines(), sample.text.place)
    if sample.json is None:
        return ()
    try:
        row = json.loads(sample.json.read())
    except ValueError as error:
        raise ValueError(f"{sample.json.place}: is no JSON ({error})") from error
    texts = [value for key, value in row.items() if names.is_caption(key)] if isinstance(row, dict) else []
    return names.as_captions(texts[0] if texts else None, sample.json.place)
