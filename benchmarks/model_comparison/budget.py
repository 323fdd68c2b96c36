"""How much is spent, and which of it decides about one result?"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is spent; part of every result."""

    steps: int = 180
    """Of our adapter; what they compute is everybody's budget."""
    batch_size: int = 24
    trial_share: float = 0.1
    num: int = 60
    """Scenes."""
    seeds: int = 3
    """Of sampling; each system is trained once."""
    drawing_steps: int = 20
    judge_steps: int = 1
    """Of a judge that is a base: one is its best estimate (`docs/log.md`)."""


OPTIONS = {
    "--steps": "of our adapter, which is everybody's compute",
    "--batch-size": "pairs per step",
    "--trial-share": "of a training, for every rate that is tried",
    "--num": "scenes that are measured",
    "--seeds": "of sampling",
    "--drawing-steps": "of all sampling",
    "--judge-steps": "of a judge that is a base",
}
"""Every field of `Budget`."""
SETTINGS = {
    "cost": ("steps", "batch_size"),
    "rate": ("steps", "batch_size", "trial_share"),
    "time": ("judge", *asdict(Budget())),
    "score": ("judge", *asdict(Budget())),
    "scenes": ("judge", *asdict(Budget())),
    "text": tuple(asdict(Budget())),
}
"""What has to be the same for a result to be taken instead of being measured again."""


class Clock:
    """How much of the time is left."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds

    def minutes_left(self) -> float:
        return max(0.0, (self.end - time.monotonic()) / 60)
