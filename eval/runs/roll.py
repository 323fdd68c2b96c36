"""Which items take part, known without holding their pictures?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from eval.digests import digest
from eval.runs.items import Item, Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One item."""

    name: str
    key: int
    """Of its noise."""
    digest: str
    size: tuple[int, int]
    caption: str
    conditions: tuple[str, ...]
    """Of its maps."""
    blank: tuple[str, ...]

    @property
    def stem(self) -> str:
        """A file's name for it."""
        return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', self.name)[-60:]}-{self.digest[:8]}"


@dataclass(frozen=True, slots=True)
class Roll:
    """All items of a suite, in their order."""

    entries: tuple[Entry, ...]
    load: Callable[[int], Item]

    @classmethod
    def of(cls, items: Sequence[Item], title: str) -> Roll:
        """Read everything once; ValueError for two items of one name."""
        bar = tqdm(range(len(items)), desc=f"reading {title}", unit="picture", leave=False)
        entries = tuple(_entry(items[n]) for n in bar)
        twice = [name for name, count in Counter(e.name for e in entries).items() if count > 1]
        if twice:
            raise ValueError(f"{title}: two pictures are called {twice[0]}; give each a name of its own")
        return cls(entries, items.__getitem__)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def digest(self) -> str:
        """16 hex digits of all items in their order."""
        return digest("".join(entry.digest for entry in self.entries))

    def places(self, task: Task) -> list[int]:
        """Items that take part in a task: all for estimates, else those whose map shows something."""
        if task.direction == "estimate":
            return list(range(len(self)))
        return [n for n, entry in enumerate(self.entries) if task.condition not in entry.blank]

    def another(self, places: Sequence[int]) -> dict[int, int]:
        """For each place the one before it among those of its size, which is another where there are two."""
        by_size: dict[tuple[int, int], list[int]] = {}
        for place in places:
            by_size.setdefault(self.entries[place].size, []).append(place)
        return {
            place: alike[n - 1]
            for alike in by_size.values()
            for n, place in enumerate(alike)
            if len(alike) > 1
        }

    def batches(self, places: Sequence[int], num: int) -> Iterator[list[int]]:
        """At most `num` places at a time, of one size."""
        waiting: dict[tuple[int, int], list[int]] = {}
        for place in places:
            alike = waiting.setdefault(self.entries[place].size, [])
            alike.append(place)
            if len(alike) == num:
                yield waiting.pop(self.entries[place].size)
        yield from waiting.values()


def _entry(item: Item) -> Entry:
    return Entry(
        name=item.name, key=item.key, digest=item.digest, size=item.size, caption=item.caption,
        conditions=tuple(item.maps), blank=item.blank,
    )  # fmt: skip
