"""The timesteps a run visits, against diffusers where that is right."""

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
)

from unicon.sampling.grids import Spacing, grid_from_sigmas, grid_from_timesteps, steps_for_noise
from unicon.sampling.levels import Schedule
from unicon.sampling.solvers import solver_from_scheduler

# diffusers hands its tensors to numpy in a way that numpy 2 deprecates
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULE = Schedule.from_scheduler(DDIMScheduler(**SD))
ZERO_SNR = Schedule.from_scheduler(
    DDIMScheduler(**SD, prediction_type="v_prediction", rescale_betas_zero_snr=True)
)


@pytest.mark.parametrize("name, offset", [("trailing", 0), ("leading", 1), ("linspace", 0)])
@pytest.mark.parametrize("num_steps", [1, 2, 10, 20, 50, 999])
def test_spacings_of_ddim(name, offset, num_steps):
    scheduler = DDIMScheduler(**SD, timestep_spacing=name, steps_offset=offset)
    scheduler.set_timesteps(num_steps)
    theirs = scheduler.timesteps.numpy()
    ours = np.array(Spacing(name=name, steps_offset=offset).grid(SCHEDULE, num_steps).timesteps)
    if (name, num_steps) == ("linspace", 1):
        theirs = np.array([999])  # diffusers would start a single step at timestep 0
    np.testing.assert_array_equal(np.round(ours), theirs)


@pytest.mark.parametrize("spacing", ["trailing", "karras"])
@pytest.mark.parametrize("interval, first", [((0, 0.6), 4), ((0.2, 0.6), 4), ((0.3, 1), 0)])
def test_levels_between_two_noises(spacing, interval, first):
    grid = Spacing(name=spacing).grid(SCHEDULE, 10)
    low, high = grid.log_snr_between(*interval)
    levels = grid.at(torch.arange(10)).log_snr.float().tolist()
    inside = [n for n, level in enumerate(levels) if low <= level <= high]
    noises = [n for n in range(10) if interval[0] - 1e-9 <= 1 - n / 10 <= interval[1] + 1e-9]
    assert inside == noises
    assert inside[0] == first
    assert grid.log_snr_between(0, 1) == (-float("inf"), float("inf"))


def test_trailing_has_as_many_steps_as_asked_for():
    for num_steps in range(1, 1000):
        timesteps = Spacing().grid(SCHEDULE, num_steps).timesteps
        assert len(timesteps) == num_steps
        assert timesteps[0] == 999
        assert timesteps[-1] >= 0


def test_diffusers_counts_one_timestep_too_many_where_we_do_not():
    scheduler = DDIMScheduler(**SD, timestep_spacing="trailing")
    scheduler.set_timesteps(61)
    assert scheduler.timesteps[-1] == -1  # delete this test when diffusers is fixed
    assert scheduler.timesteps[:-1].tolist() == list(Spacing().grid(SCHEDULE, 61).timesteps)


def test_karras_and_log_snr_spacing():
    for name, option in (("karras", "use_karras_sigmas"), ("log_snr", "use_exponential_sigmas")):
        scheduler = EulerDiscreteScheduler(**SD, **{option: True})
        scheduler.set_timesteps(9)
        levels = Spacing(name=name).grid(SCHEDULE, 9).at(range(9))
        torch.testing.assert_close(
            (levels.sigma / levels.alpha).float(), scheduler.sigmas[:-1], rtol=1e-4, atol=0
        )
        torch.testing.assert_close(levels.timestep.float(), scheduler.timesteps, rtol=0, atol=0.2)


