"""Guidance formulas, what they ask the network for, and reconstruction guidance."""

import math

import pytest
import torch
from diffusers import DDIMScheduler
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

from unicon.sampling.guidance import (
    CONDITIONED,
    SEPARATE,
    UNCONDITIONED,
    UNLIKE,
    Guidance,
    reconstruct,
    rescale_deviation,
)
from unicon.sampling.levels import Schedule, clean_estimate, noise_estimate, spread
from unicon.sampling.plans import Known

SCHEDULE = Schedule.from_scheduler(
    DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
)
LEVELS = SCHEDULE.at_timestep([900, 300])
SHAPE = (2, 3, 4, 5, 5)  # branch, sample, C, H, W


def randn(seed, *lead):
    return torch.randn(*lead, *SHAPE, generator=torch.Generator().manual_seed(seed)).double()


def test_it_asks_for_what_it_needs_and_no_more():
    assert Guidance().variants == (CONDITIONED,)
    assert Guidance(text=7.5).variants == (UNCONDITIONED, CONDITIONED)
    assert Guidance(text=(1.0, 1.0)).variants == (CONDITIONED,)
    assert Guidance(condition=(0.0, 2.0)).variants == (CONDITIONED, SEPARATE)
    assert Guidance(text=7.5, condition=2.0).variants == (UNCONDITIONED, CONDITIONED, SEPARATE)


def test_scales_of_text_and_likeness_each_move_along_their_own_difference():
    guidance = Guidance(text=3.0, like=(5.0, 1.0))
    assert guidance.variants == (UNCONDITIONED, CONDITIONED, UNLIKE)
    uncond, both, unlike = randn(1, 3)
    guided = guidance.combine(torch.stack([uncond, both, unlike]))
    expected = both + 2 * (both - uncond)
    torch.testing.assert_close(guided[1], expected[1])
    torch.testing.assert_close(guided[0], expected[0] + 4 * (both - unlike)[0])


def test_the_published_formula_in_noise_is_ours_in_clean_estimates():
    x, (uncond, text, separate) = randn(0), randn(1, 3)
    s, s_c = torch.tensor([7.5, 3.0]).double(), torch.tensor([2.0, 1.0]).double()
    published = uncond + spread(s, x) * (text - uncond) + spread(s_c, x) * (text - separate)
    estimates = torch.stack([clean_estimate(eps, x, LEVELS, "epsilon") for eps in (uncond, text, separate)])
    clean = Guidance(text=(7.5, 3.0), condition=(2.0, 1.0)).combine(estimates)
    torch.testing.assert_close(noise_estimate(x, clean, LEVELS), published, atol=1e-9, rtol=1e-9)


def test_condition_guidance_without_text_guidance():
    text, separate = randn(1, 2)
    torch.testing.assert_close(
        Guidance(condition=2.0).combine(torch.stack([text, separate])), text + 2 * (text - separate)
    )


def test_a_branch_with_scale_one_is_not_guided():
    estimates = randn(1, 2)
    guided = Guidance(text=(7.5, 1.0)).combine(estimates)
    assert torch.equal(guided[1], estimates[1, 1])
    assert not torch.equal(guided[0], estimates[1, 0])


@pytest.mark.parametrize(
    "reach, variants", [(200, (CONDITIONED,)), (300, (UNCONDITIONED, CONDITIONED, UNLIKE))]
)
def test_beyond_its_levels_a_branch_is_not_guided(reach, variants):
    highest = float(SCHEDULE.at_timestep([reach]).log_snr)
    free = Guidance(text=3.0, like=(2.0, 1.5))
    some = Guidance(text=3.0, like=(2.0, 1.5), log_snr=(highest - 1e-6, math.inf))
    answers, asked = dict(zip(free.variants, randn(1, 3), strict=True)), []

    def evaluate(x, levels, wanted):
        asked.append(tuple(wanted))
        return torch.stack([answers[variant] for variant in wanted])

    x = randn(0)
    guided, plain = (each(evaluate)(x, LEVELS) for each in (some, Guidance()))
    assert asked[0] == variants
    assert torch.equal(guided[0], plain[0])
    expected = free(evaluate)(x, LEVELS)[1] if reach == 300 else plain[1]
    assert torch.equal(guided[1], expected)


