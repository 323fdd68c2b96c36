"""How do edges become a picture, how are they read back, and how are they found in a photograph?

An edge map is white lines on black. Leaves out scoring (``eval.metrics``).
"""

from __future__ import annotations

import cv2
import numpy as np

from unicon.conditions.arrays import as_bytes, as_map

SHORTEST_PX = 4
CANNY_STEPS = 64
_STEPS = ((0, 1), (1, 1), (1, 0), (1, -1))


def edges_to_map(edges: np.ndarray) -> np.ndarray:
    """Edges (H, W), bool -> picture float32 (H, W, 3): 1 on edges, 0 elsewhere."""
    array = np.asarray(edges)
    if array.ndim != 2 or array.dtype != bool:
        raise ValueError(
            f"edges are {array.dtype} of shape {array.shape}; expected bool (height, width): compare first"
        )
    return strength_to_map(array)


def map_to_edges(picture: np.ndarray, threshold: float = 0.35) -> np.ndarray:
    """Picture of lines (H, W, 3), uint8 or [0, 1], perhaps blurred -> bool (H, W), about one pixel wide.

    A pixel is kept where it is bright enough and on the ridge of its line, and the line is not a speck.
    """
    if not 0 < threshold < 1:
        raise ValueError(f"threshold is {threshold}; expected between 0 and 1, for example 0.35")
    strength = edge_strength(picture)
    return drop_specks((strength >= threshold) & _on_ridge(strength), SHORTEST_PX)


def edge_strength(picture: np.ndarray) -> np.ndarray:
    """Brightness of the lines float32 (H, W) in [0, 1]: the mean over the channels."""
    return np.clip(as_map(picture, "edge map").mean(axis=-1), 0, 1)


def canny(image: np.ndarray, low: float = 80.0, high: float = 180.0) -> np.ndarray:
    """Canny edges (1986) of a picture (H, W, 3), uint8 or [0, 1] -> bool (H, W).

    The thresholds are for the Sobel gradient of 8-bit grey, which reaches about 1000.
    """
    if not 0 <= low <= high:
        raise ValueError(f"thresholds are low={low}, high={high}; expected 0 <= low <= high: swap them")
    grey = cv2.cvtColor(as_bytes(image, "image"), cv2.COLOR_RGB2GRAY)
    return cv2.Canny(cv2.GaussianBlur(grey, (0, 0), 0.8), low, high, L2gradient=True) > 0


def canny_strength(image: np.ndarray, sigma: float = 2.0) -> np.ndarray:
    """Canny's edges of a picture (H, W, 3) at every threshold: float32 (H, W), the highest at which a pixel
    is one, in shares of the picture's largest gradient; the lower threshold is 0.4 of it.

    What the method scores in the benchmark of BSDS500, which looks for the best threshold (Arbelaez et al.
    2011: ODS 0.60). `sigma` is the blur before it, in pixels.
    """
    grey = cv2.cvtColor(as_bytes(image, "image"), cv2.COLOR_RGB2GRAY)
    smooth = cv2.GaussianBlur(grey, (0, 0), sigma)
    across, down = (cv2.Sobel(smooth, cv2.CV_16S, x, 1 - x) for x in (1, 0))
    largest = float(np.hypot(across.astype(np.float32), down.astype(np.float32)).max())
    strength = np.zeros(grey.shape, np.float32)
    for share in np.arange(1, CANNY_STEPS) / CANNY_STEPS if largest > 0 else ():
        found = cv2.Canny(across, down, 0.4 * share * largest, share * largest, L2gradient=True) > 0
        strength[found] = share
    return strength


def strength_to_map(strength: np.ndarray) -> np.ndarray:
    """Strength (H, W) in [0, 1] -> picture float32 (H, W, 3)."""
    return np.repeat(strength[..., None], 3, axis=-1).astype(np.float32)


def drop_specks(edges: np.ndarray, shortest_px: int) -> np.ndarray:
    """Edges (H, W) without connected pieces of fewer pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(edges.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= shortest_px
    keep[0] = False
    return keep[np.asarray(labels, dtype=np.int32)] if count > 1 else np.zeros_like(edges)


def _on_ridge(strength: np.ndarray) -> np.ndarray:
    """Whether no neighbour across the line is brighter; across is the direction that darkens fastest."""
    smooth = np.pad(cv2.GaussianBlur(strength, (0, 0), 0.7), 1, mode="edge")
    centre = smooth[1:-1, 1:-1]
    best_drop = np.full(centre.shape, -np.inf, np.float32)
    ridge = np.zeros(centre.shape, bool)
    for down, right in _STEPS:
        ahead, behind = _shifted(smooth, down, right), _shifted(smooth, -down, -right)
        drop = (2 * centre - ahead - behind) / np.float32(down * down + right * right)
        steepest = drop > best_drop
        best_drop = np.where(steepest, drop, best_drop)
        # The second comparison is strict, so that of two equal neighbours only one stays.
        ridge = np.where(steepest, (centre >= ahead - 1e-6) & (centre > behind + 1e-6), ridge)
    return ridge & (best_drop > 0.01)


def _shifted(padded: np.ndarray, down: int, right: int) -> np.ndarray:
    height, width = padded.shape
    return padded[1 + down : height - 1 + down, 1 + right : width - 1 + right]
