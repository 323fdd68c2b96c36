"""What is a low-resolution picture as a map, and how is one made of any picture?

The map of the condition `lowres` is a small picture enlarged to the full size. Small pictures of the world
are blurred, noisy and compressed, so for training a picture is taken through all of that (the blur of Ramesh
et al. 2022, section 2.2, and in a plain order the parts of Zhang et al. 2021, arXiv 2103.14006). In use a
picture is only enlarged. How much of its detail is to be believed is not said here: that is the noise level
of its branch.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
import PIL.Image

from unicon.ranges import NOT_NEGATIVE, Range

LOWRES = "lowres"
"""The condition."""
MOST_SCALE = 4.0
"""By how much pictures are made smaller in training, at most, so also by how much they can be enlarged."""

_ALLOWED = {
    "blur": NOT_NEGATIVE,
    "scale": Range(least=1, hint="the small picture is not the larger one"),
    "noise": NOT_NEGATIVE,
    "quality": Range(least=1, most=100, whole=True),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Degradation:
    """How a picture becomes a small one. The steps are made in the order of the fields."""

    blur: float = 0.0
    """Deviation of a Gaussian, in pixels of the small picture."""
    scale: float = 2.0
    """Sides of the large picture in sides of the small one."""
    noise: float = 0.0
    """Deviation of what is added, in shares of the range."""
    quality: int = 100
    """Of the JPEG it is stored as; 100 is not stored at all."""

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            allowed.check(f"{name} of a degradation", getattr(self, name))

    @classmethod
    def drawn(cls, generator: np.random.Generator) -> Degradation:
        """One of those trained on: about a third is only made smaller, as a base's own pictures are."""
        scale = MOST_SCALE ** generator.uniform(0.25, 1.0)
        blur, noise, quality = generator.uniform(0, 1, 3)
        if generator.random() < 1 / 3:
            return cls(scale=scale)
        return cls(
            scale=scale,
            blur=0.8 * blur,
            noise=0.04 * noise**2,
            quality=100 if quality > 0.6 else round(35 + 100 * quality),
        )


def degraded(picture: np.ndarray, degradation: Degradation, generator: np.random.Generator) -> np.ndarray:
    """A picture, uint8 (H, W, 3), as the map of its small version: the same size."""
    height, width = picture.shape[:2]
    small = np.ascontiguousarray(picture)
    if degradation.blur > 0:
        small = cv2.GaussianBlur(small, (0, 0), degradation.blur * degradation.scale)
    size = tuple(max(1, round(side / degradation.scale)) for side in (width, height))
    small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    if degradation.noise > 0:
        noise = generator.normal(0, 255 * degradation.noise, small.shape)
        small = np.clip(np.round(small + noise), 0, 255).astype(np.uint8)
    if degradation.quality < 100:
        small = _stored(small, degradation.quality)
    return enlarged(small, width, height)


def degraded_anyhow(picture: np.ndarray) -> np.ndarray:
    """The same by a degradation drawn from what the picture shows: every picture always has one map."""
    digest = hashlib.blake2b(np.ascontiguousarray(picture).tobytes(), digest_size=8).digest()
    generator = np.random.default_rng(int.from_bytes(digest, "little"))
    return degraded(picture, Degradation.drawn(generator), generator)


def enlarged(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    """A picture, uint8 (h, w, 3), in a larger size: bicubic, as every map of this condition."""
    made = PIL.Image.fromarray(picture).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return np.asarray(made)


def _stored(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = BytesIO()
    PIL.Image.fromarray(picture).save(buffer, format="JPEG", quality=quality)
    with PIL.Image.open(buffer) as opened:
        return np.asarray(opened.convert("RGB"))
