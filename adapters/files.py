"""How are files written and found, so that nobody ever reads half of one?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def existing(path: Path, what: str) -> Path:
    """The path, if there is a file; else ValueError saying what was expected."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist: {what}")
    return path


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path` and move into place, so that no reader ever sees half a file."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)  # mkstemp's files are private
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
