"""How many joints of the figures in a picture were found?

PCK@alpha: a labelled joint is right when it lies within alpha times a reference length of its figure. The
length is named, because published numbers differ in nothing else so much:
- `bbox` (default): longer side of the box around the figure's visible true joints (Yang and Ramanan 2013). It
  exists for every figure with two joints, turned or cropped, which is why it is the default.
- `torso`: right shoulder to left hip (Sapp and Taskar 2013, the usual one on LSP). Stricter, undefined when
  one of the two is hidden, near zero when the figure is seen from the side.
- `head`: a length that the data set tells (PCKh@0.5, Andriluka et al. 2014: `mpii_head_length` of the head's
  box), because none of the 18 joints marks the head's ends.
Figures are paired by the exact assignment with the most right joints. Leaves out OKS and average precision
(`eval.metrics.oks`), and reading joints from a drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from eval.metrics.assignment import assign

NUM_JOINTS = 18
JOINT_NAMES = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
"""Order of OpenPose's 18-joint body model."""
RIGHT_SHOULDER, LEFT_HIP = 2, 11

Normaliser = Literal["bbox", "torso", "head"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PoseCounts:
    """Joints right and labelled of one picture, or pooled over pictures with `+`."""

    correct: np.ndarray
    """(18,) int: true joints found within the distance, by joint."""
    labelled: np.ndarray
    """(18,) int: visible true joints of the scored figures, by joint."""
    num_true: int
    """True figures scored."""
    num_predicted: int
    """Predicted figures; those beyond the true ones cost PCK nothing, so read them here."""
    num_skipped: int
    """True figures left out because their reference length does not exist."""
    alpha: float
    normaliser: Normaliser

    @property
    def pck(self) -> float:
        """Right joints / labelled joints, pooled; ValueError when no joint is labelled."""
        total = int(self.labelled.sum())
        if total == 0:
            raise ValueError(
                f"no labelled joint to score ({self.num_skipped} figures had no {self.normaliser} length)"
            )
        return int(self.correct.sum()) / total

    @property
    def pck_per_joint(self) -> dict[str, float]:
        """The same by joint name, for joints labelled at least once."""
        return {
            n: int(c) / int(t) for n, c, t in zip(JOINT_NAMES, self.correct, self.labelled, strict=True) if t
        }

    def __add__(self, other: PoseCounts) -> PoseCounts:
        if (self.alpha, self.normaliser) != (other.alpha, other.normaliser):
            raise ValueError(
                f"PCK@{self.alpha} by {self.normaliser} and PCK@{other.alpha} by {other.normaliser} "
                "cannot be pooled; score all pictures the same way"
            )
        return PoseCounts(
            correct=self.correct + other.correct,
            labelled=self.labelled + other.labelled,
            num_true=self.num_true + other.num_true,
            num_predicted=self.num_predicted + other.num_predicted,
            num_skipped=self.num_skipped + other.num_skipped,
            alpha=self.alpha,
            normaliser=self.normaliser,
        )


def pose_counts(
    predicted: np.ndarray | Sequence[np.ndarray],
    truth: np.ndarray | Sequence[np.ndarray],
    *,
    alpha: float = 0.1,
    normaliser: Normaliser = "bbox",
    head_px: Sequence[float] | None = None,
) -> PoseCounts:
    """Score the figures of one picture: (n, 18, 3) arrays of [x px, y px, visible], or sequences of (18, 3).

    A predicted joint that is not visible counts as not found; a true one that is not visible is not asked
    for; joints of a true figure without a partner count as not found. "Within" includes the boundary.
    `head_px`: one length per true figure, with "head" alone; 0 leaves the figure out. Raises ValueError for
    other shapes, NaN at visible joints, alpha not positive, an unknown normaliser.
    """
    if normaliser not in get_args(Normaliser):
        raise ValueError(f"normaliser is {normaliser!r}; known: {', '.join(get_args(Normaliser))}")
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; it must be positive (0.1 and 0.2 are usual)")
    p, everyone = _figures(predicted, "predicted"), _figures(truth, "true")
    lengths = _lengths(everyone, normaliser, head_px)
    g, lengths = everyone[lengths > 0], lengths[lengths > 0]
    hits, gaps = _hits(p, g, alpha * lengths)
    # most right joints first; the mean gap in lengths, below 1 by squashing, only breaks ties
    pairs = assign(gaps - hits.sum(-1)) if len(p) and len(g) else []
    correct = sum((hits[i, j].astype(int) for i, j in pairs), np.zeros(NUM_JOINTS, dtype=int))
    return PoseCounts(
        correct=correct,
        labelled=(g[..., 2] > 0).sum(0),
        num_true=len(g),
        num_predicted=len(p),
        num_skipped=len(everyone) - len(g),
        alpha=alpha,
        normaliser=normaliser,
    )


def pck(predicted, truth, *, alpha: float = 0.1, normaliser: Normaliser = "bbox") -> float:
    """PCK of one picture as a share; see `pose_counts`. Pool pictures by adding counts."""
    return pose_counts(predicted, truth, alpha=alpha, normaliser=normaliser).pck


def mpii_head_length(box: Sequence[float]) -> float:
    """MPII's head segment: 0.6 times the diagonal of the head's box (x1, y1, x2, y2)."""
    x1, y1, x2, y2 = box
    return 0.6 * float(np.hypot(x2 - x1, y2 - y1))


def reference_length(figure: np.ndarray, normaliser: Normaliser = "bbox") -> float:
    """Reference length in px of one true (18, 3) figure; 0 where it does not exist."""
    if normaliser == "head":
        raise ValueError("the length of a head is not among the 18 joints: give head_px")
    visible = figure[:, 2] > 0
    if normaliser == "torso":
        both = visible[RIGHT_SHOULDER] and visible[LEFT_HIP]
        return float(np.linalg.norm(figure[RIGHT_SHOULDER, :2] - figure[LEFT_HIP, :2])) if both else 0.0
    points = figure[visible, :2]
    return float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def _lengths(everyone: np.ndarray, normaliser: Normaliser, head_px: Sequence[float] | None) -> np.ndarray:
    if (head_px is not None) != (normaliser == "head"):
        raise ValueError(
            f"normaliser is {normaliser!r} and head_px {'not ' if head_px is None else ''}given; 'head' "
            "needs one length per true figure, and no other takes them"
        )
    if head_px is None:
        return np.array([reference_length(figure, normaliser) for figure in everyone])
    lengths = np.asarray(head_px, dtype=np.float64)
    if lengths.shape != (len(everyone),) or not (np.isfinite(lengths) & (lengths >= 0)).all():
        raise ValueError(f"head_px is {head_px}; expected {len(everyone)} finite lengths of 0 or more")
    return lengths


def _hits(p: np.ndarray, g: np.ndarray, limits_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, G, 18) bool: joint found; (P, G) in [0, 1): how far the shared joints lie apart, for ties only."""
    shared = (p[:, None, :, 2] > 0) & (g[None, :, :, 2] > 0)
    offset = np.where(shared[..., None], p[:, None, :, :2] - g[None, :, :, :2], 0)
    distance = np.linalg.norm(offset, axis=-1)
    hits = shared & (distance <= limits_px[None, :, None] + 1e-9)
    mean_gap = distance.sum(-1) / np.maximum(shared.sum(-1), 1) / limits_px
    return hits, mean_gap / (1 + mean_gap) / (1 + max(len(p), len(g)))


def _figures(figures: np.ndarray | Sequence[np.ndarray], name: str) -> np.ndarray:
    if len(figures) == 0:
        return np.zeros((0, NUM_JOINTS, 3))
    array = np.asarray(figures, dtype=np.float64)
    if array.ndim != 3 or array.shape[1:] != (NUM_JOINTS, 3):
        raise ValueError(
            f"{name} joints have shape {array.shape}; expected (figures, 18, 3) of [x, y, visible]"
        )
    if not (np.isfinite(array[..., 2]).all() and np.isfinite(array[array[..., 2] > 0]).all()):
        raise ValueError(
            f"{name} joints are NaN or infinite where visible; set visible to 0 for missing joints"
        )
    return array
