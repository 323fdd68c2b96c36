"""How far is a relative depth map from the truth?

The affine-invariant protocol of Marigold (Ke et al. 2024, arXiv 2312.02145; conventions read from its public
evaluation script): fit scale and shift per picture by least squares over the valid pixels, clip to the valid
range, score, then average over *pictures*, never over pixels. Fit and score use the same pixels.
Leaves out crops and masks of the single benchmarks (`eval.metrics.depth_benchmarks`), ensembling
(`eval.metrics.depth_ensemble`), plots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np

Alignment = Literal["scale_shift", "scale", "disparity", "none"]
"""`scale_shift` and `scale`: least squares in depth. `disparity`: the prediction is affine in 1/depth and is
fitted there (numbers of the two spaces are not comparable). `none`: the prediction is taken as it is."""

SMALLEST = 1e-6
"""Predictions are clipped to at least this before any ratio or logarithm, after Marigold."""
SMALLEST_DISPARITY = 1e-3
"""Lower clip of an aligned disparity before it is inverted, after Marigold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthErrors:
    """Errors of one picture, or their mean over pictures."""

    abs_rel: float
    """Mean |p - g| / g."""
    sq_rel: float
    """Mean (p - g)^2 / g, in the truth's unit."""
    rmse: float
    """Root of the mean (p - g)^2, in the truth's unit."""
    rmse_log: float
    """Root of the mean (ln p - ln g)^2."""
    log10: float
    """Mean |log10 p - log10 g|."""
    irmse: float
    """Root of the mean (1/p - 1/g)^2."""
    silog: float
    """100 times the standard deviation of ln p - ln g (Eigen et al. 2014)."""
    delta1: float
    """Share of pixels with max(p/g, g/p) < 1.25."""
    delta2: float
    """The same below 1.25^2."""
    delta3: float
    """The same below 1.25^3."""
    num_pixels: int
    """Pixels scored, summed over pictures."""
    num_pictures: int
    """Pictures averaged."""
    alignment: Alignment
    """How predictions were fitted to the truth before scoring."""


def valid_mask(truth: np.ndarray, low: float = 0.0, high: float = np.inf) -> np.ndarray:
    """True where `truth` is finite and strictly between `low` and `high` (NYU: 1e-3 and 10 m)."""
    truth = np.asarray(truth)
    with np.errstate(invalid="ignore"):
        return np.isfinite(truth) & (truth > low) & (truth < high)


def fit(
    prediction: np.ndarray, truth: np.ndarray, alignment: Alignment = "scale_shift"
) -> tuple[float, float]:
    """Scale s and shift t that minimise sum (s p + t - g)^2 over all entries given; any shape, float64.

    The sign of s is free: a map with near = large is fitted by a negative scale. A constant prediction has no
    unique fit; the documented answer is s = 0, t = mean(g), which attains the minimum.
    Raises ValueError for an unknown alignment, empty or non-finite input, or a zero prediction with "scale".
    """
    p, g = _vectors(prediction, truth)
    if alignment == "none":
        return 1.0, 0.0
    if alignment == "scale":
        return _scale_only(p, g), 0.0
    if alignment != "scale_shift":
        raise ValueError(f"alignment is {alignment!r}; fit() takes 'scale_shift', 'scale' or 'none'")
    centred, mean = p - p.mean(), float(g.mean())
    spread = float(centred @ centred)
    if spread <= 1e-20 * max(float(p @ p), 1e-300):
        return 0.0, mean
    scale = float(centred @ (g - mean)) / spread
    return scale, mean - scale * float(p.mean())


