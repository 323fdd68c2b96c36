"""How far are surface normals from the truth, and which normals does a depth map have?

Angular errors as the benchmarks report them (Fouhey et al. 2013; Bae and Davison 2024, arXiv 2403.00712; the
shares under 5 to 30 degrees): mean, median, root mean square over the valid pixels of a picture, then mean
over pictures; or over all pixels together. The two differ, so that which it is is always named.
Normals from depth: the cross product of the unprojected neighbours' differences under a pinhole camera.
Leaves out how a map becomes vectors (`unicon.conditions.normals`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

SHARES_DEGREES = (5.0, 7.5, 11.25, 22.5, 30.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalErrors:
    """Angular errors in degrees, of one picture or over several."""

    mean: float
    median: float
    rmse: float
    """Root of the mean squared angle."""
    under_5: float
    """Share of pixels with an angle strictly below 5 degrees; so on."""
    under_7_5: float
    under_11_25: float
    under_22_5: float
    under_30: float
    num_pixels: int
    num_pictures: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Intrinsics:
    """A pinhole camera, in pixels; pixel centres lie at integers."""

    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self):
        if not (self.fx > 0 and self.fy > 0 and np.isfinite([self.fx, self.fy, self.cx, self.cy]).all()):
            raise ValueError(f"{self}: focal lengths must be positive, and all values finite")

    @classmethod
    def from_view(cls, height: int, width: int, horizontal_degrees: float) -> Intrinsics:
        """Square pixels, the optical axis through the middle, a horizontal angle of view."""
        if not 0 < horizontal_degrees < 180:
            raise ValueError(f"the angle of view is {horizontal_degrees}; expected 0 to 180 degrees")
        focal = width / 2 / np.tan(np.radians(horizontal_degrees) / 2)
        return cls(fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2)


def angles(
    predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None, *, guess: bool = False
) -> np.ndarray:
    """(n,) angles in degrees between (H, W, 3) normals at the valid pixels; lengths do not matter.

    Valid: in `mask` (H, W) bool, and the truth is a finite vector that is not zero. Raises ValueError for
    shapes that differ, no valid pixel, and predictions that are zero or not finite at one; `guess`: such a
    one counts as wrong as a guess, by a right angle.
    """
    p, g = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.ndim != 3 or p.shape[-1] != 3 or p.shape != g.shape:
        raise ValueError(f"predicted normals are {p.shape}, true ones {g.shape}; expected one (H, W, 3)")
    valid = has_direction(g)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != valid.shape:
            raise ValueError(f"mask is {mask.dtype} of shape {mask.shape}; expected bool {valid.shape}")
        valid = valid & mask
    if not valid.any():
        raise ValueError("no valid pixel: the mask is empty, or every true normal is zero or NaN")
    p, g, nowhere = p[valid], g[valid], (~has_direction(p))[valid]
    if nowhere.any() and not guess:
        raise ValueError(
            f"predicted normals are zero or NaN at {int(nowhere.sum())} of {int(valid.sum())} valid pixels"
        )
    p = np.where(nowhere[:, None], 0, p)
    # atan2 of sine and cosine keeps small angles exact, where arccos loses half of the digits.
    found = np.degrees(np.arctan2(np.linalg.norm(np.cross(p, g), axis=-1), (p * g).sum(-1)))
    return np.where(nowhere, 90.0, found)


def normal_errors(predicted: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> NormalErrors:
    """Errors of one picture; see `angles`."""
    return errors_of(angles(predicted, truth, mask))


def errors_of(found: np.ndarray, num_pictures: int = 1) -> NormalErrors:
    """Errors from angles in degrees; ValueError for none."""
    found = np.asarray(found, dtype=np.float64).ravel()
    if not found.size:
        raise ValueError("no angles to summarise")
    return NormalErrors(
        mean=float(found.mean()),
        median=float(np.median(found)),
        rmse=float(np.sqrt(np.mean(found**2))),
        **{f"under_{limit:g}".replace(".", "_"): float(np.mean(found < limit)) for limit in SHARES_DEGREES},
        num_pixels=found.size,
        num_pictures=num_pictures,
    )


def over_pictures(
    pictures: Sequence[np.ndarray], weigh: Literal["pictures", "pixels"] = "pictures"
) -> NormalErrors:
    """One summary of several pictures' angles.

    "pictures": the mean of the pictures' errors (Marigold). "pixels": the errors of all pixels together (Bae
    and Davison's evaluation, and those derived from it). Read in the public code of both.
    """
    if weigh not in ("pictures", "pixels"):
        raise ValueError(f"weigh is {weigh!r}; known: pictures, pixels")
    if not pictures:
        raise ValueError("no pictures to average: score at least one")
    if weigh == "pixels":
        return errors_of(np.concatenate([np.ravel(each) for each in pictures]), len(pictures))
    parts = [errors_of(each) for each in pictures]
    counts = ("num_pixels", "num_pictures")
    means = {
        f.name: float(np.mean([getattr(part, f.name) for part in parts]))
        for f in fields(NormalErrors)
        if f.name not in counts
    }
    return NormalErrors(**means, **{name: sum(getattr(part, name) for part in parts) for name in counts})


def normals_from_depth(depth: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Unit normals (H, W, 3) float64 of planar depth (H, W), towards the camera; 0 where depth is not valid.

    Camera axes: x right, y down, z away from the camera, so a wall seen frontally has (0, 0, -1). A pixel at
    (u, v) is the point z ((u - cx) / fx, (v - cy) / fy, 1); tangents are central differences (one-sided at
    the border), and the normal is their cross product: exact on planes. Depth must be linear and in one unit:
    after an affine fit, not before. A pixel is valid when it and the neighbours used are finite and positive.
    """
    z = np.asarray(depth, dtype=np.float64)
    if z.ndim != 2 or min(z.shape) < 2:
        raise ValueError(f"depth has shape {z.shape}; expected (H, W) of at least 2 x 2")
    valid = np.isfinite(z) & (z > 0)
    if not valid.any():
        raise ValueError("no valid pixel: no depth is finite and positive")
    rows, columns = np.indices(z.shape)
    z = np.where(valid, z, np.nan)
    points = np.stack([(columns - camera.cx) / camera.fx * z, (rows - camera.cy) / camera.fy * z, z], axis=-1)
    down, right = np.gradient(points, axis=(0, 1))
    normal = np.cross(down, right)
    length = np.linalg.norm(normal, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where((length > 0) & valid[..., None], normal / length, 0)
        return unit * np.where((unit * points).sum(-1, keepdims=True) > 0, -1.0, 1.0)


def has_direction(vectors: np.ndarray) -> np.ndarray:
    """(H, W) bool: finite and not (nearly) zero."""
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.linalg.norm(vectors, axis=-1)
    return np.isfinite(length) & (length > 1e-6)
