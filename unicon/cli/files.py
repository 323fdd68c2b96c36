"""How does a command write its results: whole or not at all, under names that say what they are?"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from adapters.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

LONGEST_SLUG = 48
_PNG_HEAD = 33
"""Bytes of a PNG's signature and first chunk, behind which entries may stand."""


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all; folders are made. Returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda target: target.write_bytes(content))
    return path


def write_picture(path: Path, picture: Image.Image, facts: Mapping[str, str] | None = None) -> Path:
    """A PNG; `facts` (prompt, seed) become text entries that image viewers can show."""
    buffer = BytesIO()
    picture.save(buffer, format="PNG", pnginfo=_entries(facts))
    return write_bytes(path, buffer.getvalue())


def write_deep_picture(path: Path, values: np.ndarray, facts: Mapping[str, str] | None = None) -> Path:
    """Values in [0, 1], (H, W) or (H, W, 3) in red, green, blue, as a PNG of 16 bits, with entries."""
    import cv2
    import numpy as np
    from PIL.PngImagePlugin import putchunk

    deep = np.round(np.clip(values, 0, 1) * 65535).astype(np.uint16)
    done, content = cv2.imencode(".png", deep if deep.ndim == 2 else deep[..., ::-1])
    assert done, f"no PNG of shape {deep.shape}"
    png, entries = content.tobytes(), BytesIO()
    for kind, text, *_ in _entries(facts).chunks:
        putchunk(entries, kind, text)
    return write_bytes(path, png[:_PNG_HEAD] + entries.getvalue() + png[_PNG_HEAD:])


def _entries(facts: Mapping[str, str] | None) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, value in (facts or {}).items():
        info.add_itxt(key, value)
    return info


def write_json(path: Path, value: object) -> Path:
    """Readable JSON; NaN is refused."""
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return write_bytes(path, text.encode())


def slug(text: str) -> str:
    """The first words of a prompt as part of a file name; "untitled" when it has none."""
    words = re.sub(r"[^\w]+", "-", text.lower()).strip("-_")
    if len(words) > LONGEST_SLUG:
        words = words[:LONGEST_SLUG].rpartition("-")[0] or words[:LONGEST_SLUG]
    return words or "untitled"
