"""How does whatever a user calls a photograph become an upright RGB picture, or a clear error?

Any mode, EXIF rotation, transparency over white, 16 bits; and the same with a longer side of so many pixels,
or as centred squares of one size, for whoever needs equal shapes. Leaves out resizing a call's pictures
(``unicon.pictures``).
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

SUFFIXES = (
    ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".avif", ".heic", ".heif"
)  # fmt: skip
"""Of what counts as a picture in a folder. HEIC needs a plug-in, and is named where there is none."""
ARRAYS = (".npy", ".npz")
"""What is taken for a picture where it is none, and told apart: it does not say what is white."""
AS_PICTURES = "unicon rescale writes a folder of .npy maps as pictures"
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""The decoders that are asked, as far as Pillow has them: others start programs, such as Ghostscript."""
HEIC_BRANDS = ("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1")
MAX_MEGAPIXELS = 120.0
MIN_SIDE_PX = 8
ORIENTATION = 0x0112
QUARTER_TURNS = (5, 6, 7, 8)
"""EXIF's tag of the orientation, and its values that swap width and height."""
WHITE = "unicon white as read"
"""Entry of a picture's `info`: the value that is read as white, where only the largest value tells it."""


_FILTERS = threading.Lock()


class _Loading(threading.local):
    """Whether this thread is loading a picture.

    It stands for the pattern of modules in a filter of warnings, one that is in force in such threads alone:
    `warnings.catch_warnings` puts filters back that other threads have changed meanwhile.
    """

    is_on = False

    @contextlib.contextmanager
    def without_warnings(self) -> Iterator[None]:
        ours: Any = ("ignore", None, Warning, self, 0)
        filters: Any = warnings.filters
        if filters[:1] != [ours]:
            with _FILTERS:
                filters.insert(0, ours)
                # Others have put theirs before the one that was there.
                for place in reversed([n for n, each in enumerate(filters) if each == ours][1:]):
                    del filters[place]
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False

    def match(self, module: str) -> bool:
        return self.is_on


_LOADING = _Loading()


def load_photo(source: str | Path | bytes | PIL.Image.Image | np.ndarray, name: str = "") -> PIL.Image.Image:
    """A file, its content, PIL image or array -> PIL image in mode RGB, upright. `name` is for messages.

    Arrays are (H, W), (H, W, 1), (H, W, 3) or (H, W, 4): uint8, uint16, bool or floats in [0, 1]. Of an
    animation the first frame is taken. Raises ValueError naming the file, the rule and the remedy.
    """
    if isinstance(source, (str, Path)):
        return _from_file(Path(source))
    if isinstance(source, bytes):
        return _from_content(BytesIO(source), name or "picture", len(source))
    if isinstance(source, PIL.Image.Image):
        return _upright_rgb(source, name or "picture")
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise ValueError(
        f"photo is a {type(source).__name__}; expected a path, a PIL image or an array: convert it"
    )


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture's file, turned as EXIF says, without decoding it."""
    try:
        with PIL.Image.open(path) as image:
            turned = image.getexif().get(ORIENTATION) in QUARTER_TURNS
            return (image.height, image.width) if turned else image.size
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: is not a picture that Pillow can read ({error})") from error


def list_photos(source: str | Path) -> list[Path]:
    """The pictures of a folder (not of folders within), sorted by name; a file stands for itself.

    Raises ValueError when there is none.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ValueError(f"{path}: no such file or folder; check the spelling and the current folder")
    found = [
        p
        for p in path.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    ]
    if not found:
        arrays = any(p.suffix.lower() in ARRAYS for p in path.iterdir())
        raise ValueError(
            f"{path}: holds no picture; expected files that end in {', '.join(SUFFIXES)}"
            + (f"; {AS_PICTURES}" if arrays else "")
        )
    return sorted(found)


def at_longer_side(
    picture: PIL.Image.Image, side_px: int, resample: PIL.Image.Resampling = PIL.Image.Resampling.LANCZOS
) -> PIL.Image.Image:
    """The whole picture with its longer side at `side_px`; itself where it is so."""
    scale = side_px / max(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture if (width, height) == picture.size else picture.resize((width, height), resample)


def centred_square(picture: np.ndarray, size_px: int) -> np.ndarray:
    """Largest centred square of an (H, W, 3) picture, resized by area averaging, or enlarged smoothly:
    (size_px, size_px, 3)."""
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    crop = picture[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side >= size_px else cv2.INTER_CUBIC  # areas would enlarge into blocks
    return np.asarray(cv2.resize(crop, (size_px, size_px), interpolation=how))


def _from_file(path: Path) -> PIL.Image.Image:
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; expected a picture: name a file in it, or use list_photos")
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the spelling and the current folder")
    return _from_content(path, str(path), path.stat().st_size)


class _Refused(ValueError):
    """A picture that is whole, and that we do not take."""


def _from_content(content: Path | BytesIO, name: str, num_bytes: int) -> PIL.Image.Image:
    if num_bytes == 0:
        raise ValueError(f"{name}: is empty (0 bytes); copy or download it again")
    _register_plug_ins()
    try:
        # Our own limit below has a clearer text than Pillow's warning at a lower size, and what it says about
        # damaged metadata of a picture it reads is not for our users.
        formats = [f for f in FORMATS if f in PIL.Image.OPEN]
        with _LOADING.without_warnings(), PIL.Image.open(content, formats=formats) as image:
            return _upright_rgb(image, name)
    except _Refused:
        raise
    except PIL.Image.DecompressionBombError as error:
        raise ValueError(_huge(name, str(error))) from error
    except PIL.UnidentifiedImageError as error:
        raise ValueError(f"{name}: {_unreadable(content)}") from error
    except PermissionError as error:
        raise ValueError(
            f"{name}: may not be read ({error.strerror}); change its permissions, or those of its folder"
        ) from error
    except Exception as error:  # decoders let anything through: OSError, struct.error, IndexError, ...
        raise ValueError(
            f"{name}: is truncated or damaged ({error or type(error).__name__}); copy or download it again"
        ) from error


@cache
def _register_plug_ins() -> None:
    """Pillow's own, and of others the one for HEIC where it is installed."""
    PIL.Image.init()
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener  # pyright: ignore[reportMissingImports]

        register_heif_opener()


