"""How are files written and found, so that nobody ever reads half of one?"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


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


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder that becomes `target` when the block ends well, and is gone when it does not."""
    new = target.with_name(f".{target.name}_{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)  # of a process of this number that was killed
    try:
        new.mkdir(parents=True)
        yield new
        if target.exists():
            shutil.rmtree(target)
        os.replace(new, target)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, whole or not at all, the same bytes for the same content.

    safetensors itself orders the metadata by chance.
    """
    from safetensors.torch import save

    content = save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(metadata))
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # data begins at a multiple of 8 bytes; its offsets count from there
    whole = [len(text).to_bytes(8, "little"), text, memoryview(content)[8 + size :]]
    write_whole(path, lambda target: target.write_bytes(b"".join(whole)))


def write_array(path: Path, values: np.ndarray) -> None:
    """A `.npy` file, whole or not at all; its folder is made."""
    import numpy as np

    _write_by_handle(path, lambda file: np.save(file, values, allow_pickle=False))


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """An `.npz` file, whole or not at all; its folder is made."""
    import numpy as np

    save: Any = np.savez_compressed if compressed else np.savez
    _write_by_handle(path, lambda file: save(file, **arrays))


def _write_by_handle(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """For numpy, which lengthens a name without a suffix that it knows."""

    def to_file(target: Path) -> None:
        with target.open("wb") as file:
            write(file)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, to_file)


def cannot_write(path: Path, error: Exception) -> CannotWrite:
    """The error of a file that is not there now."""
    return CannotWrite(f"{path}: cannot be written ({error}); make room or choose another folder")
