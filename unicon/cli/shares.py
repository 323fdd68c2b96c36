"""Which part of the work is this process's, when accelerate has started several?

One process that nobody launched does all of it and loads nothing for it. `--processes N` starts N through
accelerate; `accelerate launch -m unicon COMMAND ...` is the same with options of one's own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """This process among those that share a command's work."""

    state: PartialState | None = None
    """None: it is alone."""

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all of them."""
        return self.state is None or self.state.is_main_process

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


def share() -> Share:
    """Of the processes that accelerate launched; alone without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Share()
    from train.processes import processes

    return Share(processes())


def add_processes_option(parser: argparse.ArgumentParser) -> None:
    """`--processes N`."""
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes that share the pictures (default 1)"
    )


def launched(args: argparse.Namespace, arguments: Sequence[str]) -> int | None:
    """Start `unicon ARGUMENTS` in `--processes` processes and return their exit code; None if it is one.

    In a process that was launched, it is always one.
    """
    if args.processes < 1:
        raise ValueError(f"--processes must be at least 1, got {args.processes}")
    if args.processes == 1 or "WORLD_SIZE" in os.environ:
        return None
    from unicon.cli import launch

    args.launch = None
    words = launch.command("unicon", arguments, launch.launch_options(args))
    return subprocess.call(words, env=launch.environment())
