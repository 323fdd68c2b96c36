"""Which numbers does an answer get, and how do those of a set follow?

A measure turns each answer into a vector of *facts*, and the set's numbers are a function of the **sum** of
the facts over its pictures: a mean where every picture counts the same, a share of pooled counts where joints
or edge pixels do. So any set of pictures can be scored again without the pictures, which is what intervals
and comparisons do. To add a metric, write such a class, name it in `MEASURES` and in its suite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

from eval.features import MINI, Extractor
from eval.metrics.bsds import (
    MAX_DISTANCE,
    BoundaryCounts,
    boundary_counts,
    boundary_score,
    default_thresholds,
    f1_of_counts,
    suppress,
)
from eval.metrics.calibration import LEVELS, calibration, crps
from eval.metrics.depth import SMALLEST, SMALLEST_DISPARITY, Alignment, depth_errors, fit, valid_mask
from eval.metrics.edges import best_threshold, edge_counts
from eval.metrics.intervals import coverage, usual_method
from eval.metrics.pictures import psnr, ssim
from eval.metrics.pose import Normaliser, pose_counts
from eval.runs.items import Sample
from eval.runs.members import kept_pixels
from unicon.conditions.edges import edge_strength
from unicon.conditions.palettes import depth_to_map, map_to_depth, unclipped
from unicon.conditions.pose_reading import read_pose

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """One number of a measure."""

    name: str
    label: str
    better: Better


class Measure(Protocol):
    """A frozen dataclass of its settings."""

    KIND: ClassVar[str]
    """Its key in `MEASURES`."""

    @property
    def convention(self) -> str:
        """What one must know to compare its numbers."""
        ...

    @property
    def numbers(self) -> tuple[Number, ...]:
        """The first is the one pictures are ordered by."""
        ...

    def facts(self, sample: Sample) -> np.ndarray | None:
        """(F,) finite; None where the truth has nothing to measure, which is counted."""
        ...

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        """Numbers of `num` pictures from their facts' sum; without those that are not defined."""
        ...


@runtime_checkable
class Calibrates(Protocol):
    """A measure that chooses its settings on other pictures than those that are scored."""

    def calibrated(self, samples: Sequence[Sample]) -> Measure:
        """With what these choose; as it is without any."""
        ...


@runtime_checkable
class Redraws(Protocol):
    """A measure that may read maps of another drawing than the data's."""

    def redrawn(self, truth: Any) -> np.ndarray | None:
        """The exact map (H, W, 3) in [0, 1] in the drawing that it reads; None where the data's is that."""
        ...


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
        return _means(self.names, total, num)


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
        drawn = valid & unclipped(sample.truth)
        truth, valid, drawn = (kept_pixels(each) for each in (sample.truth, valid, drawn))
        if not drawn.any():
            return None
        members = 1 - sample.members.astype(np.float64)
        usual = usual_method(len(members))
        found = calibration(members, truth, drawn, method=usual)
        everywhere = coverage(members, truth, valid, method=usual)
        scale, shift = fit(members[:, drawn].mean(0), truth[drawn])
        error = crps(scale * members[:, drawn] + shift, truth[drawn]).sum()
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


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeMeasure:
    """Edge maps by F1 with a tolerance: not the benchmark of BSDS."""

    tolerance_px: float = 2.0
    threshold: float = 0.5

    KIND: ClassVar[str] = "edge"
    NAMES: ClassVar = ("f1", "precision", "recall")

    @property
    def convention(self) -> str:
        return (
            f"within {self.tolerance_px:g} px after thinning, at threshold {self.threshold:g}, mean over "
            "pictures"
        )

    @property
    def numbers(self) -> tuple[Number, ...]:
        labels = (f"F1 at {self.tolerance_px:g} px", "precision", "recall")
        return tuple(
            Number(name=n, label=t, better="higher") for n, t in zip(self.NAMES, labels, strict=True)
        )

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Truth is (H, W) bool."""
        found = edge_counts(
            edge_strength(sample.map), sample.truth, tolerance_px=self.tolerance_px, threshold=self.threshold
        )
        return np.array([found.f1, found.precision, found.recall])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        return _means(self.NAMES, total, num)

    def calibrated(self, samples: Sequence[Sample]) -> EdgeMeasure:
        """At the threshold with the best F1 on these."""
        if not samples:
            return self
        strengths, truths = [edge_strength(s.map) for s in samples], [s.truth for s in samples]
        return replace(self, threshold=best_threshold(strengths, truths, tolerance_px=self.tolerance_px)[0])


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryMeasure:
    """Edge maps by the boundary benchmark of BSDS500 (`eval.metrics.bsds`), after non-maximum suppression."""

    num_thresholds: int = 99

    KIND: ClassVar[str] = "boundary"

    @property
    def convention(self) -> str:
        return (
            f"BSDS500 benchmark after non-maximum suppression, {self.num_thresholds} thresholds, matching "
            f"within {MAX_DISTANCE:g} of the diagonal to each annotator"
        )

    @property
    def numbers(self) -> tuple[Number, ...]:
        return (
            Number(name="ods", label="ODS F1", better="higher"),
            Number(name="ois", label="OIS F1", better="higher"),
            Number(name="area", label="area under PR", better="higher"),
        )

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Counts at all thresholds, and those at the picture's own best; truth is (annotators, H, W) bool, or
        one (H, W)."""
        truth = sample.truth if sample.truth.ndim == 3 else sample.truth[None]
        if not truth.any():
            return None
        strength = np.clip(suppress(edge_strength(sample.map)), 0, 1)
        found = boundary_counts(strength, truth, thresholds=default_thresholds(self.num_thresholds))
        counts = np.stack(
            [found.matched_true, found.num_true, found.matched_predicted, found.num_predicted]
        ).astype(np.float64)
        return np.concatenate([counts.ravel(), counts[:, np.argmax(f1_of_counts(counts))]])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        matched_true, true, matched, predicted = total[:-4].reshape(4, self.num_thresholds)
        found = boundary_score(
            [
                BoundaryCounts(
                    thresholds=default_thresholds(self.num_thresholds), matched_true=matched_true,
                    num_true=true, matched_predicted=matched, num_predicted=predicted,
                )
            ]
        )  # fmt: skip
        ois = float(f1_of_counts(total[-4:]))
        return {"ods": found.ods_f1, "ois": ois, "area": found.area}


