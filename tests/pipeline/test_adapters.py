"""Adapters on a pipeline: identity, names, merging, unloading."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adapters import AdapterConfig, JointAdapter
from tests.adapters.tiny import config, tiny_unet, trained
from tests.pipeline.conftest import call
from unicon import Branch


def plain_unet(pipe):
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    text = torch.zeros(1, 3, 12)
    with torch.no_grad():
        return pipe.unet(x, 500, encoder_hidden_states=text).sample


def test_a_fresh_adapter_gives_exactly_the_bases_picture(pipe, depth):
    base = call(pipe, "a dog").images
    pipe.add_adapter(JointAdapter.for_unet(pipe.unet, AdapterConfig(condition="fresh", rank=2)))
    try:
        for branch in (depth, Branch(map=depth, noise=0.5)):
            drawn = call(pipe, "a dog", fresh=branch, outputs=["image"]).images
            assert np.abs(base - drawn).max() <= 1e-5
        assert np.array_equal(call(pipe, "a dog").images, base)
    finally:
        pipe.unload_adapter("fresh")


def test_unloading_gives_the_base_back_bitwise(pipe):
    loaded = pipe.adapters
    with_adapters = plain_unet(pipe)
    drawn = call(pipe, "a dog").images
    pipe.unload_adapter("pose")
    assert set(pipe.adapters) == set(loaded) - {"pose"}
    pipe.unload_adapter()
    try:
        assert pipe.adapters == {}
        assert torch.equal(plain_unet(pipe), with_adapters)
        assert np.array_equal(call(pipe, "a dog").images, drawn)
        with pytest.raises(ValueError, match="no adapter 'depth' to take off; grafted: none"):
            pipe.unload_adapter("depth")
    finally:
        for name, adapter in loaded.items():
            pipe.add_adapter(adapter, name)


def test_merged_is_unmerged(pipe, photo, depth):
    calls = [{"depth": depth, "pose": photo, "guidance_scale": 2.0}, {"image": photo, "outputs": ["depth"]}]
    before = [call(pipe, "a dog", **arguments) for arguments in calls]
    assert pipe.merge_for_inference() > 0
    try:
        after = [call(pipe, "a dog", **arguments) for arguments in calls]
        with pytest.raises(ValueError, match="merged for inference"):
            pipe.unload_adapter("depth")
    finally:
        pipe.unmerge()
    assert np.abs(before[0].images - after[0].images).max() < 1e-4
    assert np.abs(before[1].maps["depth"] - after[1].maps["depth"]).max() < 1e-4


@pytest.mark.parametrize("name", ["my depth", "class", "image", "eta", "2d", ""])
def test_names_that_cannot_be_keywords(pipe, name):
    adapter = JointAdapter.for_unet(pipe.unet, config())
    with pytest.raises(ValueError, match=f"adapter name '{name}': it becomes a keyword of the call"):
        pipe.add_adapter(adapter, name)


def test_a_name_is_taken(pipe):
    with pytest.raises(ValueError, match="an adapter 'depth' is already there"):
        pipe.add_adapter(JointAdapter.for_unet(pipe.unet, config()))


def test_one_takes_the_place_of_another(pipe, depth):
    first, drawn = pipe.adapters["depth"], call(pipe, "a dog", depth=depth).images
    with pytest.raises(ValueError, match="was built for another base"):
        pipe.add_adapter(JointAdapter.for_unet(tiny_unet(cross_attention_dim=24), config()), replace=True)
    assert pipe.adapters["depth"] is first
    try:
        pipe.add_adapter(trained(pipe.unet, config(), seed=9), replace=True)
        assert np.abs(drawn - call(pipe, "a dog", depth=depth).images).max() > 1e-3
    finally:
        pipe.add_adapter(first, replace=True)
    assert np.array_equal(drawn, call(pipe, "a dog", depth=depth).images)


def test_two_adapters_of_one_kind_under_names_of_their_own(pipe, depth):
    pipe.add_adapter(trained(pipe.unet, config(), seed=9), "depth_two")
    try:
        both = call(pipe, "a dog", depth=depth, depth_two=Branch(map=depth, weight=0.5)).images
        assert np.abs(both - call(pipe, "a dog", depth=depth).images).max() > 1e-3
    finally:
        pipe.unload_adapter("depth_two")


@pytest.mark.parametrize(
    "form", [{"projection": "fused"}, {"projection": "shared"}, {"reads_when_clean": True}]
)
def test_the_shortcut_is_refused_to_adapters_that_read_both_ways(pipe, depth, form):
    pipe.add_adapter(trained(pipe.unet, config(**form), seed=9), "both_ways")
    try:
        with pytest.raises(
            ValueError, match="held_clean='shortcut', but adapter 'both_ways' reads both ways"
        ):
            call(pipe, "a dog", both_ways=depth, held_clean="shortcut")
        auto, exact = (call(pipe, "a dog", both_ways=depth, held_clean=h).images for h in ("auto", "two_way"))
        assert np.array_equal(auto, exact)
    finally:
        pipe.unload_adapter("both_ways")


def test_the_network_is_told_what_the_adapters_were_trained_with(pipe, photo, monkeypatch):
    """A clean image is told the adapters' `clean_timestep`, in the recording call and step by step."""
    told = []
    forward = pipe.unet.forward

    def listen(sample, timestep, *args, **kwargs):
        told.append(torch.as_tensor(timestep).flatten().tolist())
        return forward(sample, timestep, *args, **kwargs)

    monkeypatch.setattr(pipe.unet, "forward", listen)
    call(pipe, image=photo, outputs=["depth"], held_clean="shortcut", num_inference_steps=1)
    call(pipe, image=photo, outputs=["depth"], held_clean="two_way", num_inference_steps=1)
    assert told == [[150.0], [999.0], [150.0, 999.0]]


def test_adapters_that_want_a_clean_image_told_differently_are_refused(pipe, photo):
    pipe.add_adapter(trained(pipe.unet, config(clean_timestep=0), seed=9), "other")
    try:
        with pytest.raises(ValueError, match="different clean_timestep: {'depth': 150, 'other': 0}"):
            call(pipe, image=photo, outputs=["depth", "other"])
        assert call(pipe, "a dog", depth=photo, other=photo).images is not None
    finally:
        pipe.unload_adapter("other")


def test_predict_is_the_raw_call(pipe):
    generator = torch.Generator().manual_seed(0)
    x, text = torch.randn(6, 4, 8, 8, generator=generator), torch.randn(6, 5, 12, generator=generator)
    alone = pipe.predict(x, 500, text, pairs=[])
    with torch.no_grad():
        assert torch.allclose(alone, pipe.unet(x, 500, encoder_hidden_states=text).sample, atol=1e-6)
    joint = pipe.predict(x, 500, text, pairs=[(0, 1, 1.0, 1.0, "depth")], num_branches=3)
    assert torch.allclose(joint[4:], alone[4:], atol=1e-5)
    assert not torch.allclose(joint[:2], alone[:2], atol=1e-3)
    halves = pipe.predict(x, 500, text, pairs=[(0, 2, 1.0, 0.5, "pose")], num_guidance=2)
    assert halves.shape == x.shape