def _unreadable(content: Path | BytesIO) -> str:
    """Why Pillow knows no decoder for a file."""
    start = content.getvalue()[:12] if isinstance(content, BytesIO) else _start(content)
    brand = start[8:12].decode("latin-1").lower() if start[4:8] == b"ftyp" else ""
    kind = {"avif": "AVIF", "avis": "AVIF"}.get(brand, "HEIC" if brand in HEIC_BRANDS else None)
    if kind is not None:
        return f"is an {kind} picture, which this Pillow cannot read; convert it to JPEG or PNG" + (
            ", or pip install pillow-heif" if kind == "HEIC" else ""
        )
    if start.startswith(b"\x93NUMPY"):
        return f"is an array of numpy; expected a picture: {AS_PICTURES}"
    return f"is not a picture that Pillow can read; expected {', '.join(SUFFIXES)}"


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)


def _huge(name: str, detail: str) -> str:
    return f"{name}: {detail}; at most {MAX_MEGAPIXELS:g} megapixels are read: make the picture smaller first"


def _check_size(image: PIL.Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise _Refused(_huge(name, f"has {width} x {height} pixels"))
    if min(width, height) < MIN_SIDE_PX:
        raise _Refused(
            f"{name}: has {width} x {height} pixels; at least {MIN_SIDE_PX} are needed: use a larger one"
        )


def _upright_rgb(image: PIL.Image.Image, name: str) -> PIL.Image.Image:
    _check_size(image, name)
    upright = PIL.ImageOps.exif_transpose(image)
    if upright.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I", "F"):
        return _from_deep_grey(np.asarray(upright), name)
    if upright.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in upright.info:
        return _over_white(upright)
    return upright.convert("RGB")


def _over_white(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode in ("La", "RGBa"):  # premultiplied
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    colour = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", colour.size, "white"), colour).convert("RGB")


def _from_deep_grey(values: np.ndarray, name: str) -> PIL.Image.Image:
    """Grey of 16 or 32 bits: integers to 65535 (32 bits: or to 255), floats to 1 or 255."""
    plane = values.astype(np.float32)
    if not np.isfinite(plane).all() or plane.min() < 0:
        raise _Refused(
            f"{name}: holds negative or non-finite values; expected brightness from 0 on: fill what is "
            "missing, rescale the rest"
        )
    most = float(plane.max())
    top = 1.0 if values.dtype.kind == "f" and most <= 1 else 255.0 if most <= 255 else 65535.0
    is_16_bits = values.dtype.kind == "u" and values.dtype.itemsize == 2  # in either order of bytes
    if is_16_bits:
        top = 65535.0
    if most > top:
        raise _Refused(f"{name}: holds values up to {most:.4g}; expected at most 65535: rescale it")
    picture = PIL.Image.fromarray(np.round(plane / top * 255).astype(np.uint8)).convert("RGB")
    if not is_16_bits and most > 0:  # black is black at any scale
        picture.info[WHITE] = top
    return picture


def _from_array(array: np.ndarray) -> PIL.Image.Image:
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or array.size == 0:
        raise ValueError(
            f"array has shape {array.shape}; expected (height, width), or (height, width, 1, 3 or 4): "
            "move channels last, one picture at a time"
        )
    return _upright_rgb(PIL.Image.fromarray(_to_bytes(array)), "array")


def _to_bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return np.round(array / 257.0).astype(np.uint8)
    if array.dtype.kind != "f":
        raise ValueError(
            f"array has values of type {array.dtype}; expected uint8, uint16, bool or floats in [0, 1]"
        )
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise ValueError(
            f"array holds values from {array.min():.3g} to {array.max():.3g}; "
            "expected floats in [0, 1]: divide by 255?"
        )
    return np.round(array.astype(np.float64) * 255).astype(np.uint8)
