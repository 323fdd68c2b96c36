"""What do several affine-invariant depth maps of one picture say together?

Marigold's ensembling (Ke et al. 2024, arXiv 2312.02145): scale and shift of every member are found so that
the members agree pairwise and fill [0, 1]; their median is the estimate, their median absolute deviation the
uncertainty. The optimiser is diffusers' (scipy's BFGS, extra `eval`). Its own default stops after 2
iterations; here it is the 50 of the published evaluation. Leaves out maps of one known palette, whose members
need no fit (`unicon estimate --ensemble`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from unicon.extras import need

Reduction = Literal["median", "mean"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthEnsemble:
    """One estimate from several."""

    depth: np.ndarray
    """(H, W) float32 in [0, 1], up to scale and shift."""
    uncertainty: np.ndarray
    """(H, W) float32, in units of `depth`: median absolute deviation of the fitted members, or their standard
    deviation with "mean"."""
    num_members: int


def ensemble_depth(
    members: np.ndarray | Sequence[np.ndarray],
    *,
    reduction: Reduction = "median",
    regularizer: float = 0.02,
    max_iterations: int = 50,
    tolerance: float = 1e-3,
    max_px: int = 1024,
) -> DepthEnsemble:
    """Combine (M, H, W) maps, each affine in depth with a positive scale of its own, M at least 2.

    Minimises the sum over pairs of their RMS difference, plus `regularizer` times the gap of the estimate's
    least and greatest value to 0 and 1, over scales and shifts, on maps of at most `max_px` per side.
    With an even M the median is the lower of the middle two, as torch's. Raises ValueError for other shapes,
    fewer than 2 members, NaN and constant members, MissingExtra without scipy.
    """
    stack = _checked(members, reduction)
    if max_iterations < 1:
        raise ValueError(f"max_iterations is {max_iterations}; it must be at least 1")
    need("scipy", extra="eval")
    import torch
    from diffusers import MarigoldDepthPipeline

    depth, uncertainty = MarigoldDepthPipeline.ensemble_depth(
        torch.from_numpy(stack)[:, None],
        output_uncertainty=True,
        reduction=reduction,
        regularizer_strength=regularizer,
        max_iter=max_iterations,
        tol=tolerance,
        max_res=max_px,
    )
    assert uncertainty is not None
    return DepthEnsemble(
        depth=depth[0, 0].numpy(), uncertainty=uncertainty[0, 0].numpy(), num_members=len(stack)
    )


def _checked(members: np.ndarray | Sequence[np.ndarray], reduction: Reduction) -> np.ndarray:
    if reduction not in get_args(Reduction):
        raise ValueError(f"reduction is {reduction!r}; known: {', '.join(get_args(Reduction))}")
    shapes = sorted({np.shape(each) for each in members})
    if len(shapes) != 1 or len(shapes[0]) != 2 or len(members) < 2:
        raise ValueError(
            f"got {len(members)} members of shapes {', '.join(map(str, shapes))}; expected at least 2 of one "
            "shape (H, W)"
        )
    stack = np.stack([np.asarray(each, dtype=np.float32) for each in members])
    if not np.isfinite(stack).all():
        raise ValueError("NaN or infinity among the members: an affine fit needs whole maps")
    flat = [number for number, each in enumerate(stack) if np.ptp(each) == 0]
    if flat:
        raise ValueError(f"member {flat[0]} is constant: no scale and shift make it agree with others")
    return stack
