"""The run as a whole: what moves, what is left alone, what is put back, and what a hook may do."""

import pytest
import torch
from diffusers import DDIMScheduler

from unicon.sampling.grids import Spacing
from unicon.sampling.levels import Schedule, add_noise, spread
from unicon.sampling.loop import sample, start
from unicon.sampling.noise import INITIAL, NoiseSource
from unicon.sampling.plans import Known, Plan, hold, run, staged
from unicon.sampling.solvers import Solver

SCHEDULE = Schedule.from_scheduler(
    DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
    )
)
SHAPE = (2, 4, 8, 8)  # sample, C, H, W
NOISE = NoiseSource.from_seed(1, 2)
MAP = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
SOLVERS = ["ddim", "euler", "heun", "dpmpp_2m", "ancestral", "lcm"]


def denoise(x, levels):
    """Branches that know of each other: each estimate leans on the mean of all."""
    return 0.7 * x * spread(levels.alpha, x) + 0.2 * x.mean(0, keepdim=True).tanh()


def go(*branches, solver="ddim", num_steps=6, denoise=denoise, on_step=None, noise=NOISE, eta=0.0):
    trajectory = Plan(branches).resolve(Spacing().grid(SCHEDULE, num_steps))
    x = start(trajectory, {"depth": MAP, "pose": MAP}, noise, SHAPE)
    return sample(denoise, x, trajectory, Solver(name=solver, eta=eta), noise, on_step=on_step)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_clean_branch_is_untouched(solver):
    out = go(run("image"), hold("depth"), solver=solver)
    assert torch.equal(out[1], MAP)
    assert out.isfinite().all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_branch_held_at_a_level_is_untouched(solver):
    seen = []
    out = go(run("image"), hold("depth", noise=0.4), solver=solver, on_step=lambda s: seen.append(s.x[1]))
    assert all(torch.equal(x, out[1]) for x in seen)
    assert not torch.equal(out[1], MAP)


@pytest.mark.parametrize("solver", SOLVERS)
def test_branches_in_turn(solver):
    """While one branch waits, the other does not disturb it."""
    seen = []
    plan = staged("image", (0, 1), (1, 1)), staged("depth", (0, 0), (0, 1))
    go(*plan, solver=solver, on_step=lambda s: seen.append(s.x))
    initial = NOISE.draw("depth", INITIAL, SHAPE[1:])
    assert all(torch.equal(x[1], initial) for x in seen[:6])
    assert all(torch.equal(x[0], seen[5][0]) for x in seen[6:])


def test_a_branch_that_waited_restarts_at_first_order():
    grid = Spacing().grid(SCHEDULE, 8)
    plan = Plan(
        (staged("image", (0, 0.5), (0.5, 0.5), (0.5, 1)), staged("depth", (0, 0), (0, 0.5), (0.5, 1)))
    )
    xs, cleans = [], []
    trajectory = plan.resolve(grid)
    x = start(trajectory, {}, NOISE, SHAPE)
    sample(denoise, x, trajectory, Solver(name="dpmpp_2m"), NOISE,
           on_step=lambda s: (xs.append(s.x), cleans.append(s.clean)))  # fmt: skip
    level_from, level_to = trajectory.levels[8, :1], trajectory.levels[9, :1]
    first_order = Solver().step(xs[7][:1], cleans[8][:1], level_from, level_to, None, None)
    torch.testing.assert_close(xs[8][:1], first_order)


@pytest.mark.parametrize("solver", ["ddim", "ancestral"])
def test_adding_a_branch_or_a_sample_keeps_the_noise_of_the_others(solver):
    def apart(x, levels):
        return 0.7 * x * spread(levels.alpha, x)

    one = go(run("image"), solver=solver, denoise=apart)
    two = go(run("pose", noise=0.5), run("image"), solver=solver, denoise=apart)
    assert torch.equal(one[0], two[1])
    trajectory = Plan((run("image"),)).resolve(Spacing().grid(SCHEDULE, 6))
    single = NoiseSource(NOISE.seeds[:1])
    x = start(trajectory, {}, single, (1, *SHAPE[1:]))
    assert torch.equal(sample(apart, x, trajectory, Solver(name=solver), single), one[:, :1])


