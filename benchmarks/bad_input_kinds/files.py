"""What is in the files that bad inputs are made of?"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import PIL.Image


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def saved(image: PIL.Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png(seed: int, size: tuple[int, int] = (64, 64)) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return saved(PIL.Image.fromarray(values))


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def parquet(path: Path, columns: dict[str, list]) -> Path:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def huge_png() -> bytes:
    """A file of a few bytes that says it has 400 megapixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    pixels = b"IDAT" + zlib.compress(b"")
    parts = [
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each))
        for each in (chunk, pixels)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def floats(value: float, kind: type = np.float32) -> bytes:
    return saved(PIL.Image.fromarray(np.full((64, 64), value, kind)), "TIFF")


def tar_rows(num: int) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for i in range(num):
        rows |= {f"{i}.image.png": png(i), f"{i}.depth.png": png(100 + i), f"{i}.txt": b"a thing"}
    return rows
