"""Do the members of a depth ensemble say how far off it is?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eval.metrics.calibration import LEVELS, calibration_of, crps
from eval.metrics.depth import valid_mask
from eval.metrics.intervals import aligned, coverage, usual_method
from eval.runs.items import Sample
from eval.runs.measures.measure import Number
from eval.runs.members import kept_pixels
from unicon.conditions.palettes import unclipped


@dataclass(frozen=True, kw_only=True, slots=True)
class SpreadMeasure:
    """How often the truth lies where the members of a depth ensemble say."""

    high: float = float("inf")
    """Truths from here on (sky) are left out."""

    KIND: ClassVar[str] = "spread"
    LEVEL: ClassVar[int] = LEVELS.index(0.9)

    @property
    def convention(self) -> str:
        return (
            "intervals of the members, moved by the fit of their mean in depth: order statistics from 19 "
            "members on, Student's t below; over pixels that the drawing of the truth does not clip, or all; "
            f"calibration error: mean |coverage - level| over levels {LEVELS[0]:g} to {LEVELS[-1]:g}, bias "
            "without the bars; pooled over pixels"
        )

    @property
    def numbers(self) -> tuple[Number, ...]:
        return (
            Number(name="calibration_error", label="calibration error", better="lower"),
            Number(name="calibration_bias", label="bias of coverage", better="neither"),
            Number(name="interval_coverage", label="coverage of 90% interval", better="neither"),
            Number(
                name="interval_coverage_all", label="coverage of 90% interval, all pixels", better="neither"
            ),
            Number(name="interval_width", label="width of 90% interval", better="neither"),
            Number(name="crps", label="CRPS", better="lower"),
        )

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Sums over pixels: covered at every level, width and CRPS, their number; covered of all, and that
        number. Truth is (H, W) depth."""
        assert sample.members is not None, "the caller has seen to it"
        valid = valid_mask(sample.truth, 0.0, self.high)
        drawn = valid & unclipped(sample.truth, sample.truth > 0)
        truth, valid, drawn = (kept_pixels(each) for each in (sample.truth, valid, drawn))
        if not drawn.any():
            return None
        members = 1 - sample.members.astype(np.float64)
        usual = usual_method(len(members))
        samples, seen = aligned(members, truth, drawn, "mean")
        found = calibration_of(samples, seen, method=usual)
        everywhere = coverage(members, truth, valid, method=usual)
        error = crps(samples, seen).sum()
        num, width = found.num_pixels, found.mean_widths[self.LEVEL] * found.num_pixels
        inside = np.multiply(found.coverages, num)
        return np.array([*inside, width, error, num, everywhere.coverage * valid.sum(), valid.sum()])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        if not num:
            return {}
        *inside, width, error, pixels, inside_all, pixels_all = total.tolist()
        gaps = np.array(inside) / pixels - LEVELS
        return {
            "calibration_error": float(np.abs(gaps).mean()),
            "calibration_bias": float(gaps.mean()),
            "interval_coverage": inside[self.LEVEL] / pixels,
            "interval_coverage_all": inside_all / pixels_all,
            "interval_width": width / pixels,
            "crps": error / pixels,
        }
