"""How near is a depth map to the true depth?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eval.metrics.depth import SMALLEST, SMALLEST_DISPARITY, Alignment, depth_errors, valid_mask
from eval.runs.items import Sample
from eval.runs.measures.measure import Number, means
from unicon.conditions.palettes import depth_to_map, map_to_depth


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthMeasure:
    """Depth maps after a fit of scale and shift per picture (Marigold's protocol)."""

    low: float = SMALLEST
    """Fitted predictions are clipped to at least this, in the truth's unit."""
    high: float = float("inf")
    """And to at most this; truths from here on (sky) are left out."""
    alignment: Alignment = "scale_shift"
    """The fit is in depth, or with "disparity" in its inverse, for maps that are linear in that."""

    KIND: ClassVar[str] = "depth"
    NAMES: ClassVar = ("abs_rel", "delta1", "delta2", "delta3", "rmse", "log10", "silog")
    LABELS: ClassVar = ("AbsRel", "delta1", "delta2", "delta3", "RMSE", "log10", "SILog")

    @property
    def convention(self) -> str:
        space = "depth"
        if self.alignment == "disparity":
            space = f"disparity (1/depth), clipped at {SMALLEST_DISPARITY:g} and inverted,"
        return (
            f"scale and shift fitted in {space} per picture, clipped to {self.low:g} to {self.high:g}, mean "
            "over pictures"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The two spaces are different columns."""
        return tuple(f"{n}_disparity" if self.alignment == "disparity" else n for n in self.NAMES)

    @property
    def numbers(self) -> tuple[Number, ...]:
        of = " (disparity)" if self.alignment == "disparity" else ""
        return tuple(
            Number(name=name, label=label + of, better="higher" if name.startswith("delta") else "lower")
            for name, label in zip(self.names, self.LABELS, strict=True)
        )

    def redrawn(self, truth: np.ndarray) -> np.ndarray | None:
        """Of depth (H, W): linear in its inverse where that is what is fitted; what is not measured lies amid
        the rest."""
        if self.alignment != "disparity":
            return None
        mask = valid_mask(truth, 0.0, self.high)
        drawn = depth_to_map(-1 / np.maximum(truth, self.low), mask)
        if mask.any():
            drawn[~mask] = np.median(drawn[mask])
        return drawn

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Errors; truth is (H, W) depth."""
        mask = valid_mask(sample.truth, 0.0, self.high)
        if not mask.any():
            return None
        predicted = map_to_depth(sample.map)
        if self.alignment == "disparity":
            predicted = 1 - predicted
            if not predicted[mask].any():  # black says as much as any constant, and has no pixel to fit
                predicted = np.ones_like(predicted)
        found = depth_errors(
            predicted, sample.truth, mask, alignment=self.alignment, low=self.low, high=self.high
        )
        return np.array([getattr(found, name) for name in self.NAMES])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        return means(self.names, total, num)
