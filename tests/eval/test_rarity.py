"""Is rarity what the published code computes, and does it behave as its paper says it must?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eval.manifold.histogram import histogram
from eval.manifold.manifold import FORMATS
from eval.manifold.sets import compare_sets, outlier_order
from eval.manifold.truncation import truncation_test
from eval.rarity import Rarity, rarity_by_stratum, rarity_score
from tests.eval.test_manifold import clusters


@pytest.mark.parametrize("arithmetic", ["auto", *FORMATS])
def test_equals_the_published_code(oracles, arithmetic):
    found = rarity_score(oracles["real"], oracles["fake"], k=int(oracles["k"]), arithmetic=arithmetic)
    inside = oracles["scores"] > 0  # it writes 0 outside the manifold
    np.testing.assert_array_equal(found.in_manifold, inside)
    np.testing.assert_allclose(found.scores[inside], oracles["scores"][inside], rtol=1e-6)
    assert np.isnan(found.scores[~inside]).all()
    assert set(found.rarest) == set(oracles["in_manifold_sorted"])
    assert (np.diff(found.scores[found.rarest]) <= 0).all()


def test_summary_tells_what_was_counted(oracles):
    one = rarity_score(oracles["real"], oracles["fake"], features="made up").summary
    inside = oracles["scores"][oracles["scores"] > 0]
    assert one.mean == pytest.approx(inside.mean(), rel=1e-9)
    assert one.quantiles[0.5] == pytest.approx(np.median(inside), rel=1e-9)
    assert one.in_manifold == len(inside) / 400
    assert (one.num_real, one.num_generated, one.k, one.num_zero_radii) == (500, 400, 3, 0)
    assert "over 91.2% in the manifold" in str(one)
    assert "500 real, 400 generated, made up" in str(one)


def test_nothing_in_the_manifold_is_no_zero():
    one = rarity_score(clusters(30, 4, 0), clusters(20, 4, 1) + 1e3).summary
    assert one.mean is None
    assert one.quantiles == {}
    assert one.in_manifold == 0
    assert str(one).startswith("rarity none over 0.0%")


def test_a_rare_class_is_not_a_rare_member():
    rng = np.random.default_rng(0)
    common, rare = rng.normal(size=(200, 4)), rng.normal(size=(30, 4)) * 3 + 40
    real, labels = np.concatenate([common, rare]), ["cat"] * 200 + ["emu"] * 30
    generated = np.concatenate([common[:50] + 0.01, rare[:10] + 0.01, common[:3]])
    of_generated = ["cat"] * 50 + ["emu"] * 10 + ["yak"] * 3
    strata = rarity_by_stratum(real, generated, [*labels, "gnu"][:230], of_generated)
    assert set(strata.within) == {"cat", "emu"}
    assert strata.left_out == {"yak": "has 0 reals for 3 generated; k = 3 needs at least 4"}
    alone = rarity_score(rare, generated[50:60])
    np.testing.assert_array_equal(strata.within["emu"].scores, alone.scores)
    assert np.nanmean(strata.pooled.scores[50:60]) > 2 * np.nanmean(strata.pooled.scores[:50])
    with pytest.raises(ValueError, match="there are 2 generated strata for 63 features"):
        rarity_by_stratum(real, generated, labels, ["cat", "emu"])


def test_strata_of_reals_alone_and_of_copies_are_named():
    real = np.concatenate([clusters(20, 3, 2), np.ones((6, 3))])
    left_out = rarity_by_stratum(real, np.ones((4, 3)), ["a"] * 20 + ["b"] * 6, ["b"] * 4).left_out
    assert left_out["a"] == "has 20 reals and no generated one"
    assert left_out["b"].startswith("all 6 radii are 0")


def test_histogram_counts_everything_once(oracles):
    found = rarity_score(oracles["real"], oracles["fake"])
    spread = histogram(found, bins=12)
    assert spread.real.sum() == 500
    assert spread.generated.sum() + spread.num_outside == 400
    assert len(spread.edges) == 13
    assert spread.shift is not None
    assert spread.shift < 0  # the smallest of several radii is below the mean one
    with pytest.raises(ValueError, match="bins is 0"):
        histogram(found, bins=0)
    nothing = Rarity(scores=np.full(3, np.nan), radii=np.arange(4.0), k=1, features="none")
    assert histogram(nothing).shift is None


class Generator(torch.nn.Module):
    """A fixed decoder of an 8-dimensional normal latent: nonlinear, smooth, and wider than the latent."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 64), torch.nn.Tanh(),
            torch.nn.Linear(64, 32),
        )  # fmt: skip

    @torch.no_grad()
    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.layers(latents)


def test_truncation_lowers_rarity():
    decode = Generator()
    noise = torch.Generator().manual_seed(1)
    real, latents = decode(torch.randn(1500, 8, generator=noise)), torch.randn(600, 8, generator=noise)
    found = truncation_test(lambda psi: decode(psi * latents), real, psis=(0.4, 1.0, 0.7))
    assert found.psis == (1.0, 0.7, 0.4)
    assert found.lowers_rarity
    assert found.summaries[-1].in_manifold > found.summaries[0].in_manifold
    grown = truncation_test(lambda psi: decode(latents / psi), real, psis=(0.5, 1.0))
    assert not grown.lowers_rarity
    nowhere = truncation_test(lambda psi: decode(latents) + 1e3, real, psis=(0.5, 1.0))
    assert not nowhere.lowers_rarity
    with pytest.raises(ValueError, match="expected two or more different numbers above 0"):
        truncation_test(lambda psi: real, real, psis=(1.0, 1.0))


def test_the_more_diverse_set_has_larger_radii_and_is_covered_less():
    rng = np.random.default_rng(3)
    narrow, wide = rng.normal(size=(300, 5)) * 0.5, rng.normal(size=(400, 5))
    found = compare_sets(wide, narrow)
    assert found.num == 300
    assert found.radius[0] > 1.5 * found.radius[1]
    assert found.second_in_first.precision > 0.95
    assert found.first_in_second.precision < 0.7
    again = compare_sets(wide, narrow)
    np.testing.assert_array_equal(found.second_in_first.rarity, again.second_in_first.rarity)
    with pytest.raises(ValueError, match="width 5, generated ones 4"):
        compare_sets(wide, narrow[:, :4])


def test_outliers_come_first():
    rows = np.random.default_rng(4).normal(size=(200, 6))
    rows[[17, 80]] += [[30], [-50]]
    order = outlier_order(rows)
    assert order.index[:2].tolist() == [80, 17]
    assert (np.diff(order.radii) <= 0).all()
    assert 2 <= order.beyond() < 30
