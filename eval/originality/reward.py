"""How rare are pictures among real ones, as a number that a sampler or a trainer can climb?

Rarity is a step function of a picture; this is its soft form (`eval.manifold.differentiable`) through a
frozen vision model, with gradients down to the pixels, as a reward in fine-tuning or to guide sampling by.
Beyond the features it is float64, so that its precision does not depend on the device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eval.features import Extractor, FeatureSet
from eval.manifold.differentiable import SoftRarity, soft_rarity
from eval.manifold.manifold import Manifold


class RarityReward:
    """Soft rarity of pictures (N, 3, H, W) in [0, 1] among the real ones of `real`."""

    def __init__(
        self,
        extractor: Extractor,
        real: FeatureSet,
        *,
        k: int = 3,
        temperature: float = 0.1,
        softness: float = 0.01,
    ):
        """`real`: features of the same extractor; `temperature` and `softness`: shares of the median radius
        (`soft_rarity`). Raises ValueError for features of another model or resizing, and for too few.
        """
        if real.source != extractor.source:
            raise ValueError(f"real features are of {real.source}, the extractor is {extractor.source}")
        self.extractor = extractor
        self.real = torch.from_numpy(np.asarray(real.values))
        self.radii = torch.from_numpy(Manifold(self.real, (k,)).radii[0])
        self.unit = float(self.radii.median())
        self.temperature, self.softness = temperature * self.unit, softness * self.unit

    def __call__(self, pictures: Tensor) -> SoftRarity:
        """Score in units of distance, membership in [0, 1]: float64 (N,), with gradients to `pictures`.

        The score grows outside of the manifold, too: reward it where `membership` is high, for instance
        `(found.membership * found.score).mean()`.
        """
        features = self.extractor.of_tensor(pictures)
        real, radii = self.real.to(features.device), self.radii.to(features.device)
        return soft_rarity(features, real, radii, temperature=self.temperature, softness=self.softness)
