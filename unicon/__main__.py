"""`python -m unicon ...` is `unicon ...`; `accelerate launch -m unicon ...` runs it in several processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    from unicon.cli import main as cli

    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
