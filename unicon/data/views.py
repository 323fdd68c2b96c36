"""Which two pictures show the same subject: crops of a photograph, frames of a video, photographs by name?

The pairs of an appearance adapter. Both pictures of a pair have one size. Which crops are taken follows from
the seed and the photograph's name alone.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
LARGEST_CROP, SMALLEST_CROP = 0.85, 0.6
"""Sides of a crop as shares of the photograph's."""
LEAST_MOVE = 0.5
"""How far two crops lie apart, as a share of the room there is."""

Views = tuple[PIL.Image.Image, PIL.Image.Image]


def crops(photo: PIL.Image.Image, name: str, *, num: int = 1, seed: int = 0) -> Iterator[Views]:
    """`num` pairs of crops in the photograph's own shape, the two of a pair apart from each other.

    Raises ValueError for a photograph too small to hold two different ones.
    """
    if min(photo.size) < 16:
        raise ValueError(
            f"{name}: has {photo.width} x {photo.height} pixels; crops need at least 16: use a larger one"
        )
    random = np.random.default_rng([seed, zlib.crc32(name.encode())])
    for _ in range(num):
        share = random.uniform(SMALLEST_CROP, LARGEST_CROP)
        size = np.maximum(np.floor(np.array(photo.size) * share), 1).astype(int)
        room = np.array(photo.size) - size
        first, second = _apart(random, room)
        yield tuple(photo.crop((*place, *(place + size))) for place in (first, second))  # pyright: ignore[reportReturnType]


def _apart(random: np.random.Generator, room: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two corners in [0, room], `LEAST_MOVE` of it apart along one axis at least."""
    first = random.uniform(0, 1, 2)
    second = random.uniform(0, 1, 2)
    axis = int(room.argmax())
    # The half of the axis that the first crop is not in always has room for such a move.
    move = random.uniform(LEAST_MOVE, max(first[axis], 1 - first[axis], LEAST_MOVE))
    second[axis] = first[axis] + (move if first[axis] < 0.5 else -move)
    return tuple(np.round(np.clip(place, 0, 1) * room).astype(int) for place in (first, second))  # pyright: ignore[reportReturnType]


def frames(video: Path, *, every_s: float = 1.0) -> Iterator[Views]:
    """Frames of a video, one every `every_s` seconds, each with the next; upright, as the file says.

    Raises ValueError for what OpenCV cannot read, and for a video with fewer than two such frames.
    """
    if not every_s > 0:
        raise ValueError(f"every_s is {every_s}; expected seconds above 0")
    before, num = None, 0
    for frame in _sampled(video, every_s):
        if before is not None:
            yield before, frame
        before, num = frame, num + 1
    if num < 2:
        raise ValueError(
            f"{video}: has {num} frames at one every {every_s:g} s; a pair needs 2: take them more often"
        )


def _sampled(video: Path, every_s: float) -> Iterator[PIL.Image.Image]:
    reader = cv2.VideoCapture(str(video))
    try:
        rate = reader.get(cv2.CAP_PROP_FPS)
        if not reader.isOpened() or not rate > 0:
            raise ValueError(f"{video}: is no video that OpenCV can read; convert it to MP4 (H.264) first")
        step, number = max(1, round(every_s * rate)), 0
        while reader.grab():
            if number % step == 0:
                done, pixels = reader.retrieve()
                if not done:
                    raise ValueError(f"{video}: is damaged at frame {number}; copy or convert it again")
                yield PIL.Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            number += 1
    finally:
        reader.release()


def named_alike(stems: Sequence[str]) -> dict[str, str]:
    """Stem -> stem of the photograph it is paired with: the next of those that share a name or a folder.

    `mug_1`, `mug_2`, `mug-3` share the name `mug`; `mug/a`, `mug/b` share a folder. The last is paired with
    the first. Raises ValueError when no two share anything.
    """
    groups: dict[str, list[str]] = {}
    for stem in sorted(stems):
        groups.setdefault(_subject(stem), []).append(stem)
    found = {
        stem: group[(place + 1) % len(group)]
        for group in groups.values()
        if len(group) > 1
        for place, stem in enumerate(group)
    }
    if not found:
        raise ValueError(
            f"{len(stems)} photos: no two are named alike; expected mug_1.jpg and mug_2.jpg, or a folder for "
            "each subject"
        )
    return found


def _subject(stem: str) -> str:
    folder, slash, name = stem.rpartition("/")
    shared = re.sub(r"[-_ .]*\(?\d+\)?$", "", name)
    # A name that is nothing but a number says nothing; the folder does.
    return f"{folder}{slash}{shared}" if shared != name and shared else folder or stem


def fitted(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """A picture resized until it covers `size` (width, height), and cropped to it around its centre."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    width, height = (max(want, round(side * scale)) for want, side in zip(size, picture.size, strict=True))
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    resized = picture.resize((width, height), PIL.Image.Resampling.LANCZOS)
    return resized.crop((left, top, left + size[0], top + size[1]))
