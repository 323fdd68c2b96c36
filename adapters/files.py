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


_UMASK = os.umask(0o077)
os.umask(_UMASK)  # it can only be read by setting it; once, before there are threads


def existing(path: Path, what: str) -> Path:
    """The path, if there is a file; else ValueError saying what was expected."""
    if not path.is_file():
        found = "is no file" if path.exists() else "does not exist"
        raise ValueError(f"{path} {found}: {what}")
    return path


class CannotWrite(OSError):
    """A file could not be written; what was there before is untouched."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside `path` and move into place, so that no reader ever sees half a file.

    Raises CannotWrite where that fails, and leaves nothing behind.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:32]}.", dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    os.close(handle)
    try:
        write(Path(name))
        os.chmod(name, 0o666 & ~_UMASK)  # mkstemp's files are private
        os.replace(name, path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A new folder that becomes `target` when the block ends well, and is gone when it does not.

    What was there before is put aside (`.NAME_old`) and removed once the new one is in its place; where a
    process was killed between the two, it is put back first.
    """
    new, old = target.with_name(f".{target.name}_{os.getpid()}"), target.with_name(f".{target.name}_old")
    if old.exists() and not target.exists():
        os.replace(old, target)
    for place in (new, old):  # of a process that was killed
        shutil.rmtree(place, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
        if target.exists():
            os.replace(target, old)  # a rename: between the two there is never less than one of them whole
        try:
            os.replace(new, target)
        except OSError:
            if old.exists():
                os.replace(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
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

    def to_file(target: Path) -> None:
        with target.open("wb") as file:
            file.writelines(whole)

    write_whole(path, to_file)


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
