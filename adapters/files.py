"""How are files written and found, so that nobody ever reads half of one?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError


def existing(path: Path, what: str) -> Path:
    """The path, if there is a file; else ValueError saying what was expected."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist: {what}")
    return path


class CannotWrite(OSError):
    """A file could not be written; what was there before is untouched."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path` and move into place, so that no reader ever sees half a file.

    Raises CannotWrite where that fails, and leaves nothing behind.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o644)  # mkstemp's files are private
        os.replace(name, path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


def cannot_write(path: Path, error: Exception) -> CannotWrite:
    """The error of a file that is not there now."""
    return CannotWrite(f"{path}: cannot be written ({error}); make room or choose another folder")
