"""What exactly does the joint objective ask of the network, and what of the answer counts?

The network is replaced by one that writes down what it is given and answers with zeros.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adapters import AdapterConfig
from tests.tiny_base import tiny_pipeline
from train.config import LoopConfig
from train.examples import Encoded, Examples
from train.objectives.base import Draws
from train.objectives.joint import JointConfig, JointObjective
from train.stepping import Stepper, store_frozen
from unicon.sampling.levels import add_noise, network_target

SHAPE, TOKENS, WIDTH = (4, 8, 8), 3, 12
CONFIG = JointConfig(condition="depth", clean_timestep=150, clean_image=0.3, clean_condition=0.25)
ITEMS = np.arange(4)
MODES = torch.tensor([0.1, 0.4, 0.9, 0.9])
"""The image of the first pair is clean, the condition of the second, neither of the others."""
NEVER = torch.ones(4, 3)
"""No caption is dropped."""


class Given(Examples):
    """Four pairs. Texts are numbers: a caption is 10 * branch + pair, what is left without it -1 - branch."""

    def __init__(self, present: torch.Tensor):
        generator = torch.Generator().manual_seed(0)
        rows = (10 * torch.arange(2)[:, None] + torch.arange(4)).float()[..., None, None]
        self.encoded = Encoded(
            latents=torch.randn(2, 4, *SHAPE, generator=generator),
            texts=rows.expand(-1, -1, TOKENS, WIDTH),
            bare=torch.tensor([-1.0, -2.0])[:, None, None].expand(-1, TOKENS, WIDTH),
            present=present,
        )

    def __len__(self) -> int:
        return 4

    def latent_shape(self, item: int) -> tuple[int, ...]:
        return SHAPE

    def draw(self, generator: torch.Generator, num: int) -> Draws:
        return Draws()

    def read(self, items: np.ndarray, draws: Draws) -> Encoded:
        return self.encoded


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return tiny_pipeline(tmp_path_factory.mktemp("words"), {})


@pytest.fixture
def asked(monkeypatch) -> list[SimpleNamespace]:
    calls = []

    def forward(unet, sample, timestep, texts, *, pairs, num_branches):
        calls.append(
            SimpleNamespace(
                sample=sample.unflatten(0, (2, -1)),
                told=timestep.unflatten(0, (2, -1)),
                texts=texts[:, 0, 0].unflatten(0, (2, -1)).tolist(),
                reads=[pairs[0].image_weight.tolist(), pairs[0].condition_weight.tolist()],
                branches=(pairs[0].image, pairs[0].condition, num_branches),
            )
        )
        return torch.zeros_like(sample)

    monkeypatch.setattr("train.objectives.joint.joint_forward", forward)
    return calls


def objective(pipe, present=None, **changes) -> JointObjective:
    pipe.unload_adapter()
    present = torch.ones(2, 4, dtype=torch.bool) if present is None else present
    config = replace(CONFIG, **changes)
    settings = AdapterConfig(condition="depth", rank=2, clean_timestep=150)
    return JointObjective(config, settings, pipe, Given(present), lambda: None)


def drawn(made: JointObjective, **changes: torch.Tensor) -> Draws:
    found = made.draw(torch.Generator().manual_seed(0), torch.arange(4))
    for name, value in {"mode": MODES, "uncaptioned": NEVER, **changes}.items():
        found[name] = value
    return found


def test_a_clean_branch_has_no_noise_reads_nothing_and_has_no_loss(pipe, asked):
    made = objective(pipe)
    draws = drawn(made)
    losses, parts = made(ITEMS, draws)
    (call,) = asked
    clean, noise = made.examples.encoded.latents, draws["noise"].transpose(0, 1)
    assert call.branches == (0, 1, 2)
    assert call.reads == [[0, 1, 1, 1], [1, 0, 1, 1]]
    assert torch.equal(call.sample[0, 0], clean[0, 0])
    assert torch.equal(call.sample[1, 1], clean[1, 1])
    assert call.told[0, 0] == call.told[1, 1] == 150
    # Everything else is at a level of its own, and its error is that of the answer, which is zero.
    timesteps = torch.stack([t.timesteps(u) for t, u in zip(made.tables, draws["progress"].T, strict=True)])
    levels = made.schedule.at_timestep(timesteps).to(dtype=torch.float32)
    noisy = torch.tensor([[False, True, True, True], [True, False, True, True]])
    torch.testing.assert_close(call.told[noisy], levels.timestep[noisy])
    assert torch.equal(call.sample[noisy], add_noise(clean, noise, levels)[noisy])
    error = network_target(clean, noise, levels, made.schedule.prediction).square().mean((2, 3, 4))
    expected = torch.stack([error[1, 0], error[0, 1], error[:, 2].mean(), error[:, 3].mean()])
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(parts["image"], error[0].where(noisy[0] > 0, torch.nan), equal_nan=True)
    torch.testing.assert_close(parts["condition"], error[1].where(noisy[1] > 0, torch.nan), equal_nan=True)


def test_a_branch_that_is_not_there_is_pure_noise_and_its_other_is_never_clean(pipe, asked):
    present = torch.tensor([[True, False, True, True], [False, True, True, True]])
    made = objective(pipe, present)
    draws = drawn(made, mode=torch.tensor([0.1, 0.4, 0.1, 0.4]))
    losses, parts = made(ITEMS, draws)
    (call,) = asked
    last = made.schedule.last_timestep
    assert call.told[1, 0] == call.told[0, 1] == last
    assert torch.equal(call.sample[1, 0], draws["noise"][0, 1])  # the last level of this base has no signal
    assert call.reads == [[1, 1, 0, 1], [1, 1, 1, 0]]
    assert not torch.equal(call.sample[0, 0], made.examples.encoded.latents[0, 0])
    assert (parts["image"] > 0).tolist() == [True, False, False, True]
    assert (parts["condition"] > 0).tolist() == [False, True, True, False]
    assert (losses > 0).all()


def test_captions_are_dropped_together_and_alone_and_of_photos_to_estimate(pipe, asked):
    made = objective(pipe, caption_dropout=0.2, bare_photos=0.6)
    uncaptioned = torch.tensor([[0.5, 1, 1], [0.5, 1, 0.05], [0.1, 1, 1], [0.5, 0.05, 0.15]])
    made(ITEMS, drawn(made, uncaptioned=uncaptioned))
    # 0: a clean image, which mostly has none; 1: the map's half alone; 2: both; 3: the image's half alone.
    assert asked[0].texts == [[-1, 1, -1, -1], [-2, -2, -2, 13]]


def test_errors_count_by_their_level(pipe, asked):
    made = objective(pipe, loss_weight="min_snr(5)")
    draws = drawn(made, mode=torch.ones(4))
    losses, parts = made(ITEMS, draws)
    timesteps = torch.stack([t.timesteps(u) for t, u in zip(made.tables, draws["progress"].T, strict=True)])
    levels = made.schedule.at_timestep(timesteps)
    counts = torch.stack([weigh(levels[n]) for n, weigh in enumerate(made.weightings)])
    error = torch.stack([parts["image"], parts["condition"]]).double()
    torch.testing.assert_close(losses.double(), (error * counts).mean(0))
    assert counts.std() > 0.1


def test_frozen_weights_are_kept_in_the_format_they_are_computed_in_for_the_same_numbers(tmp_path):
    pipe = tiny_pipeline(tmp_path / "words", {})
    latents = torch.randn(2, 4, *SHAPE, generator=torch.Generator().manual_seed(0))
    text = torch.randn(2, 4, TOKENS, pipe.unet.config["cross_attention_dim"])
    made = objective(pipe)
    levels = made.schedule.at_timestep(torch.full((2, 4), 500.0)).to(dtype=torch.float32)

    def learnt() -> tuple[torch.Tensor, list[torch.Tensor]]:
        with torch.autocast("cpu", torch.bfloat16):
            errors = made.errors(latents, torch.ones_like(latents), levels, text)
        return errors.detach(), list(torch.autograd.grad(errors.sum(), list(made.trained().values())))

    before, slopes = learnt()
    store_frozen(made, torch.bfloat16)
    after, slopes_after = learnt()
    assert torch.equal(before, after)
    assert all(torch.equal(a, b) for a, b in zip(slopes, slopes_after, strict=True))
    frozen = [p for p in made.parameters() if not p.requires_grad]
    half = sum(p.numel() for p in frozen if p.dtype == torch.bfloat16)
    assert half > 0.98 * sum(p.numel() for p in frozen)
    assert all(p.dtype == torch.float32 for p in made.trained().values())
    assert all(p.dtype == torch.float32 for n, p in made.named_parameters() if ".norm" in n and p.ndim == 1)


def test_a_run_in_bfloat16_halves_its_frozen_base_and_no_other_run_does(tmp_path):
    for precision, dtype in (("bf16", torch.bfloat16), ("no", torch.float32)):
        made = objective(tiny_pipeline(tmp_path / precision, {}))
        Stepper(made, LoopConfig(steps=1, batch_size=2, mixed_precision=precision))
        assert made.unet.conv_in.weight.dtype == dtype
        assert all(p.dtype == torch.float32 for p in made.trained().values())
