"""How does an evaluation become a command: arguments in, a text out, and what is said of bad input?"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial

from unicon.extras import MissingExtra


def command(
    parser: Callable[[], argparse.ArgumentParser], work: Callable[[argparse.Namespace], str]
) -> Callable[[Sequence[str] | None], int]:
    """The `main(argv) -> int` of an evaluation: what `work` does with the arguments that `parser` reads."""

    def main(argv: Sequence[str] | None = None) -> int:
        top = parser()
        return run_command(top, partial(work, top.parse_args(argv)))

    return main


def run_command(top: argparse.ArgumentParser, work: Callable[[], str]) -> int:
    """Print what `work` returns, if anything; on bad input leave with 2 and its reason."""
    try:
        if text := work():
            print(text)
    except (ValueError, OSError, MissingExtra) as error:
        top.exit(2, f"{top.prog}: {error}\n")
    return 0
