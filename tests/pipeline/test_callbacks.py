"""Watching, changing and stopping a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers.callbacks import PipelineCallback

from tests.pipeline.conftest import call
from unicon.call import network


def test_what_a_callback_sees(pipe, depth):
    seen = []
    out = call(
        pipe, "a dog", depth=depth, output_type="latent", num_inference_steps=4,
        callback_on_step_end=lambda *args: seen.append(args),
        callback_on_step_end_tensor_inputs=["latents", "clean"],
    )  # fmt: skip
    assert [step for _, step, _, _ in seen] == [0, 1, 2, 3]
    assert [t.tolist() for _, _, t, _ in seen] == [[999, 0], [749, 0], [499, 0], [249, 0]]
    assert all(p is pipe and set(tensors) == {"latents", "clean"} for p, _, _, tensors in seen)
    last = seen[-1][3]
    assert last["latents"].shape == (2, 1, 4, 8, 8)
    assert torch.equal(last["latents"][0], out.images)
    assert torch.allclose(last["clean"][0], out.images, atol=1e-6)
    assert pipe.num_timesteps == 4


@pytest.mark.parametrize("held_clean", ["shortcut", "two_way"])
def test_changed_latents_are_used_also_those_of_a_held_branch(pipe, depth, held_clean):
    def swap(pipe, step, timestep, tensors):
        changed = tensors["latents"].clone()
        changed[1] = -changed[1]
        return {"latents": changed} if step == 0 else None

    plain = call(pipe, "a dog", depth=depth, held_clean=held_clean).images
    changed = call(pipe, "a dog", depth=depth, held_clean=held_clean, callback_on_step_end=swap).images
    assert np.abs(plain - changed).max() > 1e-3
    other = call(pipe, "a dog", depth=depth, held_clean="two_way", callback_on_step_end=swap).images
    assert np.abs(other - changed).max() < 1e-4


def test_interrupt(pipe):
    seen = []

    def stop(pipe, step, timestep, tensors):
        seen.append(tensors["latents"])
        pipe._interrupt = step == 1

    out = call(pipe, "a dog", callback_on_step_end=stop, output_type="latent", num_inference_steps=5)
    assert len(seen) == 2
    assert torch.equal(out.images, seen[-1][0])
    assert len(call(pipe, "a dog").images) == 1
    assert not pipe.interrupt  # the next run starts anew


def test_a_diffusers_callback_object_names_its_own_inputs(pipe):
    class Keep(PipelineCallback):
        tensor_inputs = ["clean"]

        def callback_fn(self, pipeline, step_index, timesteps, callback_kwargs):
            self.seen = set(callback_kwargs)
            return {}

    keep = Keep()
    call(pipe, "a dog", callback_on_step_end=keep)
    assert keep.seen == {"clean"}


@pytest.mark.parametrize(
    "returned, match",
    [
        (
            {"latent": torch.zeros(1)},
            "the callback returned 'latent'; it may change latents, and nothing else",
        ),
        ({"clean": torch.zeros(1)}, "the callback returned 'clean'; it may change latents"),
        ({"latents": torch.zeros(1)}, r"latents of shape \(1,\); expected \(1, 1, 4, 8, 8\)"),
    ],
)
def test_what_a_callback_may_not_return(pipe, returned, match):
    with pytest.raises(ValueError, match=match):
        call(pipe, "a dog", callback_on_step_end=lambda *args: returned)


def test_the_progress_bar_counts_steps(pipe, depth, capsys):
    pipe.set_progress_bar_config(disable=False, desc="drawing")
    try:
        call(pipe, "a dog", depth=depth, num_inference_steps=2)
    finally:
        pipe.set_progress_bar_config(disable=True)
    shown = capsys.readouterr().err
    assert "drawing" in shown
    assert "2/2" in shown


@pytest.mark.parametrize("changes", [False, True])
def test_what_is_handed_back_as_it_was_is_not_computed_again(pipe, depth, monkeypatch, changes):
    recorded = []
    own = network.record_clean
    monkeypatch.setattr(network, "record_clean", lambda *a, **k: recorded.append(1) or own(*a, **k))

    def watch(pipe, step, timestep, tensors):
        if changes:
            tensors["latents"] += 1e-3
        return tensors

    call(pipe, "a dog", depth=depth, num_inference_steps=3, callback_on_step_end=watch)
    assert len(recorded) == (3 if changes else 1)
