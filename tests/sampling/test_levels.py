"""Levels and the one place that converts between network output, clean estimate and noise."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

from unicon.sampling.levels import (
    CLEAN,
    Schedule,
    add_noise,
    clean_estimate,
    network_target,
    noise_estimate,
    spread,
)

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def make(prediction="v_prediction", zero_snr=False, betas=SD):
    return Schedule.from_scheduler(
        DDIMScheduler(**betas, prediction_type=prediction, rescale_betas_zero_snr=zero_snr)
    )


@pytest.mark.parametrize("betas", [SD, {"beta_schedule": "linear"}, {"beta_schedule": "squaredcos_cap_v2"}])
@pytest.mark.parametrize("zero_snr", [False, True])
def test_levels_are_the_schedulers(betas, zero_snr):
    scheduler = DDIMScheduler(**betas, prediction_type="v_prediction", rescale_betas_zero_snr=zero_snr)
    levels = Schedule.from_scheduler(scheduler).at_timestep(torch.arange(1000))
    # diffusers multiplies a thousand float32 factors; ours are float64
    torch.testing.assert_close(levels.alpha.square().float(), scheduler.alphas_cumprod, atol=2e-5, rtol=0)
    torch.testing.assert_close(levels.alpha.square() + levels.sigma.square(), torch.ones(1000).double())


def test_log_snr_of_stable_diffusion():
    high, low = make().at_timestep([0, 999]).log_snr.tolist()
    assert high == pytest.approx(7.07, abs=0.005)
    assert low == pytest.approx(-5.364, abs=0.005)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_log_snr_inverts(zero_snr):
    schedule = make(zero_snr=zero_snr)
    t = torch.tensor([[0.0, 0.25, 500.5], [3.0, 998.0, 999.0]])
    there = schedule.at_timestep(t)
    back = schedule.at_log_snr(there.log_snr)
    torch.testing.assert_close(back.timestep, t.double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(back.alpha, there.alpha)


def test_zero_terminal_snr_is_exact():
    level = make(zero_snr=True).at_timestep(999)
    assert (level.alpha.item(), level.sigma.item(), level.log_snr.item()) == (0.0, 1.0, -math.inf)


def test_clean_is_not_timestep_zero():
    schedule = make()
    clean, zero = schedule.at_log_snr(CLEAN), schedule.at_timestep(0)
    assert (clean.alpha.item(), clean.sigma.item(), clean.timestep.item()) == (1.0, 0.0, 0.0)
    assert clean.is_clean
    assert clean.log_snr.item() == CLEAN
    assert zero.sigma.item() == pytest.approx(0.029, abs=5e-4)
    assert not zero.is_clean
    mixed = schedule.at_timestep([400, 400]).clean_where(torch.tensor([False, True]))
    assert mixed.timestep.tolist() == [400, 0]
    assert mixed.sigma[1] == 0


def test_flow_matching_levels():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    schedule = Schedule.from_scheduler(scheduler)
    levels = schedule.at_timestep(scheduler.timesteps)
    torch.testing.assert_close(levels.sigma.float(), scheduler.sigmas)
    torch.testing.assert_close(levels.alpha + levels.sigma, torch.ones(1000).double())
    assert schedule.zero_terminal_snr
    assert schedule.at_timestep(0).is_clean


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow_prediction"])
def test_conversions_round_trip(prediction):
    if prediction == "flow_prediction":
        schedule = Schedule.from_scheduler(FlowMatchEulerDiscreteScheduler())
    else:
        schedule = make(prediction, zero_snr=prediction == "v_prediction")
    levels = schedule.at_timestep([[1, 500, 900], [10, schedule.last_timestep, 999]][:2])
    clean, noise = torch.randn(2, 2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    x = add_noise(clean, noise, levels)
    output = network_target(clean, noise, levels, prediction)
    torch.testing.assert_close(clean_estimate(output, x, levels, prediction), clean, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(noise_estimate(x, clean, levels), noise, atol=1e-12, rtol=1e-12)


def test_clean_latents_pass_bitwise():
    levels = make().clean(2, 3)
    clean, noise = torch.randn(2, 2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(add_noise(clean, noise, levels), clean)
    assert torch.equal(clean_estimate(noise, clean, levels, "v_prediction"), clean)
    assert torch.equal(noise_estimate(clean, clean, levels), torch.zeros_like(clean))


def test_levels_broadcast_per_branch_and_per_sample():
    schedule, x = make(), torch.ones(2, 3, 4, 5, 5)
    per_branch, per_sample = schedule.at_timestep([0, 999]), schedule.at_timestep([[0, 1, 2], [3, 4, 5]])
    assert spread(per_branch.alpha, x).shape == (2, 1, 1, 1, 1)
    assert spread(per_sample.alpha, x).shape == (2, 3, 1, 1, 1)
    assert spread(per_branch.alpha, x).dtype == x.dtype
    assert per_branch.to(dtype=torch.float32).alpha.dtype == torch.float32
    assert per_sample[1].timestep.tolist() == [3, 4, 5]


def test_half_precision_output_does_not_narrow_x():
    levels = make().at_timestep([500])
    assert (
        clean_estimate(torch.ones(1, 1, 2).half(), torch.ones(1, 1, 2), levels, "epsilon").dtype
        == torch.float32
    )


def test_a_config_and_its_json_are_the_same_schedule():
    scheduler = EulerDiscreteScheduler(**SD)
    for other in (scheduler.config, dict(scheduler.config)):
        assert torch.equal(
            Schedule.from_scheduler(other).noise_share, Schedule.from_scheduler(scheduler).noise_share
        )


def test_trained_betas():
    betas = torch.linspace(1e-4, 0.02, 10).tolist()
    assert (
        Schedule.from_scheduler(DDIMScheduler(num_train_timesteps=10, trained_betas=betas)).last_timestep == 9
    )


def test_epsilon_at_zero_terminal_snr_is_refused():
    with pytest.raises(ValueError, match="'epsilon' with zero terminal SNR.*v_prediction"):
        make("epsilon", zero_snr=True)


def test_outside_the_schedule_is_refused():
    schedule = make()
    with pytest.raises(ValueError, match="timestep 1000.0 is outside this schedule's 0 to 999"):
        schedule.at_timestep([5, 1000])
    with pytest.raises(ValueError, match="log-SNR -6.0 is outside this schedule's -5.364 to 7.069"):
        schedule.at_log_snr(-6.0)
    with pytest.raises(ValueError, match="timestep nan"):
        schedule.at_timestep(math.nan)


def test_unknown_schedules_are_refused():
    with pytest.raises(ValueError, match="beta_schedule 'exp' is unknown; known: linear"):
        Schedule.from_scheduler({"_class_name": "HeunDiscreteScheduler", "beta_schedule": "exp"})
    with pytest.raises(ValueError, match="prediction_type 'score' is unknown; known: epsilon"):
        Schedule.from_scheduler({"prediction_type": "score"})
    with pytest.raises(ValueError, match="a int is no diffusers scheduler"):
        Schedule.from_scheduler(3)
    with pytest.raises(ValueError, match="'flow_prediction' does not belong to a 'vp' schedule"):
        Schedule.from_scheduler({"prediction_type": "flow_prediction"})
    with pytest.raises(ValueError, match="gets noisier with every timestep"):
        Schedule.from_scheduler({"trained_betas": [0.1, 0.0, 0.1]})


def test_levels_on_a_device_are_decided_about_on_the_host():
    schedule = Schedule.from_scheduler(DDIMScheduler())
    levels = schedule.at_timestep(torch.tensor([0.0, 500.0])).clean_where(torch.tensor([True, False]))
    moved = levels.to("meta", torch.float32).to("meta")[1:]
    assert moved.alpha.is_meta
    assert moved.on_host.is_clean.tolist() == [False]
    assert moved.on_host.log_snr.tolist() == levels.log_snr[1:].tolist()
    assert levels.on_host is levels
