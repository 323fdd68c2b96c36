"""How alike are two poses by COCO's measure, and what average precision do predicted figures reach?

Object keypoint similarity (COCO's keypoint challenge; Ronchi and Perona 2017, arXiv 1707.05388, eq. 1):

    OKS = mean over labelled joints of exp(-d^2 / (2 area (2 sigma)^2))

and AP over OKS thresholds 0.5, 0.55 .. 0.95, precision made monotone and read at 101 recalls, predictions
taken by score and matched greedily, 20 per picture, as pycocotools does for all areas. `eval.metrics.coco`
calls pycocotools itself. Leaves out area ranges and crowds, which are there, and PCK (`eval.metrics.pose`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.assignment import assign
from unicon.conditions.pose import COCO_FROM_OPENPOSE

SIGMAS = np.array([
    0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89,
]) / 10  # fmt: skip
"""Spread of annotators by joint, in COCO's order: nose, eyes, ears, shoulders, elbows, wrists, hips, knees,
ankles, of each pair the left one first."""
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST_PER_PICTURE = 20
BOX_TO_AREA = 0.53
"""Area of a person / its box, for data without outlines (the factor of CrowdPose's evaluation, arXiv
1812.00324). Say so when it was used: OKS depends on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """The people of one picture, by COCO's 17 joints in COCO's order."""

    joints: np.ndarray
    """(n, 17, 3) [x px, y px, visible]; joints with visible 0 are not there."""
    areas: np.ndarray
    """(n,) px^2; of predictions it is not used."""
    scores: np.ndarray
    """(n,) which predictions come first; of the truth it is not used."""

    def __post_init__(self):
        n = len(self.joints)
        if self.joints.shape != (n, len(SIGMAS), 3) or self.areas.shape != (n,) or self.scores.shape != (n,):
            raise ValueError(
                f"joints have shape {self.joints.shape}, areas {self.areas.shape}, scores "
                f"{self.scores.shape}; expected (n, 17, 3), (n,), (n,)"
            )
        seen = self.joints[self.joints[..., 2] > 0]
        if not (np.isfinite(seen).all() and np.isfinite(self.areas).all() and np.isfinite(self.scores).all()):
            raise ValueError("NaN or infinity among visible joints, areas or scores: leave such joints out")

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def labelled(self) -> np.ndarray:
        """(n,) bool: with at least one visible joint."""
        return np.any(self.joints[..., 2] > 0, axis=1)

    def take(self, which: np.ndarray) -> Figures:
        """Some of them, by index or bool."""
        return Figures(joints=self.joints[which], areas=self.areas[which], scores=self.scores[which])


@dataclass(frozen=True, kw_only=True, slots=True)
class PoseAP:
    """Result over pictures; shares in [0, 1]."""

    ap: float
    """Mean over the ten thresholds."""
    ap50: float
    ap75: float
    ar: float
    """Recall of all predictions, mean over the thresholds."""
    mean_oks: float
    """Mean over true figures of the OKS of their partner in the best assignment of the picture; 0 without
    one."""
    count_error: float
    """Mean over pictures of |predicted - true figures|."""
    num_true: int
    num_predicted: int
    num_skipped: int
    """True figures without a visible joint, left out."""
    num_pictures: int


def figures(
    joints: np.ndarray | Sequence[np.ndarray],
    *,
    areas: Sequence[float] | None = None,
    scores: Sequence[float] | None = None,
) -> Figures:
    """People from (n, 17, 3) joints in COCO's order or (n, 18, 3) in OpenPose's.

    `areas` in px^2; default: `BOX_TO_AREA` times the box of the visible joints. `scores`: default the mean of
    the third column over all joints. Raises ValueError for other shapes.
    """
    array = np.asarray(joints, dtype=np.float64)
    if not array.size:
        array = np.zeros((0, len(SIGMAS), 3))
    if array.ndim == 3 and array.shape[1:] == (18, 3):
        array = array[:, COCO_FROM_OPENPOSE]
    if array.ndim != 3 or array.shape[1:] != (len(SIGMAS), 3):
        raise ValueError(f"joints have shape {array.shape}; expected (n, 17, 3) or OpenPose's (n, 18, 3)")
    return Figures(
        joints=array,
        areas=box_areas(array) if areas is None else np.asarray(areas, dtype=np.float64),
        scores=array[..., 2].mean(1) if scores is None else np.asarray(scores, dtype=np.float64),
    )


