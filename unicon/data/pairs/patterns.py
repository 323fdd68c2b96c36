"""Which files does a pattern name: `shards/{000..127}.tar`, `shards/*.tar`?"""

from __future__ import annotations

import glob
import re
from pathlib import Path


def is_pattern(text: str) -> bool:
    """Whether it is no plain path."""
    return "{" in text or glob.has_magic(text)


def matching(pattern: str) -> list[str]:
    """The files it names, in the order of its braces. Raises ValueError for one that is not there."""
    found = list(dict.fromkeys(f for each in expand(pattern) for f in sorted(glob.glob(each)) or [each]))
    if missing := [file for file in found if not Path(file).is_file()]:
        raise ValueError(f"{missing[0]}: no such file, named by {pattern}; check the pattern")
    return found


def expand(pattern: str) -> list[str]:
    """A pattern's braces written out, as a shell does: {000..127} and {a,b}."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    inside = match[1]
    span = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if span:
        width = len(span[1]) if span[1].startswith("0") else 0
        first, last = int(span[1]), int(span[2])
        if last < first:
            raise ValueError(f"{pattern}: counts from {first} down to {last}; write the lower number first")
        choices = [f"{number:0{width}d}" for number in range(first, last + 1)]
    else:
        choices = inside.split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [rest for choice in choices for rest in expand(f"{before}{choice}{after}")]
