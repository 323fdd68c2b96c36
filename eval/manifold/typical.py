"""How close are neighbours, compared with how long features are?

An estimate on a sample, for choosing fast arithmetic; no result depends on it.
"""

from __future__ import annotations

import torch

SAMPLE = 384


def closeness(rows: torch.Tensor, squared_radii: torch.Tensor | None = None) -> float:
    """The median squared distance to a near neighbour, over the mean squared length about the mean.

    Without `squared_radii` neighbours are sought within the sample, where they are farther off than in all.
    """
    step = max(1, len(rows) // SAMPLE)
    sample = rows[::step][:SAMPLE].double()
    sample = sample - sample.mean(0)
    length = float(sample.square().sum(1).mean())
    if squared_radii is None:
        between = torch.cdist(sample, sample).square_().fill_diagonal_(torch.inf)
        squared_radii = between.amin(1)
    return float(squared_radii.median()) / length if length else 0.0
