"""Which part of the work is this process's, when accelerate has started several?

One process that nobody launched does all of it and loads nothing for it.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")

LONGEST_STAGE = timedelta(days=2)
"""How long processes wait for the one that renders, encodes or measures."""


def processes() -> PartialState:
    """Those that accelerate launched, one or several; they may wait for each other as long as a stage
    takes."""
    from accelerate import PartialState
    from accelerate.utils import parse_flag_from_env

    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"), timeout=LONGEST_STAGE)
    # Threads of a group that still stands at the very end now and then abort a process whose work is done.
    atexit.unregister(_part)
    atexit.register(_part)
    return state


def _part() -> None:
    from accelerate import PartialState

    PartialState().destroy_process_group()


@dataclass(frozen=True, slots=True)
class Share:
    """This process among those that share a command's work."""

    state: PartialState | None = None
    """None: it is alone."""

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all of them."""
        return self.state is None or self.state.is_main_process

    @property
    def index(self) -> int:
        """Its number among them."""
        return 0 if self.state is None else self.state.process_index

    def of(self, work: Sequence[T]) -> list[T]:
        """Every Nth piece, so that pieces of like cost, which lie together, are spread."""
        if self.state is None:
            return list(work)
        return list(work[self.state.process_index :: self.state.num_processes])

    def gathered(self, mine: list[Any]) -> list[Any]:
        """What all processes found, in their order; waits for them."""
        if self.state is None:
            return mine
        from accelerate.utils import gather_object

        return gather_object(mine)

    def wait(self) -> None:
        """Until all processes are here."""
        if self.state is not None:
            self.state.wait_for_everyone()


ALONE = Share()


def share() -> Share:
    """Of the processes that accelerate launched; alone without it."""
    return ALONE if int(os.environ.get("WORLD_SIZE", "1")) < 2 else Share(processes())
