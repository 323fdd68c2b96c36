"""Do diffusers' switches of attention leave what is grafted where it is?"""

from __future__ import annotations

import pytest

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
