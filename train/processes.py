"""Which processes train together, and how long do they wait for each other?"""

from __future__ import annotations

from datetime import timedelta

from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

LONGEST_STAGE = timedelta(days=2)
"""How long processes wait for the one that renders or encodes."""


def processes() -> PartialState:
    """This training's processes, one or several; they may wait for each other as long as a stage takes."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=LONGEST_STAGE)
