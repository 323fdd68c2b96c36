"""How good is a map or a picture? Metrics as pure functions on arrays, and protocols that run them.

Import the part that is needed (`from eval.metrics.depth import depth_errors`): the package's name is a
builtin's. The names below are loaded when first used; importing the package loads nothing.
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "DepthErrors": "metrics.depth",
    "depth_errors": "metrics.depth",
    "batch_depth_errors": "metrics.depth",
    "mean_errors": "metrics.depth",
    "EdgeCounts": "metrics.edges",
    "edge_counts": "metrics.edges",
    "edge_f1": "metrics.edges",
    "benchmark_errors": "metrics.depth_benchmarks",
    "ensemble_depth": "metrics.depth_ensemble",
    "boundary_counts": "metrics.bsds",
    "boundary_score": "metrics.bsds",
    "suppress": "metrics.bsds",
    "PoseCounts": "metrics.pose",
    "pose_counts": "metrics.pose",
    "pck": "metrics.pose",
    "pose_ap": "metrics.oks",
    "normal_errors": "metrics.normals",
    "normals_from_depth": "metrics.normals",
    "Coverage": "metrics.intervals",
    "coverage": "metrics.intervals",
    "calibration": "metrics.calibration",
    "text_score": "metrics.text",
    "likeness": "metrics.likeness",
    "diversity": "metrics.likeness",
    "amplification": "metrics.attributes",
    "stratified": "metrics.attributes",
    "over_seeds": "metrics.summary",
    "bootstrap_interval": "metrics.summary",
    "markdown_table": "metrics.summary",
    "Record": "records",
    "Manifold": "manifold.manifold",
    "rarity_score": "rarity",
    "nyu_depth": "data",
    "bsds": "data",
    "lsp": "data",
    "is_held_out": "data",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'eval' has no attribute {name!r}; it has {', '.join(sorted(_HOME))}")
    return getattr(import_module(f"eval.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