def align(
    prediction: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    alignment: Alignment = "scale_shift",
    fit_max_px: int | None = None,
) -> np.ndarray:
    """The whole (H, W) prediction as depth in the truth's unit, fitted over `mask`; not clipped to any range.

    `mask` (H, W) bool: pixels that count; default `valid_mask(truth)`. With "disparity" the fit is in
    1/truth, over valid pixels whose prediction is positive, and the aligned disparity is clipped to 1e-3 and
    inverted. `fit_max_px`: maps with a longer side are reduced to it (nearest) for the fit alone, as Marigold
    does on ETH3D with 1024. Raises ValueError as `fit`, and for wrong shapes, an empty mask, or a truth that
    is not positive in it.
    """
    p, g, mask = _checked(prediction, truth, mask, alignment)
    used = mask & (p > 0) if alignment == "disparity" else mask
    if not used.any():
        raise ValueError("no valid pixel has a positive predicted disparity: give one that grows when nearer")
    few = np.ix_(*(nearest_places(side, g.shape, fit_max_px) for side in (0, 1)))
    if not used[few].any():
        raise ValueError(f"no valid pixel is left to fit at {fit_max_px} px; raise fit_max_px")
    few_p, few_g = p[few][used[few]], g[few][used[few]]
    if alignment != "disparity":
        scale, shift = fit(few_p, few_g, alignment)
        return scale * p + shift
    scale, shift = fit(few_p, 1 / few_g)
    return 1 / np.maximum(scale * p + shift, SMALLEST_DISPARITY)


def nearest_places(side: int, shape: tuple[int, ...], max_px: int | None) -> np.ndarray:
    """Rows (side 0) or columns (side 1) that a nearest reduction of the longer side to `max_px` keeps.

    Those of torch's "nearest" upsampling by a scale factor, which Marigold's evaluation uses; all of them
    where nothing is reduced.
    """
    if max_px is not None and max_px < 1:
        raise ValueError(f"fit_max_px is {max_px}; it must be at least 1, or None for all pixels")
    factor = 1.0 if max_px is None else min(1.0, max_px / max(shape))
    places = np.floor(np.arange(max(1, int(shape[side] * factor))) / factor).astype(int)
    return np.minimum(places, shape[side] - 1)


def depth_errors(
    prediction: np.ndarray,
    truth: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    alignment: Alignment = "scale_shift",
    low: float = SMALLEST,
    high: float = np.inf,
    fit_max_px: int | None = None,
) -> DepthErrors:
    """All errors of one (H, W) prediction against an (H, W) truth in depth (not disparity), after alignment.

    `low`, `high`: range of the data set; the aligned prediction is clipped to it (NYU and ScanNet 1e-3 to 10
    m, KITTI 1e-5 to 80, DIODE 0.6 to 350, ETH3D 1e-5 to infinity). Raises as `align`.
    """
    if not 0 <= low < high:
        raise ValueError(f"depth range is [{low}, {high}]; it must satisfy 0 <= low < high")
    p, g, mask = _checked(prediction, truth, mask, alignment)
    aligned = align(p, g, mask, alignment=alignment, fit_max_px=fit_max_px)[mask]
    return _score(np.maximum(np.clip(aligned, low, high), SMALLEST), g[mask], alignment)


def batch_depth_errors(
    predictions: np.ndarray | Sequence[np.ndarray],
    truths: np.ndarray | Sequence[np.ndarray],
    masks: np.ndarray | Sequence[np.ndarray] | None = None,
    *,
    alignment: Alignment = "scale_shift",
    low: float = SMALLEST,
    high: float = np.inf,
) -> list[DepthErrors]:
    """`depth_errors` of each picture: (N, H, W) arrays, or sequences of N pictures of any sizes.

    Raises ValueError when the numbers of pictures differ or a picture cannot be scored (its index is named).
    """
    given = [None] * len(predictions) if masks is None else masks
    if not len(predictions) == len(truths) == len(given) > 0:
        raise ValueError(
            f"got {len(predictions)} predictions, {len(truths)} truths, {len(given)} masks; "
            "their numbers must agree and be at least 1"
        )
    pictures = zip(predictions, truths, given, strict=True)
    return [
        _named(i, *picture, alignment=alignment, low=low, high=high) for i, picture in enumerate(pictures)
    ]


