"""How alike are two pictures, pixel by pixel and patch by patch?

PSNR, and SSIM as in Wang et al. 2004 (11 x 11 Gaussian window with sigma 1.5, K1 = 0.01, K2 = 0.03, windows
inside the picture only), per channel and averaged; SSIM over five scales (Wang et al. 2003), which is what
ControlNet++ calls SSIM. Leaves out learnt distances.
"""

from __future__ import annotations

import cv2
import numpy as np

WINDOW_PX, SIGMA_PX = 11, 1.5
K1, K2 = 0.01, 0.03
SCALE_POWERS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST_FOR_SCALES_PX = 16 * WINDOW_PX


def psnr(picture: np.ndarray, truth: np.ndarray) -> float:
    """10 log10(1 / mean squared difference) in dB, of pictures of one shape in [0, 1]; 100 where equal.

    Capped, so that a mean over pictures stays finite. Raises ValueError as `ssim`, but takes any size.
    """
    p, g = _checked(picture, truth)
    return float(-10 * np.log10(max(np.mean((p - g) ** 2), 1e-10)))


def ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """Mean structural similarity of pictures (H, W) or (H, W, C) in [0, 1]; 1 where equal.

    Raises ValueError for shapes that differ, sides below 11 pixels, values outside [0, 1] or NaN.
    """
    p, g = _checked(picture, truth)
    if min(p.shape[:2]) < WINDOW_PX:
        raise ValueError(f"pictures are {p.shape[:2]}; SSIM needs sides of at least {WINDOW_PX} pixels")
    return float(np.mean(_terms(p, g)[0]))


def ms_ssim(picture: np.ndarray, truth: np.ndarray) -> float:
    """SSIM over five scales of (H, W) or (H, W, C) in [0, 1] (Wang et al. 2003, eq. 7); 1 where equal.

    The contrast-structure term of each scale and the luminance of the last, to the powers `SCALE_POWERS`;
    between scales pictures are averaged 2 x 2 (an odd last row or column is dropped). Negative terms count as
    0. Each term is averaged over pixels and channels first, as torchmetrics does. Raises ValueError as
    `ssim`, and for sides below 176 pixels, where the window does not fit the last scale.
    """
    p, g = _checked(picture, truth)
    if min(p.shape[:2]) < SMALLEST_FOR_SCALES_PX:
        raise ValueError(
            f"pictures are {p.shape[:2]}; five scales need sides of at least {SMALLEST_FOR_SCALES_PX} "
            "pixels: use ssim"
        )
    result = 1.0
    for scale, power in enumerate(SCALE_POWERS):
        last = scale == len(SCALE_POWERS) - 1
        whole, structure = _terms(p, g)
        result *= max(float(np.mean(whole if last else structure)), 0.0) ** power
        if not last:
            p, g = _halved(p), _halved(g)
    return result


def _terms(p: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM, and its contrast-structure factor, wherever the window lies inside."""
    mean_p, mean_g = _window(p), _window(g)
    var_p, var_g = _window(p * p) - mean_p**2, _window(g * g) - mean_g**2
    both = _window(p * g) - mean_p * mean_g
    structure = (2 * both + K2**2) / (var_p + var_g + K2**2)
    return structure * (2 * mean_p * mean_g + K1**2) / (mean_p**2 + mean_g**2 + K1**2), structure


def _halved(x: np.ndarray) -> np.ndarray:
    height, width = (side // 2 * 2 for side in x.shape[:2])
    x = x[:height, :width]
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def _window(x: np.ndarray) -> np.ndarray:
    """Gaussian means at all places where the window lies inside."""
    edge = WINDOW_PX // 2
    return cv2.GaussianBlur(x, (WINDOW_PX, WINDOW_PX), SIGMA_PX)[edge:-edge, edge:-edge]


def _checked(picture: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, g = np.asarray(picture, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.shape != g.shape or p.ndim not in (2, 3) or p.size == 0:
        raise ValueError(f"pictures are {p.shape} and {g.shape}; expected one shape, (H, W) or (H, W, C)")
    for name, x in (("picture", p), ("truth", g)):
        if not (np.min(x) >= 0 and np.max(x) <= 1):
            raise ValueError(
                f"{name} has values from {np.min(x)} to {np.max(x)}; expected [0, 1] (uint8 / 255)"
            )
    return p, g
