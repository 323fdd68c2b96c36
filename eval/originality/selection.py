"""Which of many samples are worth keeping: the rarest that still pass for real?"""

from __future__ import annotations

import numpy as np

from eval.rarity import Rarity


def keep_rarest(
    rarity: Rarity,
    num: int,
    *,
    fidelity: np.ndarray | None = None,
    least_fidelity: float = 1.0,
    exclude: np.ndarray | None = None,
) -> np.ndarray:
    """Places of the `num` rarest samples in the manifold, rarest first; fewer where fewer qualify.

    `fidelity` (M,), a score of single pictures, must be at least `least_fidelity`: a huge lonely ball holds
    bad pictures too. Realism of the denser half of the balls is none: it is at least 1 only where rarity is
    at most the median radius, so that common pictures alone would be left. `exclude` (M,) bool takes samples
    out, such as near-copies. Raises ValueError for other shapes.
    """
    check_number(num)
    good = rarity.in_manifold.copy()
    for name, given in (("fidelity", fidelity), ("exclude", exclude)):
        if given is not None and np.shape(given) != good.shape:
            raise ValueError(f"{name} has shape {np.shape(given)} for {len(good)} samples; give one for each")
    if fidelity is not None:
        good &= np.asarray(fidelity) >= least_fidelity
    if exclude is not None:
        good &= ~np.asarray(exclude, dtype=bool)
    return np.array([place for place in rarity.rarest if good[place]][:num], dtype=np.int64)


def check_number(num: int) -> None:
    """ValueError for a number to keep below 1."""
    if num < 1:
        raise ValueError(f"number to keep is {num}; expected at least 1")
