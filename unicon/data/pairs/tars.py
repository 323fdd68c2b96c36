"""How are pairs read from webdataset shards: tar files whose members share a stem?

The members are listed once and then read where they lie, so that any of them can be had at any time.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from unicon.data.pairs import names
from unicon.data.pairs.entries import Entry, FilePart, Pairs, Part, Picture
from unicon.data.photos import ARRAYS, SUFFIXES


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    content: FilePart

    @property
    def place(self) -> str:
        return f"{self.content.path}: {self.name}"

    def read(self) -> bytes:
        return self.content.read()


class Member(Protocol):
    """A file of a shard."""

    @property
    def name(self) -> str:
        """Its path inside the shard."""
        ...

    @property
    def place(self) -> str:
        """Where it lies, for messages."""
        ...

    @property
    def content(self) -> Part | bytes:
        """For a picture, which is read when it is asked for."""
        ...

    def read(self) -> bytes: ...


@dataclass(slots=True)
class Sample:
    """What one stem has: pictures by name (`image`, `depth`), texts and JSON."""

    pictures: dict[str, Member] = field(default_factory=dict)
    text: Member | None = None
    json: Member | None = None

    def add(self, member: Member) -> None:
        """Take a member in; one of another kind is left out. Raises ValueError for a second picture of one
        name."""
        _, kind, suffix = parts(member.name)
        if suffix in SUFFIXES:
            name = "image" if not kind or names.is_image(kind) else kind
            if name in self.pictures:
                raise ValueError(
                    f"{member.place}: {self.pictures[name].place} is the same side of the same pair; "
                    "keep one of them"
                )
            self.pictures[name] = member
        elif suffix == ".txt":
            self.text = member
        elif suffix == ".json":
            self.json = member

    def entry(self, key: str) -> Entry:
        """The pair. Raises ValueError naming the member that does not say captions."""
        pictures = {name: Picture(member.place, member.content) for name, member in self.pictures.items()}
        image = pictures.pop("image", None)
        return Entry(key=key, image=image, maps=pictures, captions=_captions(self))


def from_tars(shards: Sequence[Path]) -> Pairs:
    """`STEM.image.png` (or `STEM.jpg`), `STEM.depth.png`, and `STEM.txt` or captions in `STEM.json`.

    Raises ValueError for a file that is no plain tar.
    """
    samples, arrays = dict[str, Sample](), dict[str, str]()
    of_a_name = Counter(shard.name for shard in shards)
    for shard in shards:
        label = shard.name if of_a_name[shard.name] == 1 else shard
        for member in _members(shard):
            stem, kind, suffix = parts(member.name)
            samples.setdefault(f"{label}/{stem}", Sample()).add(member)
            if suffix in ARRAYS:
                arrays.setdefault(kind, member.place)
    conditions = dict.fromkeys(n for s in samples.values() for n in s.pictures if n != "image")
    with_pictures = {key: sample for key, sample in samples.items() if sample.pictures}
    found = list(with_pictures.items())
    return Pairs(len(found), lambda index: found[index][1].entry(found[index][0]), tuple(conditions), arrays)


def _members(shard: Path) -> list[_Member]:
    try:
        with tarfile.open(shard, "r:") as tar:
            found = []
            for m in tar:
                if is_hidden(m.name):
                    continue
                if m.isfile() or m.islnk():  # a link to a member before it, by which tar stores a file once
                    there = tar.getmember(m.linkname) if m.islnk() else m
                    found.append(_Member(m.name, FilePart(shard, there.offset_data, there.size)))
            return found
    except (tarfile.TarError, KeyError) as error:
        raise ValueError(
            f"{shard}: is no plain tar file, or is cut short ({error}); copy it again, uncompressed"
        ) from error


def is_hidden(name: str) -> bool:
    """Whether a member is none of the user's: macOS' tar adds a `._NAME` to each."""
    return PurePosixPath(name).name.startswith(".")


def parts(name: str) -> tuple[str, str, str]:
    """`a/b.depth.png` as ("a/b", "depth", ".png"): a stem ends at the first dot of the file's name."""
    path = PurePosixPath(name)
    stem, _, extension = path.name.partition(".")
    kind, _, suffix = extension.rpartition(".")
    return str(path.parent / stem), kind, f".{suffix.lower()}"


def _captions(sample: Sample) -> tuple[str, ...]:
    if sample.text is not None:
        text = names.as_text(sample.text.read(), sample.text.place)
        return names.as_captions(text.splitlines(), sample.text.place)
    if sample.json is None:
        return ()
    try:
        row = json.loads(sample.json.read())
    except ValueError as error:
        raise ValueError(f"{sample.json.place}: is no JSON ({error})") from error
    texts = [value for key, value in row.items() if names.is_caption(key)] if isinstance(row, dict) else []
    return names.as_captions(texts[0] if texts else None, sample.json.place)
