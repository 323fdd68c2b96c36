"""Does rarity rank pictures with an attribute that few training pictures have above those without?"""

from __future__ import annotations

import numpy as np

from eval.manifold.manifold import Manifold
from eval.metrics.ranking import auc

from .features import Embedded


def ranking(embedded: Embedded, attribute: str, features: str, draw: int) -> dict[str, float]:
    """How well rarity ranks fresh pictures with an attribute of 1% of the reference, in one draw."""
    rng = np.random.default_rng(draw)
    reference = embedded(features, "reference")
    odd = embedded(features, f"rare {attribute}")
    common = embedded(features, "fresh")
    num_common = len(common)
    odd = odd[rng.permutation(len(odd))]
    num_planted = max(1, round(0.01 * len(reference)))
    kept = rng.permutation(len(reference))[num_planted:]
    real = np.concatenate([reference[kept], odd[:num_planted]])
    found = Manifold(real).compare(np.concatenate([common, odd[num_planted:]]), recall=False)[0]
    is_rare = np.arange(len(found.rarity)) >= num_common
    inside = ~np.isnan(found.rarity)
    # A picture outside of all balls is farther from training pictures than any inside.
    whole = np.where(inside, found.rarity, np.inf)
    return {
        "auc_inside": auc(found.rarity[inside & is_rare], found.rarity[inside & ~is_rare]),
        "auc_outside_is_rarest": auc(whole[is_rare], whole[~is_rare]),
        "outside_of_rare": float((~inside)[is_rare].mean()),
        "outside_of_common": float((~inside)[~is_rare].mean()),
        "num_planted": num_planted, "num_rare": int(is_rare.sum()), "num_common": num_common,
    }  # fmt: skip
