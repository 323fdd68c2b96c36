"""Does the reward of pictures have the value of the hard score, and gradients that raise it?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eval.features import Extractor, FeatureSet
from eval.originality.reward import RarityReward
from eval.rarity import rarity_score


@pytest.fixture(scope="module")
def extractor():
    return Extractor()


def noise(num: int, seed: int) -> torch.Tensor:
    """Pictures (num, 3, 32, 32) of one colour each, with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(num, 3, 1, 1, generator=generator)
    return (colours + 0.05 * torch.randn(num, 3, 32, 32, generator=generator)).clamp(0, 1)


@pytest.fixture(scope="module")
def real(extractor) -> FeatureSet:
    values = extractor.of_tensor(noise(24, 0)).numpy()
    return FeatureSet(values=values, names=tuple(map(str, range(24))), source=extractor.source)


def test_it_tends_to_the_hard_score(extractor, real):
    pictures = noise(12, 1)
    hard = rarity_score(real.values, extractor.of_tensor(pictures).numpy(), k=3)
    soft = RarityReward(extractor, real, temperature=1e-3, softness=1e-6)(pictures)
    inside = hard.in_manifold
    assert 0 < inside.sum() < 12
    np.testing.assert_allclose(soft.score[inside], hard.scores[inside], rtol=1e-2)
    assert soft.membership[inside].min() > 0.99
    assert soft.membership[~inside].max() < 0.01


def test_its_gradient_is_that_of_finite_differences_and_climbs(extractor, real):
    reward, pictures = RarityReward(extractor, real, temperature=1.0, softness=0.5), noise(3, 2)
    given = pictures.clone().requires_grad_()
    found = reward(given).score
    found.sum().backward()
    assert given.grad is not None
    way = given.grad / given.grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    step = 0.02
    ahead, back = (reward(pictures + sign * step * way).score for sign in (1, -1))
    slope = (given.grad * way).flatten(1).sum(1)
    torch.testing.assert_close((ahead - back) / (2 * step), slope.double(), rtol=0.1, atol=1e-4)
    assert (ahead > found).all()


def test_features_of_another_model_are_refused(extractor, real):
    with pytest.raises(ValueError, match="real features are of other, the extractor is mini"):
        RarityReward(extractor, replace(real, source="other"))
    with pytest.raises(ValueError, match="the real set has 24 features; k = 30 needs at least 31"):
        RarityReward(extractor, real, k=30)
