"""Which pixels of which depth benchmark count, and in which range?

Crops, masks, ranges and file scales of NYU Depth v2, KITTI, ETH3D, ScanNet and DIODE as Marigold's public
evaluation applies them (Ke et al. 2024, arXiv 2312.02145; its dataset classes at b1dffaa). Fit and score use
the same pixels. Leaves out the errors (`eval.metrics.depth`) and reading files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from eval.metrics.depth import Alignment, DepthErrors, depth_errors, valid_mask

Crop = Literal["none", "nyu_eigen", "kitti_eigen", "kitti_garg"]

NYU_SHAPE = (480, 640)
NYU_EIGEN = (slice(45, 471), slice(41, 601))
"""Rows and columns of Eigen et al. 2014 (arXiv 1406.2283) on whole NYU pictures."""
KITTI_SHAPE = (352, 1216)
"""The benchmark's crop: the bottom rows, the middle columns."""
KITTI_SHARES = {
    "kitti_eigen": ((0.3324324, 0.91351351), (0.0359477, 0.96405229)),
    "kitti_garg": ((0.40810811, 0.99189189), (0.03594771, 0.96405229)),
}
"""Rows and columns as shares of height and width (Eigen et al. 2014; Garg et al. 2016, arXiv 1603.04992)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthBenchmark:
    """One benchmark's rules."""

    name: str
    low: float
    """Metres; truth counts strictly above, predictions are clipped to it."""
    high: float
    """Metres; truth counts strictly below, predictions are clipped to it."""
    crop: Crop = "none"
    own_mask: bool = False
    """The data set brings a mask, and that alone says which pixels count."""
    fit_max_px: int | None = None
    """Longer side of the maps that the fit sees; None: all pixels."""
    file_scale: float = 1.0
    """Metres = value of a 16-bit PNG of the truth / this."""
    num_pictures: int
    """Of the usual split."""


_KITTI = {"low": 1e-5, "high": 80.0, "file_scale": 256.0, "num_pictures": 652}
BENCHMARKS = {
    each.name: each
    for each in (
        DepthBenchmark(
            name="nyu", low=1e-3, high=10.0, crop="nyu_eigen", file_scale=1000.0, num_pictures=654
        ),
        DepthBenchmark(name="kitti", crop="kitti_eigen", **_KITTI),
        DepthBenchmark(name="kitti_garg", crop="kitti_garg", **_KITTI),
        DepthBenchmark(name="eth3d", low=1e-5, high=np.inf, fit_max_px=1024, num_pictures=454),
        DepthBenchmark(name="scannet", low=1e-3, high=10.0, file_scale=1000.0, num_pictures=800),
        DepthBenchmark(name="diode", low=0.6, high=350.0, own_mask=True, num_pictures=771),
    )
}


def find_benchmark(name: str) -> DepthBenchmark:
    """A benchmark by name; ValueError listing those known."""
    if name not in BENCHMARKS:
        raise ValueError(f"depth protocol is {name!r}; known: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def benchmark_errors(
    prediction: np.ndarray,
    truth: np.ndarray,
    benchmark: DepthBenchmark | str,
    mask: np.ndarray | None = None,
    *,
    alignment: Alignment = "scale_shift",
) -> DepthErrors:
    """Errors of one (H, W) prediction against (H, W) metres under a benchmark's rules.

    `mask` (H, W) bool: what the data set says is valid; DIODE needs it, elsewhere it only takes pixels away.
    KITTI maps larger than 352 x 1216 are cropped to it first, each by itself. Raises ValueError as
    `depth_errors`, for a size the crop is not defined on, and for a mask that is needed but not given.
    """
    rules = find_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    p, g = np.asarray(prediction), np.asarray(truth)
    if rules.own_mask and mask is None:
        raise ValueError(f"{rules.name} brings its own masks: give the picture's mask")
    given = np.ones(g.shape, dtype=bool) if mask is None else np.asarray(mask)
    if given.dtype != bool or given.shape != g.shape:
        raise ValueError(f"mask is {given.dtype} of shape {given.shape}; expected bool {g.shape}")
    if rules.crop.startswith("kitti"):
        p, g, given = (kitti_crop(each) for each in (p, g, given))
    counted = given & scored_area(g.shape, rules.crop)
    counted &= valid_mask(g) if rules.own_mask else valid_mask(g, rules.low, rules.high)
    return depth_errors(
        p, g, counted, alignment=alignment, low=rules.low, high=rules.high, fit_max_px=rules.fit_max_px
    )


def kitti_crop(values: np.ndarray) -> np.ndarray:
    """The bottom 352 rows and middle 1216 columns of (H, W, ...); ValueError where there are fewer."""
    (rows, columns), (height, width) = KITTI_SHAPE, values.shape[:2]
    if height < rows or width < columns:
        raise ValueError(f"a KITTI map is {height} x {width}; expected at least {rows} x {columns}")
    left = (width - columns) // 2
    return values[height - rows :, left : left + columns]


def scored_area(shape: tuple[int, ...], crop: Crop) -> np.ndarray:
    """(H, W) bool: the pixels inside a crop.

    Raises ValueError for a size that the crop is not defined on.
    """
    inside = np.zeros(shape[:2], dtype=bool)
    if crop == "none":
        return ~inside
    if crop == "nyu_eigen":
        if tuple(shape[:2]) != NYU_SHAPE:
            raise ValueError(
                f"an NYU map is {shape[0]} x {shape[1]}; Eigen's crop is defined on 480 x 640: give whole "
                "maps, or score without a protocol if they are cropped already"
            )
        inside[NYU_EIGEN] = True
        return inside
    if crop not in KITTI_SHARES:
        raise ValueError(f"crop is {crop!r}; known: none, nyu_eigen, {', '.join(KITTI_SHARES)}")
    rows, columns = (
        slice(int(first * side), int(last * side))
        for (first, last), side in zip(KITTI_SHARES[crop], shape, strict=False)
    )
    inside[rows, columns] = True
    return inside
