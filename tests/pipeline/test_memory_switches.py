"""Do diffusers' switches of memory do what they say, and leave what is grafted where it is?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AutoencoderDC
from diffusers.models.attention_processor import AttnProcessor2_0

from tests.pipeline.conftest import call
from tests.tiny_base import save_tiny_base
from unicon import UniConPipeline
from unicon.latents import decode, encode
from unicon.mini import mini_folder


def test_a_call_uses_the_vaes_tiles_and_slices_and_leaves_them_again(pipe):
    """The tile is 32 px; this VAE's weights are random, so that parts are far from the whole."""
    asked = {"prompt": ["a dog", "a cat"], "height": 64, "num_inference_steps": 1}
    whole = call(pipe, **asked).images
    pipe.enable_vae_tiling()
    tiled = call(pipe, **asked).images
    assert tiled.shape == whole.shape
    assert not np.allclose(tiled, whole, atol=1e-3)
    pipe.disable_vae_tiling()
    pipe.enable_vae_slicing()
    assert pipe.vae.use_slicing
    np.testing.assert_allclose(call(pipe, **asked).images, whole, atol=1e-5)
    pipe.disable_vae_slicing()
    assert np.array_equal(call(pipe, **asked).images, whole)


@torch.no_grad()
def test_minis_vae_in_parts_is_near_the_whole():
    vae = AutoencoderDC.from_pretrained(mini_folder() / "vae").float()
    coarse = torch.rand(1, 3, 33, 4, generator=torch.Generator().manual_seed(0))
    pictures = torch.nn.functional.interpolate(coarse, (528, 64), mode="bilinear")
    latents = encode(vae, pictures)
    back = decode(vae, latents)
    vae.enable_tiling()
    latent_error = (encode(vae, pictures) - latents).abs()
    error = (decode(vae, latents) - back).abs()
    assert 0 < float(latent_error.mean()) < 0.02 * float(latents.std())
    assert 0 < float(error.mean()) < 0.005
    assert float(error.max()) < 0.1


def test_attention_of_another_kind_is_refused_while_something_is_grafted(tmp_path):
    pipe = UniConPipeline.from_pretrained(save_tiny_base(tmp_path / "tiny"))
    processors = dict(pipe.unet.attn_processors)
    for switch in (
        pipe.enable_attention_slicing,
        pipe.disable_attention_slicing,
        pipe.enable_xformers_memory_efficient_attention,
        pipe.disable_xformers_memory_efficient_attention,
    ):
        with pytest.raises(ValueError, match="would silently take adapters.*unload_adapter.. first"):
            switch()
    assert pipe.unet.attn_processors == processors
    pipe.unload_adapter()
    pipe.enable_attention_slicing()


def test_what_takes_their_place_all_the_same_is_named_before_anything_is_drawn(tmp_path):
    pipe = UniConPipeline.from_pretrained(save_tiny_base(tmp_path / "tiny"))
    pipe.unet.set_attn_processor(AttnProcessor2_0())
    for ask in (
        lambda: pipe("a dog", num_inference_steps=1),
        lambda: pipe.predict(torch.zeros(1, 4, 8, 8), 1, torch.zeros(1, 16, 12), pairs=[]),
    ):
        with pytest.raises(ValueError, match="AttnProcessor2_0 in the place of .* adapters would be ignored"):
            ask()
