"""Does a plain base with the exported LoRA draw what the condition branch draws?"""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file

from adapters import graft, graft_lora, joint_forward, load_lora, map_lora, save_lora
from tests.adapters.tiny import PAIR, batch, config, sdxl_like_unet, tiny_unet, trained
from tests.tiny_base import tiny_vae


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
    theirs = StableDiffusionPipeline(
        vae=tiny_vae(), text_encoder=None, tokenizer=None, unet=tiny_unet(),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    theirs.load_lora_weights(tmp_path / "depth.safetensors")
    ours = tiny_unet()
    graft_lora(ours, "depth", load_lora(tmp_path / "depth.safetensors", ours))
    with torch.no_grad():
        read = theirs.unet(sample, timestep, text).sample
        alone = joint_forward(ours, sample, timestep, text, pairs=[], num_branches=1)
    torch.testing.assert_close(read[1], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(read, alone, rtol=1e-4, atol=1e-5)  # as a style, on the image's branch


BLOCKS = (
    "down_blocks_0_attentions_0", "mid_block_attentions_0", "up_blocks_1_attentions_0",
    "up_blocks_1_attentions_1",
)  # fmt: skip
"""Transformers of the tiny base, of one layer each, as diffusers and kohya's tools name them."""


def test_its_keys_are_those_that_kohyas_tools_and_comfyui_know(tmp_path):
    """All of them, and no other: prefix, the module's path with _ for dots, and three tensors each."""
    save_lora(
        map_lora(trained(tiny_unet(), config(rank=2, trigger="depth map, "))), tmp_path / "depth.safetensors"
    )
    tensors = load_file(tmp_path / "depth.safetensors")
    expected = {}
    for block, width in zip(BLOCKS, (16, 32, 16, 16), strict=True):
        for attention, text_width in (("attn1", width), ("attn2", 12)):
            for matrix in ("to_q", "to_k", "to_v", "to_out_0"):
                key = f"lora_unet_{block}_transformer_blocks_0_{attention}_{matrix}"
                seen = text_width if matrix in ("to_k", "to_v") else width
                expected |= {
                    f"{key}.lora_down.weight": (2, seen), f"{key}.lora_up.weight": (width, 2),
                    f"{key}.alpha": (),
                }  # fmt: skip
    assert {key: tuple(tensor.shape) for key, tensor in tensors.items()} == expected
    assert {float(tensor) for key, tensor in tensors.items() if key.endswith(".alpha")} == {2.0}
    with safe_open(tmp_path / "depth.safetensors", "pt") as file:
        about = file.metadata()
    assert (about["ss_network_module"], about["ss_network_dim"]) == ("networks.lora", "2")
    assert about["ss_network_alpha"] == "2.0"
    assert (about["modelspec.title"], about["modelspec.trigger_phrase"]) == ("depth maps", "depth map")


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
