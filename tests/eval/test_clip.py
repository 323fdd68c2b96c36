"""Are texts and pictures embedded as transformers' CLIP embeds them?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from eval.clip import Clip
from eval.pictures import Pictures
from tests.tiny_clip import save_tiny_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


def test_a_whole_clip_gives_its_own_embeddings(folder):
    clip, whole = Clip(str(folder)), CLIPModel.from_pretrained(folder).eval()
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    found = clip.pictures(Pictures(("p",), lambda _: picture)).values
    texts = clip.of_texts(["a cat", "two cats", "a cat"])
    assert texts.num_cut == 0
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1
    words = clip.tokenizer(["a cat", "two cats"], padding="max_length",
                           max_length=clip.tokenizer.model_max_length, return_tensors="pt")  # fmt: skip
    with torch.no_grad():
        out = whole(input_ids=words.input_ids, pixel_values=pixels)
    for mine, theirs in ((found, out.image_embeds), (texts.values[:2], out.text_embeds)):
        unit = mine / np.linalg.norm(mine, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, theirs.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(texts.values[0], texts.values[2])
    assert clip.source == f"{folder}, 16 px, centred square, bicubic"


def test_texts_that_are_cut_are_counted(folder):
    assert Clip(str(folder)).of_texts(["a cat", "cat " * 200, "cat " * 200]).num_cut == 2


def test_the_mini_clip_is_there():
    found = Clip().of_texts(["a red cube", "a person waving"])
    assert found.values.shape == (2, 128)
    assert found.num_cut == 0


def test_what_is_no_clip_is_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="no such folder with config.json"):
        Clip(str(tmp_path))
    with pytest.raises(ValueError, match="no text to embed"):
        Clip(str(folder)).of_texts([])
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
                       image_size=16, patch_size=8)  # fmt: skip
    ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds no CLIP with a text encoder and a tokenizer"):
        Clip(str(tmp_path))
