"""How are pairs decoded while those before them are used?

By a few threads: Pillow, OpenCV and hashing let others run while they work. What comes out, and in which
order, does not depend on them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Made = TypeVar("Made")

THREADS = min(4, os.cpu_count() or 1)
"""Of each process."""
NUM_AHEAD = 32
"""Pairs of the next step that are decoded during the one before, at most: they are held in memory."""


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
