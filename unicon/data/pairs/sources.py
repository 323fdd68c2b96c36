"""Where do a user's pairs lie, and in which of the usual forms?

| form | what is there |
|---|---|
| folders | `image/`, `depth/`, ...: files of one stem; captions in `caption/STEM.txt` or beside the image |
| jsonl | `metadata.jsonl`: `file_name` or `image`, `depth_file_name` or `depth`, ...; `text`, ... |
| parquet | a file, or a folder of them: picture columns `image`, `depth`, ...; `text` or `captions` |
| tar | webdataset shards, one file or a folder of them: `STEM.image.png`, `STEM.depth.png`, `STEM.txt` |
| pattern | `shards/{000..127}.tar` or `shards/*.parquet`: such files by name |
| hub | `owner/name[:subset[:split]][@revision]` of a data set with such columns |

A picture may have several captions: a list where the form has lists, the lines of a text file otherwise.
Which form it is, is seen from what is there; nothing is decoded here.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from unicon.data.pairs.entries import Entry, Pairs
from unicon.data.pairs.files import from_folders, from_jsonl
from unicon.data.pairs.names import ANY_MAP
from unicon.data.pairs.patterns import is_pattern, matching
from unicon.data.pairs.tables import from_hub, from_parquet
from unicon.data.pairs.tars import from_tars
from unicon.sources import is_hub_id

SHARDS: dict[str, Callable[[Sequence[Path]], Pairs]] = {".parquet": from_parquet, ".tar": from_tars}
"""Forms of which a source may have several files, by how they end."""
FORMS = "folders image/ and one per condition, metadata.jsonl, *.parquet, *.tar, or the id of a hub data set"


def open_pairs(source: str | Path, conditions: Collection[str] = ()) -> Pairs:
    """The pairs of a folder, a file or a hub data set, in a fixed order.

    `conditions` names the maps to keep; empty: every one that is there. Raises ValueError where nothing of a
    known form is found, or a condition is nowhere in it, or there as arrays.
    """
    pairs = _reader(source)()
    if not len(pairs):
        raise ValueError(f"{source}: holds no pairs; expected {FORMS}")
    if len(conditions) == 1:
        pairs = _named(pairs, *conditions)
    if missing := sorted(set(conditions) - set(pairs.conditions)):
        if missing[0] in (unread := pairs.unread()):
            raise ValueError(f"{source}: {unread[missing[0]]}")
        close = difflib.get_close_matches(missing[0], pairs.conditions, n=1)
        meant = f"did you mean {close[0]}? It has" if close else "found"
        raise ValueError(
            f"{source}: there is no {missing[0]!r}; {meant} {', '.join(pairs.conditions) or 'pictures alone'}"
        )
    chosen = tuple(name for name in pairs.conditions if name in conditions or not conditions)
    return replace(pairs, conditions=chosen)


def _named(pairs: Pairs, condition: str) -> Pairs:
    """The same where a map that does not say of what is the one that is asked for."""
    if condition in pairs.conditions or len(pairs.conditions) != 1 or pairs.conditions[0] not in ANY_MAP:
        return pairs
    (own,) = pairs.conditions

    def entry(index: int) -> Entry:
        found = pairs[index]
        return replace(found, maps={condition if k == own else k: v for k, v in found.maps.items()})

    return replace(pairs, entry=entry, conditions=(condition,))


def _reader(source: str | Path) -> Callable[[], Pairs]:
    path = Path(source)
    if path.is_file():
        if path.suffix in SHARDS:
            return lambda: SHARDS[path.suffix]([path])
        if path.suffix == ".jsonl":
            return lambda: from_jsonl(path)
    elif path.is_dir():
        if (path / "metadata.jsonl").is_file():
            return lambda: from_jsonl(path / "metadata.jsonl")
        for suffix, read in SHARDS.items():
            if shards := sorted(path.glob(f"*{suffix}")):
                return partial(read, shards)
        return lambda: from_folders(path)
    elif is_pattern(str(source)):
        shards = [Path(file) for file in matching(str(source))]
        kinds = {shard.suffix for shard in shards}
        if len(kinds) == 1 and (read := SHARDS.get(kinds.pop())):
            return partial(read, shards)
    elif is_hub_id(str(source)):
        return lambda: from_hub(str(source))
    else:
        raise ValueError(f"{source}: no such file or folder; check the spelling and the current folder")
    raise ValueError(f"{source}: is no file of pairs; expected {FORMS}")
