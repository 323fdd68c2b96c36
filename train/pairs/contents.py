"""What does a pair hold, and how is that known again without reading its files?

The content decides where an encoded pair lies in the cache. A start of a large run would read every file only
to find it encoded, so what was read once is remembered by the files' paths, sizes and times.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from unicon.data.pairs import Entry, Picture

CONTENTS = "contents"
"""Folder below that of the cache."""
SETTLED_NS = 2_000_000_000
"""A file that was changed less than this before it was read is not remembered: file systems whose clocks are
coarse give the next change the same time."""
_STAMP, _CONTENT = 32, 40
"""Hexadecimal digits of both columns."""


def content_of(entry: Entry, condition: str) -> str:
    """Changes with what a pair says and shows. Raises OSError for a file that is not there."""
    digest = hashlib.blake2b(repr((condition, entry.captions)).encode(), digest_size=20)
    for picture in _sides(entry, condition):
        digest.update(b"none" if picture is None else hashlib.blake2b(picture.read()).digest())
    return digest.hexdigest()


class Contents:
    """`content_of` that remembers in a folder, one file for each process, to which lines are added.

    A file that was changed is read again, unless its path, its size and both its times (of its content and
    of its entry in the file system) are as they were. What cannot be written is not remembered. Threads may
    share it.
    """

    def __init__(self, folder: Path, process: int = 0):
        self.folder, self.process = folder, process
        self._lock = threading.Lock()
        self.known: dict[str, str] = {}
        self._file: TextIO | None = None
        for path in sorted(folder.glob("*.txt")):
            for line in _lines(path):
                stamp, _, content = line.partition(" ")
                if len(stamp) == _STAMP and len(content) == _CONTENT:  # else cut short
                    self.known[stamp] = content

    def of(self, entry: Entry, condition: str) -> str:
        """As `content_of`."""
        stamp = stamp_of(entry, condition)
        if stamp in self.known:
            return self.known[stamp]
        content = content_of(entry, condition)
        if stamp is not None and stamp == stamp_of(entry, condition):  # nor changed while it was read
            with self._lock:
                self._remember(stamp, content)
        return content

    def _remember(self, stamp: str, content: str) -> None:
        self.known[stamp] = content
        try:
            if self._file is None:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._file = (self.folder / f"{self.process}.txt").open("a", encoding="ascii", buffering=1)
            self._file.write(f"{stamp} {content}\n")
        except OSError:
            self.close()

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # a full disk
                file.close()


def stamp_of(entry: Entry, condition: str) -> str | None:
    """Changes with the words of a pair and with the files it lies in (for a row of a table, those of the copy
    that it is read from); None where it lies in none, or in one that was only just changed."""
    digest = hashlib.blake2b(repr((condition, entry.captions)).encode(), digest_size=_STAMP // 2)
    now = time.time_ns()
    for picture in _sides(entry, condition):
        if picture is None:
            digest.update(b"none")
            continue
        try:
            stamp = picture.stamp()
        except OSError:
            return None
        if stamp is None or stamp.changed_ns > now - SETTLED_NS:
            return None
        digest.update(repr(stamp.place).encode())
    return digest.hexdigest()


def _sides(entry: Entry, condition: str) -> Sequence[Picture | None]:
    return entry.image, entry.maps.get(condition)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:  # gone, or not ours to read: nothing is remembered then
        return []
