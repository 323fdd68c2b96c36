"""How near is an edge map to the true edges, or to those that annotators drew?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from eval.metrics.bsds import (
    MAX_DISTANCE,
    BoundaryCounts,
    boundary_counts,
    boundary_score,
    default_thresholds,
    f1_of_counts,
    suppress,
)
from eval.metrics.edges import best_threshold, edge_counts
from eval.runs.items import Sample
from eval.runs.measures.measure import Number, means
from unicon.conditions.edges import edge_strength


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
        return means(self.NAMES, total, num)

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
        if not num:
            return {}
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
