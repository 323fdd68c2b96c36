"""How many joints does a drawing of figures place right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from eval.metrics.pose import Normaliser, pose_counts
from eval.runs.items import Sample
from eval.runs.measures.measure import Number
from unicon.conditions.pose_reading import read_pose


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
