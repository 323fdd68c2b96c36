"""How far are the demo's maps from the exact ones, and how well does a drawn pair agree?

Depth, edges and poses are scored by `eval.metrics`; a second view, which no metric fits, by the base's own
image encoder where it has one. Numbers are means over the scenes of one run: an impression, not a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from eval.metrics.depth import DepthErrors, depth_errors, fit, mean_errors
from eval.metrics.edges import edge_f1
from eval.metrics.pose import PoseCounts, pose_counts
from unicon.conditions.edges import map_to_edges
from unicon.conditions.palettes import map_to_depth
from unicon.conditions.pose_reading import read_pose
from unicon.data.scenes import FAR_M, Scene

if TYPE_CHECKING:
    from unicon.pipeline import UniConPipeline

NEAR_M = 0.1
"""Aligned depths are clipped to this and to the scenes' far end before they are scored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Errors of one condition over the scenes of a stage."""

    numbers: dict[str, float]
    """Means by name; empty when nothing could be scored."""
    notes: list[str]
    """One short line per scene, for the sheet; may be empty strings."""


def against_scenes(condition: str, maps: Sequence[np.ndarray], scenes: Sequence[Scene]) -> Score | None:
    """Maps (H, W, 3) in [0, 1] against the scenes' exact ones; None for a condition without a metric."""
    measure = _AGAINST.get(condition)
    return None if measure is None else measure(maps, scenes)


def agreement(condition: str, drawn: Sequence[np.ndarray], read_back: Sequence[np.ndarray]) -> Score | None:
    """A map drawn with a picture against the map read from that picture; None as above."""
    measure = _AGREEMENT.get(condition)
    return None if measure is None else measure(drawn, read_back)


def _depth(maps: Sequence[np.ndarray], scenes: Sequence[Scene]) -> Score:
    errors = [
        depth_errors(map_to_depth(m), s.depth, low=NEAR_M, high=FAR_M)
        for m, s in zip(maps, scenes, strict=True)
    ]
    return Score(
        numbers=_depth_numbers(mean_errors(errors)), notes=[f"AbsRel {e.abs_rel:.3f}" for e in errors]
    )


def _depth_numbers(errors: DepthErrors) -> dict[str, float]:
    return {"abs_rel": errors.abs_rel, "delta1": errors.delta1}


def _edges(maps: Sequence[np.ndarray], scenes: Sequence[Scene]) -> Score:
    return _f1([edge_f1(map_to_edges(m), s.edges) for m, s in zip(maps, scenes, strict=True)])


def _f1(values: Sequence[float]) -> Score:
    return Score(numbers={"f1_2px": float(np.mean(values))}, notes=[f"F1 {value:.2f}" for value in values])


def _pose(maps: Sequence[np.ndarray], scenes: Sequence[Scene]) -> Score:
    return _pck([pose_counts(read_pose(m), s.joints) for m, s in zip(maps, scenes, strict=True)])


def _pck(counts: Sequence[PoseCounts]) -> Score:
    """Joints pooled over the scenes; a scene without a figure says nothing."""
    scored = [each for each in counts if each.labelled.sum()]
    numbers = {"pck_0.1": reduce(add, scored).pck} if scored else {}
    return Score(
        numbers=numbers, notes=[f"PCK {c.pck:.2f}" if c.labelled.sum() else "no figure" for c in counts]
    )


def _depth_agreement(drawn: Sequence[np.ndarray], read_back: Sequence[np.ndarray]) -> Score:
    """Correlation, and the mean difference after a fit of scale and shift: a drawn map has no metres."""
    pairs = [(map_to_depth(a), map_to_depth(b)) for a, b in zip(drawn, read_back, strict=True)]
    correlations = [_correlation(a, b) for a, b in pairs]
    differences = [_fitted_difference(a, b) for a, b in pairs]
    numbers = {"correlation": float(np.mean(correlations)), "mean_difference": float(np.mean(differences))}
    return Score(numbers=numbers, notes=[f"r {value:.2f}" for value in correlations])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-9 else 0.0


def _fitted_difference(truth: np.ndarray, prediction: np.ndarray) -> float:
    scale, shift = fit(prediction, truth)
    return float(np.abs(scale * prediction + shift - truth).mean())


def _edge_agreement(drawn: Sequence[np.ndarray], read_back: Sequence[np.ndarray]) -> Score:
    return _f1([edge_f1(map_to_edges(b), map_to_edges(a)) for a, b in zip(drawn, read_back, strict=True)])


def _pose_agreement(drawn: Sequence[np.ndarray], read_back: Sequence[np.ndarray]) -> Score:
    return _pck([pose_counts(read_pose(b), read_pose(a)) for a, b in zip(drawn, read_back, strict=True)])


_AGAINST: dict[str, Callable[[Sequence[np.ndarray], Sequence[Scene]], Score]] = {
    "depth": _depth, "edge": _edges, "pose": _pose,
}  # fmt: skip
_AGREEMENT: dict[str, Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Score]] = {
    "depth": _depth_agreement, "edge": _edge_agreement, "pose": _pose_agreement,
}  # fmt: skip


@torch.no_grad()
def likeness(
    pipe: UniConPipeline,
    drawn: Sequence[Image.Image],
    given: Sequence[Image.Image],
    told: torch.Tensor | None = None,
) -> Score | None:
    """Cosine of the image encoder's embeddings of two views, beside that of views of different scenes, and of
    the embeddings (n, width) that the drawn ones were told, where these are not those of the given.

    None for a base without an image encoder.
    """
    if pipe.image_encoder is None:
        return None
    first, second = pipe.embed(list(drawn)), pipe.embed(list(given))
    own, others = (first * second).sum(-1), (first * second.roll(1, 0)).sum(-1)
    numbers = {"cosine": float(own.mean())}
    if len(drawn) > 1:
        numbers["cosine_to_other_scenes"] = float(others.mean())
    if told is not None:
        numbers["embedding_cosine"] = float((told.to(second) * second).sum(-1).mean())
    return Score(numbers=numbers, notes=[f"cosine {value:.2f}" for value in own.tolist()])
