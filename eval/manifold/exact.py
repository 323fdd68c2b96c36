"""What is the squared distance of two features, to the last bit of float64?

Summed over differences, not from products, by halving: additions of single numbers in a fixed order. So a
pair gives the same bits whichever way round, in whatever company and on whatever device it is asked for.
These numbers decide every comparison that bounds (`eval.manifold.bounds`) leave open.
"""

from __future__ import annotations

import torch

BATCH_NUMBERS = 1 << 19
"""Differences taken at a time: 4 MiB of float64."""


def squared_distances(
    a: torch.Tensor, i: torch.Tensor, b: torch.Tensor, j: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """(P,) float64 squared distances of the rows i (P,) of `a` (N, D) and j (P,) of `b` (M, D)."""
    batch = max(1, BATCH_NUMBERS // a.shape[1])
    result = torch.empty(len(i), dtype=torch.float64, device=device)
    for first in range(0, len(i), batch):
        ours = slice(first, first + batch)
        differences = _rows(a, i[ours], device).sub_(_rows(b, j[ours], device))
        result[ours] = _sums(differences.square_())
    return result


def _rows(rows: torch.Tensor, index: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A copy, in float64."""
    return rows[index.to(rows.device)].to(device, torch.float64)


def _sums(terms: torch.Tensor) -> torch.Tensor:
    """(P,) of (P, D), which is used up."""
    left = terms.shape[1]
    while left > 1:
        half = (left + 1) // 2
        terms[:, : left - half] += terms[:, half:left]
        left = half
    return terms[:, 0]
