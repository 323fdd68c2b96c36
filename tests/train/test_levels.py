"""Is every law of noise levels cut off at the ends of a schedule, and never squeezed into it?"""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler

from train.levels import LAWS, parse_law
from unicon.sampling.levels import Schedule

SD15 = Schedule.from_scheduler(
    DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
)
MINI = Schedule.from_scheduler(
    DDPMScheduler(
        beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True, prediction_type="v_prediction"
    )
)
FLOW = Schedule.from_scheduler(FlowMatchEulerDiscreteScheduler())
SCHEDULES = pytest.mark.parametrize("schedule", [SD15, MINI, FLOW], ids=["sd15", "mini", "flow"])


@SCHEDULES
@pytest.mark.parametrize("name", LAWS)
def test_every_law_is_a_distribution_over_the_schedule(name, schedule):
    table = parse_law(name)(schedule)
    assert table.cumulative[0] == 0
    assert table.cumulative[-1] == pytest.approx(1)
    assert (table.mass >= 0).all()
    assert len(table.cumulative) == schedule.last_timestep + 1
    drawn = table.timesteps(torch.linspace(0, 1 - 1e-9, 1001))
    assert (drawn.diff() >= 0).all()
    assert 0 <= drawn.min() <= drawn.max() <= schedule.last_timestep


@pytest.mark.parametrize(
    ("law", "mean", "late", "peak"),
    [
        # Expected timestep, mass at 900 and above, and the largest mass over the uniform one: the truncated
        # normal on Stable Diffusion 1.5's schedule, worked out apart from this code.
        ("normal(-6, 2)", 866, 0.497, 6.1),
        ("normal(-6, 3)", 772, 0.332, 3.8),
        ("style_friendly", 808, 0.342, 3.5),
        ("normal(-4, 2)", 772, 0.273, 2.8),
        ("logit_normal(0, 1, 3)", 623, 0.103, 1.7),
    ],
)
def test_the_jacobian_is_in_it(law, mean, late, peak):
    table = parse_law(law)(SD15)
    middles = torch.arange(SD15.last_timestep) + 0.5
    assert float((table.mass * middles).sum()) == pytest.approx(mean, abs=1.5)
    assert float(table.mass[900:].sum()) == pytest.approx(late, abs=0.004)
    assert float(table.mass.max() * len(table.mass)) == pytest.approx(peak, abs=0.1)


@SCHEDULES
def test_draws_follow_the_law_in_log_snr(schedule):
    """Inside the schedule the share of draws below a log-SNR is the truncated normal's."""
    drawn = parse_law("normal(-1, 2)")(schedule).timesteps(torch.rand(40_000, generator=torch.Generator()))
    log_snr = schedule.at_timestep(drawn).log_snr
    ends = schedule.at_timestep([schedule.last_timestep, 0]).log_snr
    low, high = torch.special.ndtr((ends + 1) / 2)
    for value in (-4.0, -2.0, 0.0, 2.0):
        expected = (torch.special.ndtr(torch.tensor((value + 1) / 2)) - low) / (high - low)
        assert float((log_snr < value).double().mean()) == pytest.approx(float(expected), abs=0.01)


@SCHEDULES
def test_laplace_is_torchs(schedule):
    log_snr = schedule.at_timestep(torch.arange(schedule.last_timestep + 1)).log_snr
    below = torch.distributions.Laplace(torch.tensor(-2.0).double(), 1.5, validate_args=False).cdf(log_snr)
    below = torch.where(log_snr == -math.inf, 0.0, torch.where(log_snr == math.inf, 1.0, below))
    table = parse_law("laplace(-2, 1.5)")(schedule)
    expected = (below[0] - below) / (below[0] - below[-1])
    torch.testing.assert_close(table.cumulative, expected, atol=1e-9, rtol=0)
    assert table.on_schedule == pytest.approx(float(below[0] - below[-1]))


@pytest.mark.parametrize("scale", [1.29, -0.8])
def test_mode_is_its_own_sampler(scale):
    """Esser et al. 2024, eq. 20, drawn from uniform numbers; in flow matching the share is the time."""
    u = (torch.arange(200_000) + 0.5).double() / 200_000
    share = 1 - u - scale * ((math.pi / 2 * u).cos() ** 2 - 1 + u)
    cumulative = parse_law(f"mode({scale})")(FLOW).cumulative
    for t in (50, 200, 500, 700, 950):
        assert float(cumulative[t]) == pytest.approx(float((share <= t / 1000).double().mean()), abs=1e-4)


