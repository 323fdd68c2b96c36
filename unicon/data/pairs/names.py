"""Which names of columns, folders and members mean what?"""

from __future__ import annotations

from typing import Any

IMAGE = ("image", "images", "photo")
CAPTIONS = ("captions", "caption", "text", "prompt")


def is_image(name: str) -> bool:
    return name.lower() in IMAGE


def is_caption(name: str) -> bool:
    return name.lower() in CAPTIONS


def as_captions(value: Any, place: str) -> tuple[str, ...]:
    """Captions from what a source holds: nothing, a text, or a list of them; empty ones are dropped."""
    texts = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise ValueError(
            f"{place}: a caption is a {type(value).__name__}; expected a text or a list of texts"
        )
    return tuple(text.strip() for text in texts if text.strip())
