"""Does running backwards find the noise that running forwards starts from?"""

import pytest
import torch

from unicon.sampling.grids import Spacing
from unicon.sampling.inversion import invert
from unicon.sampling.levels import Schedule, spread
from unicon.sampling.loop import sample
from unicon.sampling.noise import NoiseSource
from unicon.sampling.plans import Plan, hold, run
from unicon.sampling.solvers import Solver

ZERO_SNR = {
    "beta_schedule": "squaredcos_cap_v2",
    "rescale_betas_zero_snr": True,
    "prediction_type": "v_prediction",
}
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler"}
NOISE = NoiseSource.from_seed(0, 2)


def forwards(denoise, x, trajectory):
    return sample(denoise, x, trajectory, Solver(name="ddim"), NOISE)


def gaussian(mean, deviation):
    """The exact denoiser of N(mean, deviation^2)."""

    def denoise(x, levels):
        a, s = spread(levels.alpha, x), spread(levels.sigma, x)
        return mean + a * deviation**2 / (a**2 * deviation**2 + s**2) * (x - a * mean)

    return denoise


@pytest.mark.parametrize("config", [ZERO_SNR, SD, FLOW], ids=["zero SNR", "SD", "flow"])
def test_a_gaussian_comes_back_to_rounding(config):
    trajectory = Plan((run("image"),)).resolve(Spacing().grid(Schedule.from_scheduler(config), 20))
    start = torch.randn(1, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    denoise = gaussian(0.3, 0.8)
    end = forwards(denoise, start, trajectory)
    errors = [
        float((invert(denoise, end, trajectory, substitutions=n) - start).abs().max()) for n in (1, 2, 4, 12)
    ]
    assert errors[-1] < 1e-6
    assert sorted(errors, reverse=True) == errors, "each substitution comes nearer"


def test_part_of_the_way_and_beside_a_held_branch():
    grid = Spacing().grid(Schedule.from_scheduler(ZERO_SNR), 10)
    trajectory = Plan((run("image", 0.6), hold("depth"))).resolve(grid)
    x = torch.randn(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1)).double()

    def denoise(x, levels):  # the image depends on the map
        return gaussian(0.5 * x[1:], 0.7)(x, levels)

    end = forwards(denoise, x, trajectory)
    back = invert(denoise, end, trajectory, substitutions=12)
    assert torch.equal(back[1], x[1])
    torch.testing.assert_close(back, x, atol=1e-6, rtol=0)
