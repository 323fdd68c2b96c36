"""How does a linear picture become a photograph: exposure, white balance, blur, noise, compression?

Every step is mild. Leaves out styles.
"""

from __future__ import annotations

import cv2
import numpy as np

Rng = np.random.Generator


def expose(linear: np.ndarray, rng: Rng, dark: bool, reflectance: float) -> np.ndarray:
    """Choose a brightness, roll off highlights and apply gamma: (S, S, 3) in [0, 1].

    Half way between a reflected-light meter and one that knows the mean ``reflectance``, so snow stays white.
    """
    level = float(np.exp(np.log(linear @ np.array([0.21, 0.72, 0.07], np.float32) + 0.01).mean()))
    goal = np.sqrt(rng.uniform(0.22, 0.34) * rng.uniform(0.9, 1.25) * reflectance) * (0.3 if dark else 1.0)
    x = linear * np.float32(np.clip(goal / level, 0.35, 5.0))
    mapped = x * (1 + x / 9.0) / (1 + x * 0.45)
    return np.clip(mapped, 0, 1) ** (1 / 2.2)


def photograph(picture: np.ndarray, rng: Rng) -> np.ndarray:
    """White balance, contrast, vignette, blur, sensor noise and compression on a picture in [0, 1]."""
    balance = 1 + rng.normal(0, 0.025, 3).astype(np.float32)
    contrast, lift = np.float32(rng.uniform(0.94, 1.12)), np.float32(rng.normal(0, 0.012))
    out = (picture * balance - 0.5) * contrast + 0.5 + lift
    if rng.random() < 0.3:
        axis = np.linspace(-1, 1, picture.shape[0], dtype=np.float32)
        out = (
            out
            * (1 - np.float32(rng.uniform(0.03, 0.14)) * (axis[:, None] ** 2 + axis[None] ** 2))[..., None]
        )
    if rng.random() < 0.3:
        out = cv2.GaussianBlur(out, (0, 0), float(rng.uniform(0.3, 0.6)))
    elif rng.random() < 0.3:
        out = out + np.float32(0.35) * (out - cv2.GaussianBlur(out, (0, 0), 1.0))
    sigma = float(rng.choice([0.0, rng.uniform(0.002, 0.013)], p=(0.5, 0.5)))
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    out = np.clip(out + grain * np.float32(sigma), 0, 1)
    return _compress(out, rng) if rng.random() < 0.25 else out


def _compress(picture: np.ndarray, rng: Rng) -> np.ndarray:
    quality = int(rng.integers(80, 97))
    done, data = cv2.imencode(
        ".jpg", (picture[..., ::-1] * 255).round().astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
