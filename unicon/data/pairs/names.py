"""Which names of columns, folders and members mean what?"""

from __future__ import annotations

from typing import Any

from unicon.data.photos import SUFFIXES

IMAGE = ("image", "images", "photo")
ANY_MAP = ("conditioning_image", "conditioning", "condition")
"""A map that does not say of what, as data sets for ControlNet have it."""
KEYS = ("__key__", "key", "id", "file_name", "name", "url")
"""What a row is called."""
CAPTIONS = ("captions", "caption", "text", "prompt")


def is_image(name: str) -> bool:
    return name.lower() in IMAGE


def kind_of_column(name: str) -> str:
    """What a column of pictures holds: `depth.png` holds depth, `jpg` the image, as members of a tar do."""
    stem, _, suffix = name.rpartition(".")
    return (stem or "image") if f".{suffix.lower()}" in SUFFIXES else name


def is_caption(name: str) -> bool:
    return name.lower() in CAPTIONS


def as_text(content: bytes, place: str) -> str:
    """A text file's content. Raises ValueError for what is no UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: is no text in UTF-8 ({error}); save it as UTF-8") from error


def as_captions(value: Any, place: str) -> tuple[str, ...]:
    """Captions from what a source holds: nothing, a text, or a list of them; empty ones are dropped."""
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"{place}: a caption is a {type(value).__name__}; expected a text or a list of texts"
        )
    return tuple(text.strip() for text in texts if text.strip())