def test_a_branch_that_is_clean_already_is_not_guided():
    levels = SCHEDULE.at_log_snr([-1.0, math.inf])
    asked = []

    def evaluate(x, levels, wanted):
        asked.append(tuple(wanted))
        return torch.stack([x for _ in wanted])

    Guidance(text=(1.0, 3.0), condition=(0.0, 2.0))(evaluate)(randn(0), levels)
    assert asked == [(CONDITIONED,)]


def test_rescale():
    guided, prompted = randn(1, 2)
    guided = 3 * guided
    full = rescale_deviation(guided, prompted, 1.0)
    torch.testing.assert_close(full.std((2, 3, 4)), prompted.std((2, 3, 4)))
    theirs = rescale_noise_cfg(guided[0], prompted[0], guidance_rescale=0.7)
    torch.testing.assert_close(rescale_deviation(guided, prompted, 0.7)[0], theirs)
    pair = torch.stack([randn(2), prompted])
    plain, rescaled = (Guidance(text=5.0, rescale=phi).combine(pair) for phi in (0.0, 0.7))
    torch.testing.assert_close(rescaled, rescale_deviation(plain, prompted, 0.7))


def test_one_call_per_step():
    calls = []

    def evaluate(x, levels, variants):
        calls.append(variants)
        return torch.stack([x * (i + 1) for i in range(len(variants))])

    x = randn(0)
    out = Guidance(text=2.0, condition=1.0)(evaluate)(x, LEVELS)
    torch.testing.assert_close(out, x + 2 * x - 1 * x)  # 1 + 2 (2 - 1) + 1 (2 - 3) = 2
    assert calls == [(UNCONDITIONED, CONDITIONED, SEPARATE)]


def test_bad_scales():
    with pytest.raises(ValueError, match="got 3 guidance scales for 2 branches"):
        Guidance(text=(1.0, 2.0, 3.0)).combine(randn(1, 2))
    with pytest.raises(ValueError, match="guidance rescale must be from 0 to 1, got 2"):
        Guidance(rescale=2)


def gaussian_denoiser(x, levels):
    """Two branches, white in space, correlated 0.9 with each other."""
    joint = torch.tensor([[1.0, 0.9], [0.9, 1.0]]).double()
    mix, noise = torch.diag(levels.alpha), torch.diag(levels.sigma.square())
    gain = joint @ mix @ torch.linalg.inv(mix @ joint @ mix + noise)
    return torch.einsum("ab,b...->a...", gain, x)


def test_reconstruction_pulls_the_other_branch_towards_the_known_one():
    x, target = randn(0), 2 + torch.zeros(SHAPE[1:]).double()
    mask = torch.zeros(1, 1, 5, 5).double()
    mask[..., 2:] = 1  # the left two columns of branch 1 are known
    plain = gaussian_denoiser(x, LEVELS)
    with torch.no_grad():
        pulled = reconstruct(gaussian_denoiser, {1: Known(clean=target, mask=mask, weight=0.5)})(x, LEVELS)
    assert torch.equal(pulled[1, ..., :2], target[..., :2])
    torch.testing.assert_close(pulled[..., 2:], plain[..., 2:])  # no link across space in this law
    gap = plain[1, ..., :2] - target[..., :2]
    moved = (pulled - plain)[0, ..., :2]
    assert bool((moved * gap <= 0).all())
    assert moved.abs().min() > 0
    assert not pulled.requires_grad


def test_reconstruction_follows_its_equation():
    """clean - weight * alpha / 2 * gradient, with the gradient written out for a linear denoiser."""
    x, target = randn(0), torch.ones(SHAPE[1:]).double()
    known = Known(clean=target, mask=torch.zeros(5, 5).double(), weight=0.5)
    got = reconstruct(gaussian_denoiser, {1: known})(x, LEVELS)[0]
    weights = gaussian_denoiser(torch.eye(2).double()[:, :, None, None, None].expand(2, 2, 4, 5, 5), LEVELS)
    slope = 2 * (gaussian_denoiser(x, LEVELS)[1] - target) * weights[1, 0, 0, 0, 0]
    expected = gaussian_denoiser(x, LEVELS)[0] - 0.5 * LEVELS.alpha[0] / 2 * slope
    torch.testing.assert_close(got, expected)
