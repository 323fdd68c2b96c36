"""How far are maps from the truth of their scenes?

The metrics of `eval.metrics` applied to stacks of maps as `unicon.conditions` draws them. Conventions:
- depth: AbsRel and delta1 against metres, scale and shift fitted per picture in depth, sky (at `FAR_M`) left
  out, the fitted prediction clipped to [`NEAR_M`, `FAR_M`], mean over pictures;
- edge: F1 at 2 px after thinning, mean over pictures, at a threshold that comes from other scenes;
- pose: PCK@0.1 by the figure's box, joints read from the drawing, pooled over all labelled joints.
Leaves out where the maps come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.metrics.depth import DepthErrors, batch_depth_errors, mean_errors, valid_mask
from eval.metrics.edges import best_threshold, edge_counts
from eval.metrics.intervals import Coverage, coverage, pooled, usual_method
from eval.metrics.pose import pose_counts
from eval.protocols.scene_set import SceneSet, check_conditions
from unicon.conditions.edges import edge_strength, map_to_edges
from unicon.conditions.palettes import FAR_QUANTILE, NEAR_QUANTILE, map_to_depth, unclipped
from unicon.conditions.pose_reading import read_pose
from unicon.data.scenes import FAR_M

NEAR_M = 0.1
"""Lower clip of a fitted depth; the nearest surface of a scene is about half a metre away."""
TOLERANCE_PX = 2.0
ALPHA = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthScore:
    """Depth maps against metres."""

    abs_rel: float
    delta1: float
    num: int
    """Pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EdgeScore:
    """Edge maps against edges, means over pictures."""

    f1: float
    precision: float
    recall: float
    threshold: float
    num: int
    """Pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PoseScore:
    """Pose drawings against joints."""

    pck: float | None
    """None when no joint is labelled."""
    found: float | None
    """Figures found per true figure; above 1 some are invented, which PCK does not punish."""
    num: int
    """True figures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CoverageScore:
    """An ensemble's interval."""

    interval_coverage: float
    """Over pixels within the map's range: those beyond its 2% and 98% quantiles are clipped in every map."""
    interval_coverage_all: float
    """Over all pixels but sky."""
    width_m: float
    """Mean length of the interval over the pixels of `interval_coverage`."""
    num: int
    """Pictures."""


MapScore = DepthScore | EdgeScore | PoseScore


def score(condition: str, maps: np.ndarray, scenes: SceneSet, threshold: float = 0.5) -> MapScore:
    """Maps (n, S, S, 3) in [0, 1] against the exact truth of as many scenes; `threshold` is for edges."""
    check_conditions([condition])
    if len(maps) != len(scenes):
        raise ValueError(f"got {len(maps)} maps for {len(scenes)} scenes; give one per scene")
    if condition == "depth":
        return score_depth(maps, scenes.metres)
    if condition == "edge":
        return score_edges(maps, scenes.edges, threshold)
    return score_pose(maps, scenes.joints)


def agreement(
    condition: str, read: np.ndarray, drawn: np.ndarray, scenes: SceneSet, threshold: float
) -> MapScore:
    """Maps read from generated pictures against the maps generated with them, both (n, S, S, 3) in [0, 1].

    The drawn map takes the truth's place. A drawn depth map has no metres: it is laid over the median range
    of `scenes` (`typical_range`), which makes AbsRel comparable with that of true scenes.
    """
    check_conditions([condition])
    if condition == "depth":
        near, far = typical_range(scenes)
        return score_depth(read, near + (far - near) * np.stack([map_to_depth(_float(m)) for m in drawn]))
    if condition == "edge":
        return score_edges(read, np.stack([map_to_edges(_float(m)) for m in drawn]), threshold)
    return score_pose(read, [joints_of(m) for m in drawn])


def typical_range(scenes: SceneSet) -> tuple[float, float]:
    """Medians over scenes of the depths in metres that a depth map draws brightest and darkest."""
    near, far = np.median(np.quantile(scenes.metres, (NEAR_QUANTILE, FAR_QUANTILE), axis=(1, 2)), axis=1)
    return float(near), float(far)


