"""How long has each stage of a family taken, over all the runs that it took?

`times.json` in the family's folder holds the seconds of wall time from before a stage's data are opened until
its output is there. A run that is killed counts up to its last checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from adapters.files import write_whole

TIMES = "times.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StageTime:
    """What one stage has taken so far."""

    seconds: float
    is_whole: bool
    """Whether it was timed from its beginning; if not, it took longer."""


def read_times(folder: Path) -> dict[str, StageTime]:
    """By stage; none where nothing was timed. ValueError for a file that was changed into something else."""
    path = folder / TIMES
    if not path.is_file():
        return {}
    try:
        return {name: StageTime(**each) for name, each in json.loads(path.read_text()).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is damaged ({error}); remove it, and time begins anew") from error


@contextmanager
def timed(folder: Path, stage: str) -> Iterator[Callable[[], None]]:
    """Adds the time that the block takes; the callable that it gives does so meanwhile, too.

    A stage that has left nothing in its folder by then, such as one that could not start, took none.
    """
    found = read_times(folder).get(stage)
    before = found or StageTime(seconds=0.0, is_whole=not (folder / stage).exists())
    started = time.monotonic()

    def save() -> None:
        if (folder / stage).exists():
            seconds = round(before.seconds + time.monotonic() - started, 3)
            spent = StageTime(seconds=seconds, is_whole=before.is_whole)
            # Read again: another stage of the family may be running beside this one.
            whole = {name: asdict(each) for name, each in {**read_times(folder), stage: spent}.items()}
            write_whole(folder / TIMES, lambda path: path.write_text(json.dumps(whole, indent=2) + "\n"))

    try:
        yield save
    except BaseException:
        with suppress(OSError, ValueError):  # the first error says more
            save()
        raise
    save()


def table(folder: Path, stages: Sequence[str]) -> str:
    """Stage, seconds and the same in hours, minutes, seconds; the total of these stages last."""
    times = read_times(folder)
    found = {name: times.get(name) or StageTime(seconds=0.0, is_whole=False) for name in stages}
    is_whole = all(each.is_whole for each in found.values())
    found["total"] = StageTime(seconds=sum(each.seconds for each in found.values()), is_whole=is_whole)
    rows = [("stage", "seconds", "h:mm:ss"), *(_row(name, each) for name, each in found.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{n:<{widths[0]}}  {s:>{widths[1]}}  {t:>{widths[2]}}" for n, s, t in rows]
    note = [] if is_whole else ["+: began before its time was taken, so it took longer"]
    return "\n".join([*lines, *note])


def _row(name: str, spent: StageTime) -> tuple[str, str, str]:
    more = "" if spent.is_whole else "+"
    return name, f"{spent.seconds:.1f}{more}", f"{timedelta(seconds=round(spent.seconds))}{more}"