def test_style_friendly_is_the_papers_in_flow_matching_and_moved_on_others():
    same = [("style_friendly", "normal(-6, 2)", FLOW), ("style_friendly", "normal(-4.6, 2)", SD15)]
    same += [("style_friendly(-6, 3)", "normal(-6, 3)", SD15), ("style_friendly(0)", "normal(0, 2)", FLOW)]
    for a, b, schedule in same:
        assert torch.equal(parse_law(a)(schedule).cumulative, parse_law(b)(schedule).cumulative)
    assert parse_law("style_friendly(-6)")(SD15).on_schedule == pytest.approx(0.375, abs=0.002)


def test_the_same_law_under_other_names():
    for a, b in [
        ("logit_normal(-3, 1)", "normal(6, 2)"),  # the trap: its mean has the other sign
        ("logit_normal(0, 1, 20.085536923)", "normal(-6, 2)"),
        ("edm", "normal(2.4, 2.4)"),
        ("beta", "uniform"),
        ("between(0, 1)", "uniform"),
        ("mode(0)", "between(0, 1)"),  # on a flow schedule the share is the time
    ]:
        tables = [parse_law(law)(FLOW).cumulative for law in (a, b)]
        torch.testing.assert_close(*tables, atol=1e-5, rtol=0)
    assert torch.allclose(parse_law("beta(2, 1)")(SD15).cumulative, (torch.arange(1000) / 999).double() ** 2)


def test_mixtures_keep_their_weights():
    table = parse_law("0.8 style_friendly + 0.2 uniform")(SD15)
    again = parse_law("0.8*style_friendly + 0.2 * uniform")(SD15)
    assert torch.equal(table.cumulative, again.cumulative)
    assert torch.equal(
        parse_law("normal(-2, +2)")(SD15).cumulative, parse_law("normal(-2, 2)")(SD15).cumulative
    )
    parts = [parse_law(law)(SD15).cumulative for law in ("style_friendly", "uniform")]
    assert torch.allclose(table.cumulative, 0.8 * parts[0] + 0.2 * parts[1])
    assert torch.allclose(parse_law("4 style_friendly + 1 uniform")(SD15).cumulative, table.cumulative)


def test_cubic_and_between():
    u = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(parse_law("cubic")(SD15).timesteps(u), 999 * (1 - (1 - u.double()) ** 3), atol=1.0)
    drawn = parse_law("between(0.2, 0.5)")(SD15).timesteps(u)
    assert drawn.min() >= 199
    assert drawn.max() <= 500


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unifrom", "there is no law 'unifrom'; did you mean uniform?"),
        ("xyz", "there is no law 'xyz'; known: uniform, between"),
        ("normal(1, 2, 3)", r"expected normal\(mean, deviation\)"),
        ("normal(a)", r"could not convert .* expected normal\(mean, deviation\)"),
        ("normal(0, 0)", "deviation must be above 0, got 0"),
        ("between(0.5, 0.2)", "low and high must rise"),
        ("mode(3)", "scale must lie in"),
        ("normal(0", "expected a name such as uniform"),
        ("0 uniform + 0 cubic", "weights of a mixture must add up to more than 0"),
    ],
)
def test_texts_that_are_no_law(text, message):
    with pytest.raises(ValueError, match=message):
        parse_law(text)


def test_a_law_far_off_the_schedule_is_refused():
    with pytest.raises(
        ValueError, match=r"'normal\(-20, 1\)': 0.00% of it lies on this schedule, whose log-SNR"
    ):
        parse_law("normal(-20, 1)")(SD15)
    assert math.isclose(parse_law("normal(-20, 1)")(MINI).cumulative[-1], 1)  # zero terminal SNR reaches it


@pytest.mark.parametrize("text", ["between(0, 0.6)", "normal(7, 0.8)", "uniform"])
def test_a_stratum_that_is_rounded_up_to_1_is_a_level(text):
    table = parse_law(text)(MINI)
    found = table.timesteps(torch.tensor([0.0, (15 + 0.9999999) / 16, 1.0]))
    assert found.isfinite().all()
    assert (found.diff() >= 0).all()
