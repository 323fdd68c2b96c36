"""How do pairs of any size become batches of one size, the same way on both sides?

Every pair goes to the bucket nearest in ratio of width to height: it is resized until it covers the bucket,
and what stands over is cropped. Buckets have about the same number of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

WIDEST = 2.0
"""Ratio of the longest bucket's sides; longer pictures are cropped to it."""


@dataclass(frozen=True, order=True, slots=True)
class Bucket:
    """A size in pixels that pairs are trained at."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class View:
    """One way of seeing a pair."""

    place: float = 0.5
    """Where the crop lies in what stands over: 0 left or top, 1 right or bottom."""
    flip: bool = False
    zoom: float = 1.0
    """How many times as large as it fits the picture is seen, but never larger than it is."""
    down: float | None = None
    """Where the crop lies from top to bottom, if not at `place`: a zoomed one stands over both ways."""


def buckets(resolution: int, multiple: int, widest: float = WIDEST) -> list[Bucket]:
    """Sizes of about `resolution` ** 2 pixels, sides multiples of `multiple`, from tall to wide.

    Raises ValueError where the resolution is no multiple of `multiple`.
    """
    if resolution % multiple or resolution < multiple:
        raise ValueError(
            f"resolution is {resolution}; expected a multiple of {multiple}, the base's latent grid, such as "
            f"{max(1, round(resolution / multiple)) * multiple}"
        )
    sizes = set()
    for width in range(multiple, int(resolution * math.sqrt(widest)) + multiple, multiple):
        height = max(multiple, round(resolution**2 / width / multiple) * multiple)
        if max(width / height, height / width) <= widest:
            sizes |= {Bucket(height, width), Bucket(width, height)}
    return sorted(sizes, key=lambda b: (b.width / b.height, b.height))


def whole_buckets(longest: int, multiple: int, widest: float = WIDEST) -> list[Bucket]:
    """Sizes whose longer side is `longest`, sides multiples of `multiple`, from tall to wide: of any picture
    up to `widest` at most half a `multiple` stands over.

    Raises ValueError where `longest` is no multiple of `multiple`.
    """
    if longest % multiple or longest < multiple:
        raise ValueError(
            f"longest is {longest}; expected a multiple of {multiple}, the base's latent grid, such as "
            f"{max(1, round(longest / multiple)) * multiple}"
        )
    shorter = range(math.ceil(longest / widest / multiple) * multiple, longest + 1, multiple)
    sizes = {Bucket(longest, side) for side in shorter} | {Bucket(side, longest) for side in shorter}
    return sorted(sizes, key=lambda b: b.width / b.height)


def nearest(width: int, height: int, sizes: Sequence[Bucket]) -> Bucket:
    """The bucket nearest in ratio, the largest of them where several are."""
    return min(sizes, key=lambda b: (abs(math.log(width / height * b.height / b.width)), -b.height * b.width))


def framed(picture: PIL.Image.Image, bucket: Bucket, view: View) -> np.ndarray:
    """The picture as it is seen in that bucket, uint8 (height, width, 3)."""
    width, height = picture.size
    fitting = max(bucket.width / width, bucket.height / height)
    scale = max(fitting, min(fitting * view.zoom, 1.0))
    # The part of the picture that fills the bucket, so that it is resized and cropped in one step.
    # Never more than there is, as rounding would have it of one size in twenty.
    wide, tall = min(bucket.width / scale, width), min(bucket.height / scale, height)
    left = (width - wide) * view.place
    top = (height - tall) * (view.place if view.down is None else view.down)
    size = (bucket.width, bucket.height)
    box = (left, top, left + wide, top + tall)
    seen = np.asarray(picture.resize(size, PIL.Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))
    return seen[:, ::-1] if view.flip else seen
