"""Does every row of the one call of the UNet hold what its branch, sample and guidance half ask for?

The UNet is replaced by one that writes down what it is given, so every row can be told exactly.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from adapters import Pair
from unicon.call.network import BranchNetwork
from unicon.sampling.guidance import CONDITIONED, SEPARATE, UNCONDITIONED, Variant
from unicon.sampling.levels import Schedule

SCHEDULE = Schedule.from_scheduler({"prediction_type": "v_prediction", "rescale_betas_zero_snr": True})
SAMPLES = 2
PAIRS = (
    Pair(image=0, condition=1, adapter="depth", image_weight=0.5),
    Pair(image=0, condition=2, adapter="pose"),
)


def prompts() -> Tensor:
    """(2, branch, sample, 1, 1): every embedding is its half, branch and sample as one number."""
    half, branch, sample = torch.meshgrid(
        torch.arange(2), torch.arange(3), torch.arange(SAMPLES), indexing="ij"
    )
    return (100 * half + 10 * branch + sample).float()[..., None, None]


def network(**changes) -> BranchNetwork:
    unet = SimpleNamespace(dtype=torch.float32)
    settings = {"pairs": PAIRS, "prompts": prompts(), "clean_timesteps": {0: 5, 1: 7, 2: 9}}
    return BranchNetwork(unet=unet, prediction="sample", **{**settings, **changes})


@pytest.fixture
def asked(monkeypatch) -> list[SimpleNamespace]:
    """Every call: rows of latents, timesteps and texts, and what else it was given."""
    calls = []

    def note(unet, sample, timestep, texts, **rest):
        calls.append(
            SimpleNamespace(
                rows=sample[:, 0, 0, 0].tolist(),
                told=timestep.tolist(),
                texts=texts.flatten().tolist(),
                **rest,
            )
        )
        return sample

    def record(unet, sample, timestep, texts, *, branches, **rest):
        note(unet, sample, timestep, texts, branches=branches, **rest)
        return SimpleNamespace(branches=tuple(branches))

    monkeypatch.setattr("unicon.call.network.joint_forward", note)
    monkeypatch.setattr("unicon.call.network.record_clean", record)
    return calls


def latents() -> Tensor:
    """(branch, sample, 1, 1, 1), each its branch and sample as a number of two digits."""
    return (10 * torch.arange(3)[:, None] + torch.arange(SAMPLES)).float()[..., None, None, None]


def levels(*timesteps: float | None):
    """One per branch, None for CLEAN."""
    found = SCHEDULE.at_timestep([t or 0.0 for t in timesteps])
    return found.clean_where(torch.tensor([t is None for t in timesteps]))


def test_rows_are_guidance_halves_of_branches_of_samples(asked):
    variants = [UNCONDITIONED, CONDITIONED]
    found = network().evaluate(latents(), levels(900, 300, 600), variants)
    (call,) = asked
    assert call.rows == [0, 1, 10, 11, 20, 21] * 2
    assert call.told == [900, 900, 300, 300, 600, 600] * 2
    assert call.texts == [0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121]
    assert (call.num_branches, call.num_guidance) == (3, 2)
    assert torch.equal(found, latents().expand(2, *latents().shape))


def test_a_scale_that_the_unet_is_told_is_its_branchs(asked):
    scales = torch.tensor([[3.0], [5.0], [1.0]])
    network(scales=scales).evaluate(latents(), levels(900, 300, 600), [CONDITIONED])
    assert asked[0].timestep_cond.flatten().tolist() == [3, 3, 5, 5, 1, 1]


def test_the_separate_half_reads_nothing_and_the_others_read_by_their_weight(asked):
    network().evaluate(latents(), levels(900, 300, 600), [UNCONDITIONED, CONDITIONED, SEPARATE])
    depth, pose = asked[0].pairs
    assert depth.image_weight.tolist() == [[0.5, 0.5], [0.5, 0.5], [0, 0]]
    assert depth.condition_weight.tolist() == pose.image_weight.tolist() == [[1, 1], [1, 1], [0, 0]]
    network().evaluate(latents(), levels(900, 300, 600), [UNCONDITIONED, CONDITIONED])
    assert asked[1].pairs == list(PAIRS)


def test_a_clean_branch_reads_nothing_unless_its_adapter_says_so(asked):
    network(reads_when_clean=["pose"]).evaluate(latents(), levels(900, None, None), [CONDITIONED])
    assert [(p.image_weight, p.condition_weight) for p in asked[0].pairs] == [(0.5, 0.0), (1.0, 1.0)]
    assert asked[0].told == [900, 900, 7, 7, 9, 9]
    assert asked[0].lora_branches == (0,)
    network().evaluate(latents(), levels(None, 300, 600), [CONDITIONED])
    assert [(p.image_weight, p.condition_weight) for p in asked[1].pairs] == [(0.0, 1.0), (0.0, 1.0)]
    assert asked[1].told[:2] == [5, 5]
    assert asked[1].lora_branches == ()


def same_halves() -> Tensor:
    return prompts()[1:].expand(2, -1, -1, -1, -1)


@pytest.mark.parametrize("same", [True, False])
def test_clean_branches_are_computed_once_in_as_many_halves_as_they_have(asked, same):
    made = network(shortcut=True, prompts=same_halves() if same else prompts())
    variants, x = [UNCONDITIONED, CONDITIONED], latents()
    found = made.evaluate(x, levels(900, None, None), variants)
    recorded, call = asked
    halves = 1 if same else 2
    assert recorded.branches == [1, 2]
    assert recorded.rows == [10, 11, 20, 21] * halves
    assert recorded.told == [7, 7, 9, 9] * halves
    assert recorded.texts == ([110, 111, 120, 121] if same else [10, 11, 20, 21, 110, 111, 120, 121])
    assert recorded.num_guidance == halves
    assert (call.rows, call.told) == ([0, 1] * 2, [900] * 4)
    assert call.cache.branches == (1, 2)
    assert torch.equal(found, x.expand(2, *x.shape)), "cached branches answer with themselves"
    made.evaluate(x, levels(600, None, None), variants)
    assert len(asked) == 3, "not recorded again"
    made.evaluate(x, levels(None, None, 300), variants)
    assert asked[3].branches == [0, 1], "others are clean now"
    made.forget()
    made.evaluate(x, levels(None, None, 300), variants)
    assert asked[5].branches == [0, 1]


def test_halves_without_what_to_look_like_are_told_so(asked):
    told = SimpleNamespace(likeness=lambda variants, running, clean: (tuple(variants), running, clean))
    unlike = Variant(like=False)
    network(told=told, shortcut=True).evaluate(latents(), levels(900, None, 300), [CONDITIONED, unlike])
    assert asked[1].likeness == ((CONDITIONED, unlike), [0, 2], [1])