def test_noise_is_drawn_for_its_branch_and_step_and_where_it_moves():
    drawn = []

    class Watched:
        def draw(self, branch, step, shape):
            drawn.append((branch, step))
            return NOISE.draw(branch, step, shape)

    go(run("image"), run("depth", noise=0.5), hold("pose"), solver="ancestral", num_steps=2, noise=Watched())
    assert drawn[:2] == [("image", INITIAL), ("depth", INITIAL)]  # a clean branch has none
    assert drawn[2:] == [("image", 0), ("depth", 0), ("image", 1), ("depth", 1)]


def test_calls_of_the_network():
    calls = []

    def counted(x, levels):
        calls.append(levels.timestep.tolist())
        return denoise(x, levels)

    go(run("image"), hold("depth"), denoise=counted, num_steps=5)
    assert calls == [[t, 0] for t in (999, 799, 599, 399, 199)]
    calls.clear()
    go(run("image"), hold("depth"), denoise=counted, num_steps=5, solver="heun")
    assert len(calls) == 9  # twice a step, but for the last, into CLEAN


def test_the_known_part_follows_its_own_branch():
    """Replacement at the branch's own next level, with its initial noise; in the end the known latent."""
    mask = (torch.arange(8) < 4).float().expand(1, 1, 8, 8)
    seen = []
    known = Known(clean=MAP, mask=mask)
    branches = run("image"), run("depth", noise=0.5, known=known)
    out = go(*branches, solver="ancestral", on_step=lambda s: seen.append(s.x))
    levels = Plan(branches).resolve(Spacing().grid(SCHEDULE, 6)).levels
    initial = NOISE.draw("depth", INITIAL, SHAPE[1:])
    for index, x in enumerate(seen, start=1):
        expected = add_noise(MAP, initial, levels[index, 1])
        torch.testing.assert_close(x[1, ..., 4:], expected[..., 4:])
    assert torch.equal(out[1, ..., 4:], MAP[..., 4:])
    assert not torch.equal(out[1, ..., :4], MAP[..., :4])


def test_heun_looks_a_second_time_at_the_known_part():
    mask, seen = torch.zeros(1, 1, 8, 8), []

    def watched(x, levels):
        seen.append((x[1], levels[1]))
        return denoise(x, levels)

    go(run("image"), run("depth", known=Known(clean=MAP, mask=mask)), solver="heun", denoise=watched)
    initial = NOISE.draw("depth", INITIAL, SHAPE[1:])
    for x, level in seen:
        torch.testing.assert_close(x, add_noise(MAP, initial, level))


def test_reconstruction_guidance_reaches_the_other_branch():
    mask = torch.zeros(1, 1, 8, 8)
    outs = [
        go(run("image"), run("depth", known=Known(clean=3 + 0 * MAP, mask=mask, weight=w)))
        for w in (0.0, 2.0)
    ]
    assert torch.equal(outs[0][1], outs[1][1])  # all of it is known
    assert (outs[1][0] - outs[0][0]).mean() > 0


def test_a_hook_may_change_and_stop():
    seen = []

    def hook(state):
        seen.append((state.index, state.num_steps, state.levels.timestep[0].item()))
        state.x = torch.zeros_like(state.x)
        state.stop = state.index == 2

    out = go(run("image"), on_step=hook)
    assert [index for index, _, _ in seen] == [0, 1, 2]
    assert seen[0][1:] == (6, 832)
    assert torch.equal(out, torch.zeros_like(out))


def test_float64_is_float64():
    trajectory = Plan((run("image"),)).resolve(Spacing().grid(SCHEDULE, 4))
    x = start(trajectory, {}, NOISE, SHAPE, dtype=torch.float64)

    def checked(x, levels):
        assert x.dtype == levels.alpha.dtype == torch.float64
        return denoise(x, levels)

    assert sample(checked, x, trajectory, Solver(name="heun"), NOISE).dtype == torch.float64


def test_bad_latents():
    trajectory = Plan((run("image"), run("depth", noise=0.5))).resolve(Spacing().grid(SCHEDULE, 4))
    x = start(trajectory, {"depth": MAP}, NOISE, SHAPE)
    with pytest.raises(ValueError, match="branch 'depth' does not start from pure noise"):
        start(trajectory, {}, NOISE, SHAPE)
    with pytest.raises(ValueError, match="float32 or float64, got torch.float16"):
        sample(denoise, x.half(), trajectory, Solver(), NOISE)
    with pytest.raises(ValueError, match=r"with branches \('image', 'depth'\), got \(1, 2, 4, 8, 8\)"):
        sample(denoise, x[:1], trajectory, Solver(), NOISE)
    x[1, 0, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="latents of branch depth hold NaN"):
        sample(denoise, x, trajectory, Solver(), NOISE)
