"""Does a plain base with the exported LoRA draw what the condition branch draws?"""

from __future__ import annotations

import pytest
import torch
from diffusers import StableDiffusionPipeline

from adapters import graft, joint_forward, load_lora, map_lora, save_lora
from tests.adapters.tiny import PAIR, batch, config, sdxl_like_unet, tiny_unet, trained


def test_diffusers_reads_it_as_the_condition_branch(tmp_path):
    unet = tiny_unet()
    adapter = trained(unet)
    sample, timestep, text = batch(2)
    save_lora(map_lora(adapter), tmp_path / "depth.safetensors")
    # Joint reading off: the branches run alone, the condition's with its own updates.
    graft(unet, {"depth": adapter})
    pair = PAIR[0].__class__(image=0, condition=1, adapter="depth", image_weight=0.0, condition_weight=0.0)
    with torch.no_grad():
        expected = joint_forward(unet, sample, timestep, text, pairs=[pair], num_branches=2)[1]
        plain = tiny_unet()(sample, timestep, text).sample[1]
    assert not torch.allclose(expected, plain, atol=1e-2)
    other = tiny_unet()
    found = StableDiffusionPipeline.lora_state_dict(tmp_path / "depth.safetensors", unet_config=other.config)
    StableDiffusionPipeline.load_lora_into_unet(*found[:2], unet=other)
    with torch.no_grad():
        torch.testing.assert_close(other(sample, timestep, text).sample[1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [tiny_unet, sdxl_like_unet])
def test_our_own_reader_takes_it(make, tmp_path):
    unet = make()
    exported = map_lora(trained(unet))
    save_lora(exported, tmp_path / "depth.safetensors")
    again = dict(load_lora(tmp_path / "depth.safetensors", unet).items())
    for name, update in exported.items():
        torch.testing.assert_close(again[name].matrix(), update.matrix())


def test_an_adapter_without_updates_of_its_own_has_none_to_export():
    with pytest.raises(ValueError, match="condition_lora=False"):
        map_lora(trained(tiny_unet(), config(condition_lora=False)))
