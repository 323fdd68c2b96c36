"""How are pairs decoded while those before them are used?

By a few threads: Pillow, OpenCV and hashing let others run while they work. What comes out, and in which
order, does not depend on them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

T = TypeVar("T")
Made = TypeVar("Made")

THREADS = min(4, os.cpu_count() or 1)
"""Of each process."""
NUM_AHEAD = 32
"""Pairs that are decoded before they are read, at most: they are held in memory."""


def ahead(make: Callable[[T], Made], items: Iterable[T]) -> Iterator[Made]:
    """`make` of every item, in their order."""
    pool, waiting = ThreadPoolExecutor(THREADS), deque[Future[Made]]()
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


class Ahead(Generic[T, Made]):
    """`make` of items that are taken about in the order they are expected in, `NUM_AHEAD` of them early."""

    def __init__(self, make: Callable[[T], Made]):
        self.make = make
        self._expected = deque[T]()
        self._begun = deque[Future[Made]]()
        """Of the first that are expected."""
        self._pool = ThreadPoolExecutor(THREADS)

    def expect(self, items: Iterable[T]) -> None:
        """They are taken after those that are expected already."""
        self._expected.extend(items)
        self._begin()

    def take(self, item: T) -> Made:
        """Of any item; raises what `make` does. Those that were expected before it are not any more."""
        if item not in self._expected:
            return self.make(item)
        while self._expected.popleft() != item:
            self._drop()
        begun = self._begun.popleft() if self._begun else None
        self._begin()
        return self.make(item) if begun is None else begun.result()

    def clear(self) -> None:
        """Nothing is expected any more; what was not begun is left."""
        self._expected.clear()
        while self._begun:
            self._drop()

    def _drop(self) -> None:
        if self._begun:
            self._begun.popleft().cancel()

    def _begin(self) -> None:
        while len(self._begun) < min(NUM_AHEAD, len(self._expected)):
            self._begun.append(self._pool.submit(self.make, self._expected[len(self._begun)]))
