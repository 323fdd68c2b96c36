"""How does a command start itself in several processes?

`--processes N` starts N through accelerate; `accelerate launch -m unicon COMMAND ...` is the same with
options of one's own. What each of them does is `unicon.processes`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence


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
    return launch.wait_for(words, launch.environment(args.processes))
