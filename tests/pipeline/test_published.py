"""Do predictions and whole samplings equal those of the published code (tensors made with it)?

Its quirks are asked for on the sampling level: grids that end at timestep 0, clean branches at the last
timestep.
"""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file

from adapters import Pair
from tests.adapters.tiny import FIXTURES
from tests.tiny_base import tiny_text_encoder, tiny_tokenizer, tiny_vae
from unicon import UniConPipeline
from unicon.call.network import BranchNetwork
from unicon.sampling.grids import grid_from_timesteps
from unicon.sampling.guidance import Guidance
from unicon.sampling.levels import Schedule
from unicon.sampling.loop import sample, start
from unicon.sampling.plans import BranchPlan, Plan
from unicon.sampling.solvers import Solver

CASES = json.loads((FIXTURES / "cases.json").read_text())
NAMES = ("image", "depth")


class FileNoise:
    """The file's noise, (branch, C, h, w), for one sample."""

    def __init__(self, noise: torch.Tensor):
        self.noise = noise

    def draw(self, branch, step, shape):
        assert step < 0
        return self.noise[NAMES.index(branch)][None]


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> UniConPipeline:
    tokenizer = tiny_tokenizer(tmp_path_factory.mktemp("words"))
    pipe = UniConPipeline(
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(tokenizer),  # the files hold embeddings
        tokenizer=tokenizer,
        unet=UNet2DConditionModel.from_pretrained(FIXTURES / "base" / "unet"),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
    )
    for name in ("depth", "id"):
        pipe.load_adapter(FIXTURES / name)
    return pipe


@pytest.mark.parametrize("case", CASES["forward"], ids=lambda case: case["name"])
def test_predictions(published, case):
    tensors = load_file(FIXTURES / f"forward_{case['name']}.safetensors")
    on = case.get("joint", True)
    pairs = [(x, y, w_x * on, w_y * on, name) for x, y, w_x, w_y, name in case["pairs"]]
    inputs = tensors["sample"], tensors["timestep"], tensors["encoder_hidden_states"]
    found = published.predict(*inputs, pairs=pairs, num_guidance=2 if case.get("cfg") else 1)
    assert (found - tensors["out"]).abs().max() <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("case", CASES["sample"], ids=lambda case: case["name"])
def test_whole_samplings(published, case):
    tensors = load_file(FIXTURES / f"sample_{case['name']}.safetensors")
    schedule = Schedule.from_scheduler(published.scheduler)
    paths = zip(*(stage[:-1] for stage in case["schedule"]), strict=True)
    plan = Plan(
        tuple(
            BranchPlan(name=name, stages=tuple((float(a), float(b)) for a, b in path))
            for name, path in zip(NAMES, paths, strict=True)
        )
    )
    grid = grid_from_timesteps(schedule, tensors["timesteps"], final=0)
    trajectory = plan.resolve(grid, published=True)
    network = BranchNetwork(
        unet=published.unet,
        prediction=schedule.prediction,
        pairs=[
            Pair(image=i, condition=c, adapter=name, image_weight=wi, condition_weight=wc)
            for i, c, wi, wc, name in case["pairs"]
        ],
        prompts=torch.stack([tensors["negative_prompt_embeds"], tensors["prompt_embeds"]])[:, :, None],
        reads_when_clean=["depth"],
    )
    clean = {name: latent[None] for name, latent in zip(NAMES, tensors["image_latents"], strict=True)}
    noise = FileNoise(tensors["noise"])
    x = start(trajectory, clean, noise, (1, *tensors["noise"].shape[1:]))
    denoise = Guidance(text=case["guidance"])(network.evaluate)
    found = sample(denoise, x, trajectory, Solver(), noise)
    assert (found[:, 0] - tensors["out"]).abs().max() <= 1e-3
