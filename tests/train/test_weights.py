"""Does a loss weight mean the same on every network, and is one that undoes the levels refused?"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from tests.train.test_levels import FLOW, MINI, SD15
from train.levels import parse_law
from train.weights import WEIGHTS, Weighting, _median, parse_weight
from unicon.sampling.levels import Schedule, add_noise, clean_estimate, network_target


def counts(schedule: Schedule, text: str, timesteps: torch.Tensor) -> torch.Tensor:
    """Without the scaling to a mean of 1."""
    return Weighting(parse_weight(text), schedule.prediction, 1.0)(schedule.at_timestep(timesteps))


def sd15(prediction) -> Schedule:
    return dataclasses.replace(SD15, prediction=prediction)


SOME = torch.tensor([0.0, 10.0, 300.0, 500.0, 900.0, 999.0])
SNR = SD15.at_timestep(SOME).log_snr.exp()


@pytest.mark.parametrize(
    ("text", "prediction", "published"),
    [
        ("min_snr(5)", "epsilon", SNR.clamp(max=5) / SNR),
        ("min_snr(5)", "v_prediction", SNR.clamp(max=5) / (SNR + 1)),
        ("min_snr(5)", "sample", SNR.clamp(max=5)),
        ("soft_min_snr(1)", "v_prediction", SNR / (SNR + 1) ** 2),
        ("debiased", "epsilon", SNR.clamp(max=1000) ** -0.5),
        ("p2", "epsilon", 1 / (1 + SNR)),
        ("p2(0.5)", "epsilon", (1 + SNR) ** -0.5),
        ("flow(1e9)", "epsilon", (1 + SNR**-0.5) ** 2),
        ("flow(4)", "epsilon", ((1 + SNR**-0.5) ** 2).clamp(max=4)),
        ("plain", "epsilon", torch.ones(6)),
    ],
)
def test_published_weights_come_out(text, prediction, published):
    torch.testing.assert_close(counts(sd15(prediction), text, SOME), published.double(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("text", WEIGHTS)
def test_one_estimate_costs_the_same_whatever_the_network_says(text):
    """The same error of the clean estimate, told as epsilon, v or sample, has the same weighted loss."""
    generator = torch.Generator().manual_seed(0)
    clean, noise, guess = torch.randn(3, 6, 8, generator=generator).double()
    losses = []
    for prediction in ("epsilon", "v_prediction", "sample"):
        schedule = sd15(prediction)
        levels = schedule.at_timestep(SOME)
        x = add_noise(clean, noise, levels)
        guessed_noise = (x - levels.alpha[:, None] * guess) / levels.sigma[:, None]
        out = network_target(guess, guessed_noise, levels, prediction)
        torch.testing.assert_close(clean_estimate(out, x, levels, prediction), guess)
        error = (out - network_target(clean, noise, levels, prediction)).square().mean(dim=1)
        losses.append(counts(schedule, text, SOME) * error)
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])


def test_flow_weights_change_nothing_in_flow_matching():
    inner = torch.tensor([1.0, 250.0, 500.0, 900.0])
    torch.testing.assert_close(counts(FLOW, "flow(1e9)", inner), torch.ones(4).double())


@pytest.mark.parametrize("schedule", [SD15, MINI, FLOW], ids=["sd15", "mini", "flow"])
@pytest.mark.parametrize("text", WEIGHTS)
def test_weights_are_finite_with_mean_one_and_clean_has_none(text, schedule):
    table = parse_law("uniform")(schedule)
    weighting = Weighting.on(schedule, text, "uniform", table)
    levels = schedule.at_timestep(torch.arange(schedule.last_timestep) + 0.5)
    assert float((weighting(levels) * table.mass).sum()) == pytest.approx(1)
    ends = schedule.at_timestep([0.0, schedule.last_timestep])
    assert torch.isfinite(weighting(ends)[1:]).all()
    assert (weighting(schedule.clean(3)) == 1).all()


def test_the_middle_is_where_half_of_the_mass_lies():
    places = torch.tensor([3.0, 1.0, -1.0, -4.0])
    assert _median(places, torch.tensor([1.0, 3.5, 1.0, 4.0])) == -1
    assert _median(places, torch.tensor([0.2, 0.4, 0.2, 0.2])) == 1
    assert _median(places, torch.tensor([0.0, 0.0, 1.0, 9.0])) == -4


def on(schedule: Schedule, text: str, law: str) -> Weighting:
    return Weighting.on(schedule, text, law, parse_law(law)(schedule))


def test_what_undoes_a_law_is_refused_and_what_exaggerates_it_warned_about():
    with pytest.raises(ValueError, match=r"'min_snr' on a v_prediction network with levels 'style_friendly'"):
        on(sd15("v_prediction"), "min_snr", "style_friendly")
    with pytest.raises(ValueError, match="undoes the law"):
        on(MINI, "min_snr(5)", "0.8 style_friendly + 0.2 uniform")
    with pytest.warns(UserWarning, match="exaggerates the law"):
        on(SD15, "debiased", "style_friendly")
    for schedule, text, law in [
        (SD15, "min_snr", "style_friendly"),  # an epsilon error counts 1 up to an SNR of 5
        (sd15("v_prediction"), "min_snr", "uniform"),
        (sd15("v_prediction"), "plain", "style_friendly"),
    ]:
        on(schedule, text, law)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min-snr", "expected a name such as plain or min_snr"),
        ("minsnr", "did you mean min_snr"),
        ("min_snr(-1)", "gamma must be above 0, got -1"),
        ("debiased(3)", "debiased"),
    ],
)
def test_what_is_no_weight_says_so(text, message):
    with pytest.raises(ValueError, match=message):
        parse_weight(text)
