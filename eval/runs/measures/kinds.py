"""Which measures are there, and how is one written down?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from eval.runs.measures.depth import DepthMeasure
from eval.runs.measures.edges import BoundaryMeasure, EdgeMeasure
from eval.runs.measures.measure import Measure
from eval.runs.measures.pictures import LikenessMeasure, ViewMeasure
from eval.runs.measures.pose import PoseMeasure
from eval.runs.measures.spread import SpreadMeasure

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