def box_areas(joints: np.ndarray) -> np.ndarray:
    """(n,) `BOX_TO_AREA` times the area of the box around the visible joints of (n, K, 3); 0 without any."""
    seen = joints[..., 2:] > 0
    low = np.where(seen, joints[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(seen, joints[..., :2], -np.inf).max(1, initial=-np.inf)
    return BOX_TO_AREA * np.prod(np.where(seen.any(1), high - low, 0), axis=-1)


def similarity(predicted: Figures, truth: Figures, sigmas: np.ndarray = SIGMAS) -> np.ndarray:
    """(P, G) OKS of predicted against true figures; a joint that was not predicted adds 0.

    Raises ValueError for a true figure without a visible joint or without an area.
    """
    seen = truth.joints[..., 2] > 0
    if not seen.any(1).all():
        raise ValueError("a true figure has no visible joint: leave it out (Figures.labelled)")
    if not (truth.areas > 0).all():
        raise ValueError("a true figure has no area: give `areas` in square pixels")
    gaps = np.square(predicted.joints[:, None, :, :2] - truth.joints[None, :, :, :2]).sum(-1)
    near = np.exp(-gaps / (2 * truth.areas[:, None] * (2 * sigmas) ** 2))
    near = np.where((predicted.joints[:, None, :, 2] > 0) & seen, near, 0)  # of others it may be NaN
    return (near * seen).sum(-1) / seen.sum(-1)


def pose_ap(predicted: Sequence[Figures], truth: Sequence[Figures]) -> PoseAP:
    """Average precision over pictures, one `Figures` each.

    True figures without a visible joint are left out and counted. Raises ValueError when the numbers of
    pictures differ or no figure is left.
    """
    if not len(predicted) == len(truth) > 0:
        raise ValueError(f"got figures of {len(predicted)} predicted and {len(truth)} true pictures")
    known = [g.take(g.labelled) for g in truth]
    total = sum(map(len, known))
    if not total:
        raise ValueError("no true figure has a visible joint: nothing to score")
    tables = [similarity(p, g) for p, g in zip(predicted, known, strict=True)]
    hits, scores = [], []
    for table, people in zip(tables, predicted, strict=True):
        order = np.argsort(-people.scores, kind="stable")[:MOST_PER_PICTURE]
        hits.append(_greedy(table[order]))
        scores.append(people.scores[order])
    precision, recall = _curves(np.concatenate(hits), np.concatenate(scores), total)
    best = [sum(table[pair] for pair in assign(-table)) if table.size else 0.0 for table in tables]
    return PoseAP(
        ap=float(precision.mean()),
        ap50=float(precision[0].mean()),
        ap75=float(precision[5].mean()),
        ar=float(recall.mean()),
        mean_oks=float(sum(best) / total),
        count_error=float(np.mean([abs(len(p) - len(g)) for p, g in zip(predicted, known, strict=True)])),
        num_true=total,
        num_predicted=sum(map(len, predicted)),
        num_skipped=sum(map(len, truth)) - total,
        num_pictures=len(truth),
    )


def _greedy(table: np.ndarray) -> np.ndarray:
    """(P, T) bool: which predictions, in their order, find a true figure that is still free."""
    hits = np.zeros((len(table), len(THRESHOLDS)), dtype=bool)
    free = np.ones((len(THRESHOLDS), table.shape[1]), dtype=bool)
    if not table.shape[1]:
        return hits
    for number, row in enumerate(table):
        # Of equals the last wins, as in pycocotools.
        open_ = np.where(free, row, -1.0)[:, ::-1]
        best = table.shape[1] - 1 - open_.argmax(1)
        found = open_.max(1) >= np.minimum(THRESHOLDS, 1 - 1e-10)
        hits[number] = found
        free[found, best[found]] = False
    return hits


def _curves(hits: np.ndarray, scores: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision (T, 101) at the recalls, and the last recall (T,)."""
    found = hits[np.argsort(-scores, kind="stable")].T.astype(np.float64)
    if not found.size:
        return np.zeros((len(THRESHOLDS), len(RECALLS))), np.zeros(len(THRESHOLDS))
    right = np.cumsum(found, axis=1)
    recall = right / total
    precision = right / np.arange(1, found.shape[1] + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(precision, ((0, 0), (0, 1)))
    places = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recall])
    return np.take_along_axis(padded, places, axis=1), recall[:, -1]
