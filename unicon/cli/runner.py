"""What does each process of a launched `unicon train` or `unicon eval` run?

`accelerate launch` starts this file by path, so it cannot take a foreign package of the same name.
"""

from __future__ import annotations

import sys
from pathlib import Path


def run(package: str, arguments: list[str]) -> int | None:
    """Call `main(arguments)` of our `package`."""
    from unicon.cli.ours import ours

    return ours(f"{package}.__main__").main(arguments)


if __name__ == "__main__":
    # Python put this file's folder first, where `train` could come to mean a command of ours.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    raise SystemExit(run(sys.argv[1], sys.argv[2:]))