@dataclass(frozen=True, kw_only=True, slots=True)
class PoseMeasure:
    """Joints read from a drawing, by PCK."""

    alpha: float = 0.1
    normaliser: Normaliser = "bbox"

    KIND: ClassVar[str] = "pose"

    @property
    def convention(self) -> str:
        return f"PCK@{self.alpha:g} of the figure's {self.normaliser}, pooled over visible joints"

    @property
    def numbers(self) -> tuple[Number, ...]:
        of = "" if self.normaliser == "bbox" else f" ({self.normaliser})"
        found = (Number(name=f"pck_{self.normaliser}", label=f"PCK@{self.alpha:g}{of}", better="higher"),)
        if self.normaliser == "bbox":
            found += (Number(name="found", label="figures found / true", better="neither"),)
        return found

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Truth is (figures, 18, 3) [x px, y px, visible]."""
        read = np.reshape(read_pose(sample.map), (-1, 18, 3))
        counts = pose_counts(read, sample.truth, alpha=self.alpha, normaliser=self.normaliser)
        seen = counts.correct.sum(), counts.labelled.sum(), counts.num_predicted, counts.num_true
        return np.array(seen, dtype=np.float64)

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        correct, labelled, predicted, true = total.tolist()
        found = {f"pck_{self.normaliser}": correct / labelled} if labelled else {}
        if self.normaliser == "bbox" and true:
            found["found"] = predicted / true
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class LikenessMeasure:
    """Maps of any meaning, pixel by pixel."""

    KIND: ClassVar[str] = "likeness"
    NAMES: ClassVar = ("map_rmse", "map_psnr", "map_ssim")

    @property
    def convention(self) -> str:
        return "maps in [0, 1] against maps, PSNR of at most 100 dB, mean over pictures"

    @property
    def numbers(self) -> tuple[Number, ...]:
        return (
            Number(name="map_rmse", label="RMSE of the map", better="lower"),
            Number(name="map_psnr", label="PSNR (dB)", better="higher"),
            Number(name="map_ssim", label="SSIM", better="higher"),
        )

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Truth is a map, (H, W, 3) in [0, 1]."""
        error = float(np.sqrt(np.mean((sample.map.astype(np.float64) - sample.truth) ** 2)))
        return np.array([error, psnr(sample.map, sample.truth), ssim(sample.map, sample.truth)])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        return _means(self.NAMES, total, num)


@dataclass(frozen=True, kw_only=True, slots=True)
class ViewMeasure:
    """Views of a subject by what an image encoder sees in them: they need not agree in any pixel."""

    features: str = MINI
    """Whose, see `eval.features`."""

    KIND: ClassVar[str] = "view"

    @property
    def convention(self) -> str:
        return f"cosine of the features of the map and of the true view ({self.features}), mean over pictures"

    @property
    def numbers(self) -> tuple[Number, ...]:
        return (Number(name="view_cosine", label="cosine of features", better="higher"),)

    def facts(self, sample: Sample) -> np.ndarray | None:
        """Truth is a picture, (H, W, 3) in [0, 1]."""
        one, other = (
            _extractor(self.features).of_array(picture).astype(np.float64)
            for picture in (sample.map, sample.truth)
        )
        return np.array([one @ other / (np.linalg.norm(one) * np.linalg.norm(other))])

    def of(self, total: np.ndarray, num: int) -> dict[str, float]:
        return _means(("view_cosine",), total, num)


@cache
def _extractor(model: str) -> Extractor:
    return Extractor(model)


MEASURES: dict[str, type] = {
    kind.KIND: kind
    for kind in (
        DepthMeasure,
        EdgeMeasure,
        BoundaryMeasure,
        PoseMeasure,
        LikenessMeasure,
        ViewMeasure,
        SpreadMeasure,
    )
}


def as_json(measure: Measure) -> dict[str, Any]:
    """Its kind and settings; infinity is None."""
    settings = asdict(measure)  # pyright: ignore[reportArgumentType]
    return {"kind": measure.KIND} | {k: None if v == float("inf") else v for k, v in settings.items()}


def from_json(stored: dict[str, Any]) -> Measure:
    """What `as_json` stored; ValueError for a kind that is not known."""
    settings = {k: float("inf") if v is None else v for k, v in stored.items() if k != "kind"}
    if stored.get("kind") not in MEASURES:
        raise ValueError(f"measure {stored.get('kind')!r} is not known; known: {', '.join(MEASURES)}")
    return MEASURES[stored["kind"]](**settings)


def _means(names: Sequence[str], total: np.ndarray, num: int) -> dict[str, float]:
    return {name: float(value) / num for name, value in zip(names, total, strict=True)} if num else {}
