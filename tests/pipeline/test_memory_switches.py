"""Do diffusers' switches of attention leave what is grafted where it is?"""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0

from tests.tiny_base import save_tiny_base
from unicon import UniConPipeline


def test_attention_slicing_is_refused_while_something_is_grafted(tmp_path):
    pipe = UniConPipeline.from_pretrained(save_tiny_base(tmp_path / "tiny"))
    processors = dict(pipe.unet.attn_processors)
    for switch in (pipe.enable_attention_slicing, pipe.disable_attention_slicing):
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
