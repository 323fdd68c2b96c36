"""What is trained and measured next, until the time is over?"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

from .budget import Clock
from .measuring import measure, note_scenes
from .place import Place
from .systems import NUMBER, TITLES, Job
from .tables import summary
from .training import trained


def run(place: Place, todo: Sequence[Job], seconds: float = math.inf) -> int:
    """Train and measure what is not done yet; how many jobs are left when the time is over.

    Raises ValueError where the folder holds another base's, or what was trained on other data.
    """
    place.keep_to_itself()
    clock, left = Clock(seconds), [job for job in todo if not place.is_done(job)]
    for job in todo:
        if place.is_done(job) and not place.per_scene(job):
            note_scenes(place, job)
    for number, job in enumerate(left):
        if clock.minutes_left() == 0:
            return len(left) - number
        begun = time.monotonic()
        export = trained(place, job.system, clock)
        if export is None:
            return len(left) - number
        between = time.monotonic()
        measure(place, job, export)
        seconds_of = {"trained": between - begun, "measured": time.monotonic() - between}
        place.note("time", seconds_of, {"system": job.system.name, "direction": job.direction})
        name, key = f"{job.system.title}, {TITLES[job.direction]}", NUMBER[place.condition][0]
        print(
            f"{name}: {key} {summary(place, job)}; {seconds_of['trained']:.0f} s to train, "
            f"{seconds_of['measured']:.0f} s to measure; {len(left) - number - 1} left",
            file=sys.stderr,
            flush=True,
        )
    return 0
