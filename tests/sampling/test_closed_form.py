"""What the samplers sample, exactly, against the closed form (see benchmarks/closed_form.py)."""

import importlib.util
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from unicon.sampling.grids import Spacing
from unicon.sampling.loop import sample, start
from unicon.sampling.noise import NoiseSource
from unicon.sampling.solvers import Solver

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "closed_form.py"
spec = importlib.util.spec_from_file_location("closed_form", SCRIPT)
closed_form = importlib.util.module_from_spec(spec)
sys.modules["closed_form"] = closed_form  # dataclasses look their module up
spec.loader.exec_module(closed_form)

PAIR = closed_form.standard_pair()
MODES = [
    "joint",
    "image | condition",
    "condition | image",
    "coarse, held",
    "coarse, refined",
    "coarse, refined, given",
    "image first",
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", closed_form.SOLVERS)
def test_every_mode_converges_to_the_closed_form(mode, solver):
    exact = mode != "coarse, refined, given" or closed_form.SOLVERS[solver].draws_noise
    errors = [closed_form.error(PAIR, mode, closed_form.SOLVERS[solver], n) for n in (8, 32, 96)]
    if exact:
        assert errors[0] > 1.5 * errors[1] > 2.5 * errors[2]
        assert errors[2] < 0.09
    else:  # a deterministic solver has the right law over all noisy conditions, not for each
        assert min(errors) > 0.5


@pytest.mark.parametrize("mode", MODES)
def test_heun_is_second_order_where_the_last_step_is_short(mode, monkeypatch):
    monkeypatch.setattr(closed_form, "SPACING", Spacing(name="linspace"))
    if mode != "coarse, refined, given":
        coarse, fine = (closed_form.error(PAIR, mode, Solver(name="heun"), n) for n in (8, 32))
        assert fine < coarse / 10


def test_more_of_the_posterior_than_its_mean_is_right():
    grid = Spacing().grid(closed_form.SCHEDULE, 200)
    case = closed_form.modes(PAIR, grid)["image | condition"]
    got = closed_form.propagate(PAIR, case.plan.resolve(grid), Solver(name="dpmpp_2m"), case.starts)[
        case.part
    ]
    torch.testing.assert_close(got.mean, case.target.mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(got.cov, case.target.cov, atol=4e-3, rtol=0)


@pytest.mark.parametrize("solver", ["ddim", "dpm++ 2m", "ancestral"])
@pytest.mark.parametrize("mode", ["joint", "image | condition", "coarse, held"])
def test_temperature_scales_the_spread_and_keeps_the_mean(mode, solver):
    grid = Spacing().grid(closed_form.SCHEDULE, 20)
    case, solver = closed_form.modes(PAIR, grid)[mode], closed_form.SOLVERS[solver]
    run = partial(closed_form.propagate, PAIR, case.plan.resolve(grid), solver, case.starts)
    full, half, none = (run(temperature=t)[case.part] for t in (1.0, 0.5, 0.0))
    for tempered, factor in [(half, 0.25), (none, 0.0)]:
        torch.testing.assert_close(tempered.mean, full.mean)
        torch.testing.assert_close(tempered.cov, factor * full.cov)


def test_sampled_once_with_the_real_noise_source():
    """10,000 pictures for one clean condition, through `start` and `sample` as the pipeline uses them."""
    grid = Spacing().grid(closed_form.SCHEDULE, 24)
    case = closed_form.modes(PAIR, grid)["image | condition"]
    trajectory, noise = case.plan.resolve(grid), NoiseSource.from_seed(0, 10_000)
    condition = case.starts[1].mean[:, None, None]
    x = start(trajectory, {"depth": condition}, noise, (10_000, 2, 1, 1), dtype=torch.float64)
    rows = closed_form.to_rows(sample(PAIR.denoise, x, trajectory, Solver(name="heun"), noise))
    assert torch.equal(rows[:, 2:], case.starts[1].mean.expand(10_000, 2))  # the clean branch is untouched
    exact = closed_form.propagate(PAIR, trajectory, Solver(name="heun"), case.starts)[case.part]
    drawn = closed_form.Gaussian(mean=rows[:, :2].mean(0), cov=rows[:, :2].T.cov())
    assert drawn.distance(exact) < 0.02
    assert drawn.distance(case.target) < 0.08