def mean_errors(errors: Sequence[DepthErrors]) -> DepthErrors:
    """Mean over pictures, each counting the same however many valid pixels it has."""
    if not errors:
        raise ValueError("no errors to average: score at least one picture")
    alignments = sorted({e.alignment for e in errors})
    if len(alignments) > 1:
        raise ValueError(f"errors of several alignments ({', '.join(alignments)}) cannot be averaged")
    counts = {name: sum(getattr(e, name) for e in errors) for name in ("num_pixels", "num_pictures")}
    names = [f.name for f in fields(DepthErrors) if f.name not in counts and f.name != "alignment"]
    total = counts["num_pictures"]
    means = {n: sum(getattr(e, n) * e.num_pictures for e in errors) / total for n in names}
    return DepthErrors(**means, **counts, alignment=errors[0].alignment)


def _named(index: int, p, g, mask, *, alignment: Alignment, low: float, high: float) -> DepthErrors:
    try:
        return depth_errors(p, g, mask, alignment=alignment, low=low, high=high)
    except ValueError as error:
        raise ValueError(f"picture {index}: {error}") from error


def _score(p: np.ndarray, g: np.ndarray, alignment: Alignment) -> DepthErrors:
    gap, log_gap = p - g, np.log(p) - np.log(g)
    ratio = np.maximum(p / g, g / p)
    return DepthErrors(
        abs_rel=float(np.mean(np.abs(gap) / g)),
        sq_rel=float(np.mean(gap**2 / g)),
        rmse=_root_mean_square(gap),
        rmse_log=_root_mean_square(log_gap),
        log10=float(np.mean(np.abs(log_gap)) / np.log(10)),
        irmse=_root_mean_square(1 / p - 1 / g),
        silog=100 * float(np.std(log_gap)),
        delta1=float(np.mean(ratio < 1.25)),
        delta2=float(np.mean(ratio < 1.25**2)),
        delta3=float(np.mean(ratio < 1.25**3)),
        num_pixels=g.size,
        num_pictures=1,
        alignment=alignment,
    )


def _root_mean_square(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2)))


def _scale_only(p: np.ndarray, g: np.ndarray) -> float:
    energy = float(p @ p)
    if energy == 0:
        raise ValueError("the prediction is zero at every valid pixel: no scale fits it to the truth")
    return float(p @ g) / energy


def _vectors(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = np.asarray(prediction, dtype=np.float64).ravel()
    g = np.asarray(truth, dtype=np.float64).ravel()
    if p.size != g.size or p.size == 0:
        raise ValueError(
            f"cannot fit {p.size} predicted values to {g.size} true ones; give equal, non-zero numbers"
        )
    if not (np.isfinite(p).all() and np.isfinite(g).all()):
        raise ValueError("NaN or infinity among the values to fit: mask those pixels out")
    return p, g


def _checked(
    prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None, alignment: Alignment
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if alignment not in get_args(Alignment):
        raise ValueError(f"alignment is {alignment!r}; known: {', '.join(get_args(Alignment))}")
    p, g = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.ndim != 2 or p.shape != g.shape:
        raise ValueError(
            f"prediction has shape {p.shape}, truth {g.shape}; both must be the same (H, W): "
            "resize the prediction to the truth's size"
        )
    mask = valid_mask(g) if mask is None else np.asarray(mask)
    if mask.dtype != bool or mask.shape != g.shape:
        raise ValueError(f"mask is {mask.dtype} of shape {mask.shape}; it must be bool of shape {g.shape}")
    if not mask.any():
        raise ValueError("no valid pixel: the mask is empty, or the truth has no finite positive depth")
    if not (np.isfinite(g[mask]).all() and (g[mask] > 0).all()):
        raise ValueError(
            "the truth is not finite and positive everywhere in the mask: combine it with valid_mask()"
        )
    bad = int((~np.isfinite(p[mask])).sum())
    if bad:
        raise ValueError(f"the prediction is NaN or infinite at {bad} of {int(mask.sum())} valid pixels")
    return p, g, mask