def score_depth(maps: np.ndarray, metres: np.ndarray) -> DepthScore:
    """Depth maps (n, S, S, 3) against planar depth (n, S, S)."""
    errors = depth_errors_of(maps, metres)
    return DepthScore(abs_rel=errors.abs_rel, delta1=errors.delta1, num=errors.num_pictures)


def depth_errors_of(maps: np.ndarray, metres: np.ndarray) -> DepthErrors:
    """All depth errors, mean over pictures."""
    predictions = [map_to_depth(_float(m)) for m in maps]
    return mean_errors(
        batch_depth_errors(predictions, metres, [nearer_than_sky(g) for g in metres], low=NEAR_M, high=FAR_M)
    )


def nearer_than_sky(metres: np.ndarray) -> np.ndarray:
    """(S, S) bool: pixels with a surface."""
    return valid_mask(metres, 0.0, FAR_M)


def score_edges(maps: np.ndarray, edges: np.ndarray, threshold: float) -> EdgeScore:
    """Edge maps (n, S, S, 3) against bool edges (n, S, S)."""
    counts = [
        edge_counts(edge_strength(_float(m)), g, tolerance_px=TOLERANCE_PX, threshold=threshold)
        for m, g in zip(maps, edges, strict=True)
    ]
    return EdgeScore(
        f1=float(np.mean([c.f1 for c in counts])),
        precision=float(np.mean([c.precision for c in counts])),
        recall=float(np.mean([c.recall for c in counts])),
        threshold=threshold,
        num=len(counts),
    )


def choose_threshold(condition: str, maps: np.ndarray, scenes: SceneSet) -> float:
    """The edge threshold with the best F1 on these (validation) scenes; 0.5 for conditions without one."""
    if condition != "edge":
        return 0.5
    strengths = [edge_strength(_float(m)) for m in maps]
    return best_threshold(strengths, list(scenes.edges), tolerance_px=TOLERANCE_PX)[0]


def score_pose(maps: np.ndarray, joints: Sequence[np.ndarray]) -> PoseScore:
    """Pose drawings (n, S, S, 3) against joints, one (figures, 18, 3) per picture."""
    return score_joints([joints_of(m) for m in maps], joints)


def score_joints(predicted: Sequence[np.ndarray], joints: Sequence[np.ndarray]) -> PoseScore:
    """Joints against joints, one (figures, 18, 3) per picture; figures without extent do not count."""
    counts = [pose_counts(p, g, alpha=ALPHA) for p, g in zip(predicted, joints, strict=True)]
    total = sum(counts[1:], counts[0])
    return PoseScore(
        pck=total.pck if total.labelled.sum() else None,
        found=total.num_predicted / total.num_true if total.num_true else None,
        num=total.num_true,
    )


def joints_of(picture: np.ndarray) -> np.ndarray:
    """Figures (n, 18, 3) in a drawing (S, S, 3)."""
    return np.reshape(read_pose(_float(picture)), (-1, 18, 3))


def score_coverage(members: np.ndarray, scenes: SceneSet, level: float = 0.9) -> CoverageScore:
    """Depth ensembles (members, n, S, S), mean over channels of their maps, against metres.

    Order statistics from 19 members on, Student's t below; the mean's scale and shift moves all members.
    """
    method = usual_method(len(members))
    inside, everywhere = [], []
    for picture, metres in enumerate(scenes.metres):
        depths = 1 - members[:, picture].astype(np.float64)
        surface = nearer_than_sky(metres)
        inside.append(coverage(depths, metres, surface & unclipped(metres), level=level, method=method))
        everywhere.append(coverage(depths, metres, surface, level=level, method=method))
    return _coverage_score(pooled(inside), pooled(everywhere), len(inside))


def _coverage_score(inside: Coverage, everywhere: Coverage, num: int) -> CoverageScore:
    return CoverageScore(
        interval_coverage=inside.coverage,
        interval_coverage_all=everywhere.coverage,
        width_m=inside.mean_width,
        num=num,
    )


def _float(picture: np.ndarray) -> np.ndarray:
    """float32; half precision can end a hair above 1, which a metric refuses."""
    if picture.dtype == np.uint8:
        return picture.astype(np.float32) / 255
    return np.clip(picture.astype(np.float32), 0, 1)
