"""Plans: every direction, asynchronous paths, the published levels, and what is refused."""

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler

from unicon.sampling.grids import Spacing, grid_from_timesteps
from unicon.sampling.levels import Schedule
from unicon.sampling.plans import BranchPlan, Known, Plan, hold, run, staged

SCHEDULE = Schedule.from_scheduler(
    DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
)
PUBLISHED = Path(__file__).parents[3] / "shared" / "reference" / "official_unicon"


def grid(num_steps=10):
    return Spacing().grid(SCHEDULE, num_steps)


def resolve(*branches, num_steps=10, published=False):
    return Plan(branches).resolve(grid(num_steps), published=published)


def test_control_holds_the_condition_clean():
    path = resolve(run("image"), hold("depth"))
    assert path.num_steps == 10
    assert path.levels.timestep[:, 0].tolist() == [*range(999, 0, -100), 0]
    assert path.levels.is_clean[:, 1].all()
    assert path.levels.is_clean[-1].all()
    assert [step.moving for step in path.steps()] == [[0]] * 10


def test_joint_moves_both_together():
    path = resolve(run("image"), run("depth"))
    assert torch.equal(path.positions[:, 0], path.positions[:, 1])
    assert [step.moving for step in path.steps()] == [[0, 1]] * 10


def test_a_run_from_a_fraction_takes_that_share_of_the_steps():
    path = resolve(run("image", noise=0.6), hold("depth"))
    assert path.num_steps == 6
    assert path.levels.timestep[0].tolist() == [599, 0]


def test_coarse_control_held_sits_exactly_at_its_fraction():
    path = resolve(run("image"), hold("depth", noise=0.33), num_steps=7)
    assert path.num_steps == 7
    assert path.levels.timestep[:, 1].tolist() == pytest.approx([329] * 8, abs=1)
    assert all(step.moving == [0] for step in path.steps())


def test_coarse_control_refined_moves_in_every_step():
    path = resolve(run("image"), run("depth", noise=0.5))
    assert path.num_steps == 10
    assert path.positions[:, 1].tolist() == pytest.approx([5 + i / 2 for i in range(11)])
    assert [step.moving for step in path.steps()] == [[0, 1]] * 10
    assert path.levels.is_clean[-1].all()


def test_waiting_is_a_plan_with_stages():
    path = resolve(staged("image", (0, 0.5), (0.5, 1)), staged("depth", (0.5, 0.5), (0.5, 1)))
    assert path.positions[:, 0].tolist() == list(range(11))
    assert path.positions[:, 1].tolist() == [5] * 6 + list(range(6, 11))
    assert [step.moving for step in path.steps()] == [[0]] * 5 + [[0, 1]] * 5


def test_picture_first_then_condition():
    path = resolve(staged("image", (0, 1), (1, 1)), staged("depth", (0, 0), (0, 1)), hold("pose"))
    assert path.num_steps == 20
    assert [step.moving for step in path.steps()] == [[0]] * 10 + [[1]] * 10
    assert path.levels.is_clean[:, 2].all()


@pytest.mark.parametrize("name", ["sample_depth_to_image", "sample_image_to_depth", "sample_joint"])
def test_published_levels(name):
    if not PUBLISHED.is_dir():
        pytest.skip("the published code's tensors are not beside this checkout")
    from safetensors.torch import load_file

    data = load_file(PUBLISHED / f"{name}.safetensors")
    branches = {
        "sample_depth_to_image": (run("image"), hold("depth")),
        "sample_image_to_depth": (hold("image"), run("depth")),
        "sample_joint": (run("image"), run("depth")),
    }[name]
    path = Plan(branches).resolve(grid_from_timesteps(SCHEDULE, data["timesteps"], final=0), published=True)
    assert torch.equal(path.levels.timestep[:-1], data["timesteps"][data["schedule"][:, :2]].double())
    assert path.levels.timestep[-1].tolist() == [0, 0]


def test_published_stretching_stands_still_in_some_steps():
    path = resolve(run("image"), run("depth", noise=0.7), num_steps=20, published=True)
    steps = path.positions.diff(dim=0)
    assert path.num_steps == 20
    assert set(steps[:, 0].tolist()) == {1}
    assert set(steps[:, 1].tolist()) == {0, 1}


def test_known_parts_travel_with_their_branch():
    known = Known(clean=torch.zeros(2, 4, 8, 8), mask=torch.ones(1, 1, 8, 8))
    assert resolve(run("image", known=known), hold("depth")).known == {0: known}


def test_plans_in_which_nothing_runs():
    with pytest.raises(ValueError, match=r"nothing runs in this plan \(image, depth\)"):
        Plan((hold("image"), hold("depth", noise=0.5)))
    with pytest.raises(ValueError, match=r"nothing runs in this plan \(image\)"):
        Plan((run("image", noise=0),))
    with pytest.raises(ValueError, match="it has no branches"):
        Plan(())
    with pytest.raises(ValueError, match="nothing runs in stage 2"):
        Plan((staged("image", (0, 1), (1, 1)), hold("depth")))


@pytest.mark.parametrize("noise", [-0.1, 1.5, float("nan")])
def test_noise_out_of_range(noise):
    with pytest.raises(ValueError, match="branch 'depth': noise is a fraction"):
        run("depth", noise=noise)
    with pytest.raises(ValueError, match="branch 'depth': noise is a fraction"):
        hold("depth", noise=noise)


def test_broken_stages():
    with pytest.raises(ValueError, match="a stage ends at progress 0.5, the next starts at 0.6"):
        staged("image", (0, 0.5), (0.6, 1))
    with pytest.raises(ValueError, match=r"got \(0.5, 0.2\)"):
        staged("image", (0.5, 0.2))
    with pytest.raises(ValueError, match="has no stages"):
        BranchPlan(name="image", stages=())
    with pytest.raises(ValueError, match="same number of stages, got {'image': 2, 'depth': 1}"):
        Plan((staged("image", (0, 0.5), (0.5, 1)), run("depth")))
    with pytest.raises(ValueError, match="stage 1 is less than one of 4 steps"):
        resolve(staged("image", (0, 0.1), (0.1, 1)), num_steps=4)
    with pytest.raises(ValueError, match="branch names must differ"):
        Plan((run("image"), run("image")))


def test_broken_masks():
    with pytest.raises(ValueError, match=r"mask \(9, 8\) does not broadcast to latents \(1, 4, 8, 8\)"):
        Known(clean=torch.zeros(1, 4, 8, 8), mask=torch.ones(9, 8))
    with pytest.raises(ValueError, match=r"mask \(3, 1, 8, 8\) does not broadcast"):
        Known(clean=torch.zeros(1, 4, 8, 8), mask=torch.ones(3, 1, 8, 8))
    with pytest.raises(ValueError, match="mask values must be from 0"):
        Known(clean=torch.zeros(1, 4, 8, 8), mask=torch.full((8, 8), 255.0))
    with pytest.raises(ValueError, match="reconstruction weight must be 0 or above"):
        Known(clean=torch.zeros(1, 4, 8, 8), mask=torch.ones(8, 8), weight=-1)
