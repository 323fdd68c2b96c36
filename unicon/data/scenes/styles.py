"""What does a finished scene look like as a watercolour, an ink drawing, a poster, pixel art or neon?

Deterministic functions of the picture (S, S, 3) in [0, 1], the edges and a generator. Leaves out geometry.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .textures import noise

Rng = np.random.Generator
WORDS = {
    "photo": ("a photo of ",), "watercolour": ("a watercolour painting of ",), "ink": ("an ink drawing of ",),
    "poster": ("a poster of ",), "pixel": ("pixel art of ",), "neon": ("a neon picture of ",),
}  # fmt: skip


def _grid(size: int, rng: Rng, scale: float, layer: int = 0) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size * scale + float(rng.random())
    return noise(x, y, layer)


def watercolour(picture: np.ndarray, edges: np.ndarray, rng: Rng) -> np.ndarray:
    """Flat washes with soft borders, darker rims and paper grain."""
    size = picture.shape[0]
    byte = (picture * 255).astype(np.uint8)
    for _ in range(3):
        byte = cv2.bilateralFilter(byte, 7, 45, 4)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    wobble = size / 110
    bent = cv2.remap(
        byte,
        x + wobble * _grid(size, rng, 0.3),
        y + wobble * _grid(size, rng, 0.3),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    wash = 1 - (1 - bent.astype(np.float32) / 255) * (0.85 + 0.16 * _grid(size, rng, 0.25)[..., None])
    wash = wash * 0.88 + 0.12
    rim = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 0.8)[..., None]
    paper = 1 + 0.02 * _grid(size, rng, 1.0, 1)[..., None]
    return np.clip((wash - 0.16 * rim) * paper, 0, 1)


def ink(picture: np.ndarray, edges: np.ndarray, rng: Rng) -> np.ndarray:
    """Black lines and hatching on paper."""
    size = picture.shape[0]
    light = cv2.GaussianBlur(picture.mean(-1), (0, 0), 1.2)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) * (128 / size)
    first, second = np.sin((x + y) * 1.6) > 0.1, np.sin((x - y) * 1.6) > 0.1
    paper = np.full((size, size), 0.95, np.float32)
    paper[(light < 0.50) & first] = 0.35
    paper[(light < 0.30) & second] = 0.2
    lines = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), 0.6) * 1.8
    tone = np.clip(paper * (1 - np.clip(lines, 0, 1)), 0.04, 1)
    return tone[..., None] * np.array([1.0, 0.98, 0.93], np.float32)


def poster(picture: np.ndarray, edges: np.ndarray, rng: Rng) -> np.ndarray:
    """Few flat, strong colours."""
    byte = cv2.medianBlur((picture * 255).astype(np.uint8), 3)
    hsv = cv2.cvtColor(byte, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 0] = np.round(hsv[..., 0] / 15) * 15 % 180
    hsv[..., 1] = np.clip(np.round(hsv[..., 1] * 1.5 / 85) * 85, 0, 255)
    hsv[..., 2] = np.clip((np.floor(hsv[..., 2] / 64) + 0.75) * 64, 40, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32) / 255


def pixel(picture: np.ndarray, edges: np.ndarray, rng: Rng) -> np.ndarray:
    """Blocks of four pixels in few colours."""
    size = picture.shape[0]
    small = cv2.resize(picture, (size // 4, size // 4), interpolation=cv2.INTER_AREA)
    small = np.round(np.clip((small - 0.5) * 1.25 + 0.5, 0, 1) * 5) / 5
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_NEAREST)


def neon(picture: np.ndarray, edges: np.ndarray, rng: Rng) -> np.ndarray:
    """Glowing contours in the night."""
    colour = cv2.GaussianBlur(picture, (0, 0), 2.0)
    vivid = np.clip((colour - colour.min(-1, keepdims=True)) * 3.0 + 0.15, 0, 1)
    line = edges.astype(np.float32)[..., None] * vivid
    glow = cv2.GaussianBlur(line, (0, 0), 2.2) * 1.6 + cv2.GaussianBlur(line, (0, 0), 0.7) * 1.3
    night = picture**1.6 * np.array([0.16, 0.12, 0.30], np.float32) + np.array([0.02, 0.01, 0.06], np.float32)
    return np.clip(night + glow, 0, 1)


APPLY: dict[str, Callable[[np.ndarray, np.ndarray, Rng], np.ndarray]] = {
    "watercolour": watercolour, "ink": ink, "poster": poster, "pixel": pixel, "neon": neon,
}  # fmt: skip
