"""What are the one-pixel-wide lines of a binary map?

Parallel thinning of Guo and Hall (1989, "Parallel thinning with two-subiteration algorithms", A1), the
algorithm behind MATLAB's `bwmorph(x, 'thin', inf)` that the BSDS benchmark prescribes, as two table look-ups
per pass. Leaves out skeleton pruning and grey-level non-maximum suppression (`eval.metrics.bsds`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

# x1..x8: east, then counter-clockwise; (row, column) offsets
NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(edges: np.ndarray) -> np.ndarray:
    """Thin a bool (H, W) map until nothing changes; connectivity is kept, pixels outside count as empty."""
    edges = np.asarray(edges)
    if edges.ndim != 2 or edges.dtype != bool:
        raise ValueError(f"thin() got {edges.dtype} of shape {edges.shape}; expected a bool (H, W) map")
    padded = np.pad(edges, 1)
    rows, columns = np.nonzero(padded)
    changed = True
    while changed:
        changed = False
        for table in removal_tables():
            remove = table[_codes(padded, rows, columns)]
            padded[rows[remove], columns[remove]] = False
            rows, columns = rows[~remove], columns[~remove]
            changed |= bool(remove.any())
    return padded[1:-1, 1:-1]


@cache
def removal_tables() -> tuple[np.ndarray, np.ndarray]:
    """For each subiteration: bool (256,), whether a pixel whose neighbours read so (bit i = x(i+1)) goes."""
    x = np.array([[code >> bit & 1 for bit in range(8)] for code in range(256)], dtype=bool)
    x1, x2, x3, x4, x5, x6, x7, x8 = x.T
    crossings = sum(
        (~a & (b | c)).astype(int) for a, b, c in ((x1, x2, x3), (x3, x4, x5), (x5, x6, x7), (x7, x8, x1))
    )
    paired = sum((a | b).astype(int) for a, b in ((x1, x2), (x3, x4), (x5, x6), (x7, x8)))
    shifted = sum((a | b).astype(int) for a, b in ((x2, x3), (x4, x5), (x6, x7), (x8, x1)))
    fewest = np.minimum(paired, shifted)
    border = (crossings == 1) & (fewest >= 2) & (fewest <= 3)
    return border & ~((x2 | x3 | ~x8) & x1), border & ~((x6 | x7 | ~x4) & x5)


def _codes(padded: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    code = np.zeros(rows.size, dtype=np.uint8)
    for bit, (down, right) in enumerate(NEIGHBOURS):
        code |= padded[rows + down, columns + right].astype(np.uint8) << bit
    return code
