"""How does rarity change when a feature moves a little?

Hard rarity is a step function, its gradient 0. Here membership in ball i is w_i = sigmoid((r_i - d_i) / tau)
and the minimum is soft: s = -T log sum_i w_i exp(-r_i / T). A ball missed by delta costs r + delta T / tau,
so inside the manifold s tends to the hard score as T and tau / T tend to 0. Outside s grows with the
distance, so it rewards leaving: use it together with `membership`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True, slots=True)
class SoftRarity:
    """Both scores of M features, differentiable."""

    score: torch.Tensor
    """(M,) float64, in units of distance."""
    membership: torch.Tensor
    """(M,) float64 in [0, 1]: 1 - prod_i (1 - w_i), how surely a feature is in the manifold."""


def soft_rarity(
    features: torch.Tensor,
    real: torch.Tensor,
    radii: torch.Tensor,
    *,
    temperature: float,
    softness: float,
) -> SoftRarity:
    """Soft rarity of (M, D) among `real` (N, D) with k-NN `radii` (N,), computed in float64.

    `temperature` T and `softness` tau are in units of distance; a tenth and a hundredth of the median
    radius are a start. Balls of radius 0 are left out. Raises ValueError for a temperature or softness that
    is not above 0, and for shapes that do not fit.
    """
    if not (temperature > 0 and softness > 0):
        raise ValueError(f"temperature {temperature} and softness {softness} must be above 0")
    if radii.shape != real.shape[:1] or features.shape[1:] != real.shape[1:] or real.ndim != 2:
        raise ValueError(
            f"shapes are features {tuple(features.shape)}, real {tuple(real.shape)}, radii "
            f"{tuple(radii.shape)}; expected (M, D), (N, D), (N,)"
        )
    keep = radii > 0
    if not keep.any():
        raise ValueError("every radius is 0, so no ball holds anything")
    centres, reach = real[keep].double(), radii[keep].double()
    # Over differences: products would lose the digits a gradient is made of.
    far = torch.cdist(features.double(), centres, compute_mode="donot_use_mm_for_euclid_dist")
    log_inside = F.logsigmoid((reach - far) / softness)
    log_outside = F.logsigmoid((far - reach) / softness)
    return SoftRarity(
        score=-temperature * torch.logsumexp(log_inside - reach / temperature, 1),
        membership=-torch.expm1(log_outside.sum(1)),
    )
