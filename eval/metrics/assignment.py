"""Which prediction belongs to which truth?

The exact assignment of least total cost (Kuhn 1955, shortest augmenting paths), for the handful of figures of
one picture, so that scoring a pose needs no scipy. Leaves out sparse problems of thousands
(`eval.metrics.bsds`).
"""

from __future__ import annotations

import numpy as np


def assign(costs: np.ndarray) -> list[tuple[int, int]]:
    """Pairs (row, column) with each row and column used at most once, min(R, C) of them, of least summed
    cost.

    `costs` (R, C) finite floats; the pairs come sorted by row. Raises ValueError for other input.
    """
    costs = np.asarray(costs, dtype=np.float64)
    if costs.ndim != 2 or not np.isfinite(costs).all():
        raise ValueError(
            f"assignment costs have shape {costs.shape}; expected a finite (rows, columns) matrix"
        )
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T))
    owner: dict[int, int] = {}  # column -> row
    for row in range(costs.shape[0]):
        _augment(costs, owner, row)
    return sorted((row, column) for column, row in owner.items())


def _augment(costs: np.ndarray, owner: dict[int, int], start: int) -> None:
    """Give row `start` a column along the cheapest path of reassignments (Bellman-Ford; costs of swaps may be
    < 0)."""
    distance = costs[start].copy()
    came_from = np.full(costs.shape[1], -1)  # previous column on the path, -1: from the start itself
    for _ in range(len(owner)):
        for column, row in owner.items():
            through = distance[column] - costs[row, column] + costs[row]
            better = through < distance - 1e-12
            distance[better], came_from[better] = through[better], column
    free = [c for c in range(costs.shape[1]) if c not in owner]
    column = min(free, key=lambda c: distance[c])
    while came_from[column] >= 0:
        owner[column] = owner[came_from[column]]
        column = int(came_from[column])
    owner[column] = start
