"""Does a captioner load as saved, and say the same of the same picture?"""

from __future__ import annotations

import PIL.Image
import pytest
import torch
from transformers import BertTokenizer, BlipConfig, BlipForConditionalGeneration, BlipProcessor
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from unicon.data.captioner import Captioner

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[DEC]",
    "a",
    "red",
    "chair",
    "dog",
    "on",
    "the",
    "lawn",
]


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """A BLIP folder of tiny random weights."""
    folder = tmp_path_factory.mktemp("blip")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    tokenizer = BertTokenizer(str(folder / "vocab.txt"), additional_special_tokens=["[DEC]"])
    text = {
        "vocab_size": len(WORDS), "hidden_size": 12, "encoder_hidden_size": 12, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 48, "bos_token_id": 5,
        "pad_token_id": 0, "eos_token_id": 3, "sep_token_id": 3,
    }  # fmt: skip
    seen = {
        "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 8,
    }  # fmt: skip
    torch.manual_seed(0)
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=seen, projection_dim=8))
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=1.0)
    model.save_pretrained(folder)
    BlipProcessor(BlipImageProcessorPil(size={"height": 16, "width": 16}), tokenizer).save_pretrained(folder)
    return folder


def test_a_caption_is_of_the_models_words_and_always_the_same(blip):
    captioner = Captioner(str(blip))
    picture = PIL.Image.linear_gradient("L").convert("RGB")
    said = captioner(picture)
    assert said
    assert set(said.split()) <= set(WORDS[6:])
    assert captioner(picture) == said == Captioner(str(blip))(picture)
    assert captioner(PIL.Image.new("RGB", (40, 30), "white")) != said


def test_folders_that_are_no_captioner_are_named(tmp_path):
    with pytest.raises(ValueError, match="is no image-to-text folder of transformers"):
        Captioner(str(tmp_path))
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match="a.txt': is a file; name a transformers folder"):
        Captioner(str(tmp_path / "a.txt"))


def test_a_captioner_that_is_not_here_comes_with_the_command(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="hf download no-one/no-captioner"):
        Captioner("no-one/no-captioner")
