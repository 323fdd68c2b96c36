"""Which of diffusers' schedulers can be made from mini's own, as diffusers' users do it?"""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
from diffusers import DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler

from tests.pipeline.conftest import call
from train.objectives.base_unet import SCHEDULER
from unicon.mini import mini_folder
from unicon.sampling.levels import Schedule

WORKING = (
    "DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LCMScheduler", "PNDMScheduler",
)  # fmt: skip


@pytest.fixture
def mini_scheduler(pipe):
    """Mini's own scheduler on the tiny base, which gets its own back."""
    before = pipe.scheduler
    pipe.scheduler = DPMSolverMultistepScheduler.from_pretrained(mini_folder() / "scheduler")
    yield pipe.scheduler
    pipe.scheduler = before


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with numpy 2
@pytest.mark.parametrize("name", WORKING)
def test_made_from_minis_it_runs_and_knows_the_same_levels(pipe, depth, mini_scheduler, name):
    levels = Schedule.from_scheduler(mini_scheduler)
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    found = Schedule.from_scheduler(pipe.scheduler)
    assert (found.kind, found.prediction) == (levels.kind, levels.prediction)
    assert np.array_equal(found.noise_share, levels.noise_share)
    assert np.isfinite(call(pipe, "a dog", depth=depth, num_inference_steps=2).images).all()


@pytest.mark.parametrize(
    "name, match",
    [
        (
            "UniPCMultistepScheduler",
            "known: DDIM.*: take one of them, such as DPM",
        ),
        ("FlowMatchEulerDiscreteScheduler", "'v_prediction' does not belong to a 'flow' schedule"),
    ],
)
def test_what_cannot_stand_for_it_is_refused_before_anything_is_drawn(pipe, mini_scheduler, name, match):
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    with pytest.raises(ValueError, match=match):
        call(pipe, "a dog")


def test_a_base_that_the_recipe_trains_says_the_same(mini_scheduler):
    assert SCHEDULER.items() <= dict(mini_scheduler.config).items()
    recipe = DPMSolverMultistepScheduler.from_config(SCHEDULER)
    assert recipe.to_json_string() == mini_scheduler.to_json_string()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with numpy 2
def test_a_share_of_fresh_noise_is_refused_where_it_is_the_schedulers_own(pipe):
    kept = pipe.scheduler
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(kept.config)
    try:
        for eta in (0.0, 0.5):
            with pytest.raises(ValueError, match="'ancestral' adds fresh noise in every step"):
                call(pipe, "a dog", eta=eta)
        call(pipe, "a dog")
    finally:
        pipe.scheduler = kept