@pytest.mark.parametrize("named", ["linspace", "leading", "trailing"])
def test_eulers_karras_spacing_ends_where_its_timesteps_do(named):
    scheduler = EulerDiscreteScheduler(**SD, use_karras_sigmas=True, timestep_spacing=named, steps_offset=1)
    scheduler.set_timesteps(9)
    levels = solver_from_scheduler(scheduler)[1].grid(SCHEDULE, 9).at(range(9))
    torch.testing.assert_close(
        (levels.sigma / levels.alpha).float(), scheduler.sigmas[:-1], rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("num_steps", [1, 4, 8, 50])
def test_lcm_spacing(num_steps):
    scheduler = LCMScheduler()
    scheduler.set_timesteps(num_steps)
    assert Spacing(name="lcm").grid(SCHEDULE, num_steps).timesteps == tuple(scheduler.timesteps.tolist())


def test_flow_matching_with_a_shift():
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / 8, 8).tolist())
    grid = Spacing(shift=3.0).grid(Schedule.from_scheduler(scheduler), 8)
    torch.testing.assert_close(grid.at(range(9)).sigma.float(), scheduler.sigmas)
    torch.testing.assert_close(grid.at(range(8)).timestep.float(), scheduler.timesteps)


def test_a_grid_ends_at_clean_and_interpolates():
    grid = Spacing().grid(ZERO_SNR, 4)
    levels = grid.at([0, 0.5, 3, 3.5, 3.999, 4])
    assert levels.timestep.tolist() == pytest.approx([999, 874, 249, 124, 0, 0], abs=1)
    assert levels.alpha[0] == 0
    assert levels.is_clean.tolist() == [False] * 5 + [True]
    assert bool((levels.log_snr.diff() > 0).all())


def test_custom_timesteps_and_sigmas():
    grid = grid_from_timesteps(SCHEDULE, torch.tensor([900, 400, 20]))
    level = grid.at([0, 1, 2])
    again = grid_from_sigmas(SCHEDULE, (level.sigma / level.alpha).tolist())
    assert again.timesteps == pytest.approx((900, 400, 20))
    other_end = grid_from_timesteps(SCHEDULE, [900, 400], final=0)
    assert not other_end.at(2).is_clean


@pytest.mark.parametrize("noise, steps", [(0, 0), (0.01, 1), (0.5, 10), (0.7, 14), (0.72, 14), (1, 20)])
def test_steps_of_a_noise_fraction(noise, steps):
    assert steps_for_noise(noise, 20) == steps
    assert steps_for_noise(1 - (1 - noise), 20) == steps


def test_the_last_bits_of_a_fraction_do_not_decide():
    """Exactly half a step is a whole one, also where the fraction was worked out."""
    for noise, num_steps, steps in ((0.1, 5, 1), (0.1, 15, 2), (0.22, 25, 6), (0.21, 50, 11)):
        assert 1 - (1 - noise) < noise
        assert steps_for_noise(noise, num_steps) == steps_for_noise(1 - (1 - noise), num_steps) == steps


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_noise_is_a_fraction(noise):
    with pytest.raises(ValueError, match="noise is a fraction of the grid"):
        steps_for_noise(noise, 20)


def test_bad_grids():
    with pytest.raises(ValueError, match="spacing 'cosine' is unknown; known: trailing"):
        Spacing(name="cosine")
    with pytest.raises(ValueError, match="num_steps must be 1 to 999 with 'trailing' spacing, got 0"):
        Spacing().grid(SCHEDULE, 0)
    with pytest.raises(ValueError, match="num_steps must be 1 to 50 with 'lcm' spacing, got 51"):
        Spacing(name="lcm").grid(SCHEDULE, 51)
    with pytest.raises(ValueError, match="timesteps must descend strictly"):
        grid_from_timesteps(SCHEDULE, [400, 400, 20])
    with pytest.raises(ValueError, match="timestep 1200.0 is outside"):
        grid_from_timesteps(SCHEDULE, [1200, 400])
    with pytest.raises(ValueError, match="at least one timestep"):
        grid_from_timesteps(SCHEDULE, [])
    with pytest.raises(ValueError, match="'karras' spacing needs a finite log-SNR.*use 'trailing'"):
        Spacing(name="karras").grid(ZERO_SNR, 5)
    with pytest.raises(ValueError, match="flow matching has 'trailing' spacing only"):
        Spacing(name="leading").grid(Schedule.from_scheduler(FlowMatchEulerDiscreteScheduler()), 5)
    with pytest.raises(ValueError, match="shift must be above 0"):
        Spacing(shift=0)
