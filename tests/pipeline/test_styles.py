"""Does a style change the image and nothing else, bring its words, and keep its credits?"""

from __future__ import annotations

import accelerate
import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image

from adapters import ImageLora, lora_weights, save_lora
from adapters.layer_lora import graft_layers, ungraft_layers
from adapters.lowrank import LowRank
from tests.pipeline.conftest import ROUNDING, call
from tests.tiny_base import tiny_pipeline
from unicon import Branch, UniConPipeline
from unicon.limits import strangeness
from unicon.sources import style_name
from unicon.styles import StyleCard, with_phrases
from unicon.texts import TextReader

CARD = StyleCard(title="Ink", phrase="in ink", author="Ada", licence="CC-BY-4.0", allowed_use="anything")


@pytest.fixture
def own(tmp_path) -> UniConPipeline:
    return tiny_pipeline(tmp_path / "words")


def style(pipe: UniConPipeline, path, card: StyleCard = CARD, seed: int = 0):
    """A style file whose LoRA changes something."""
    lora = ImageLora.for_unet(pipe.unet, 2, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for _, update in lora.items():
        update.up.data.copy_(torch.randn(update.up.shape, generator=generator))
    lora.metadata = card.metadata()
    save_lora(lora, path)
    return path


def test_images_change_and_estimates_do_not(own, tmp_path, photo, depth):
    drawn, read = call(own, "a dog", depth=depth), call(own, image=photo, outputs=["depth"])
    own.load_style(style(own, tmp_path / "ink.safetensors"))
    assert not np.array_equal(call(own, "a dog", depth=depth).images, drawn.images)
    assert np.array_equal(call(own, image=photo, outputs=["depth"]).maps["depth"], read.maps["depth"])
    own.set_style("ink", 0)
    assert np.array_equal(call(own, "a dog", depth=depth).images, drawn.images)
    own.unload_style()
    assert own.styles == {}
    assert np.array_equal(call(own, "a dog", depth=depth).images, drawn.images)


def test_set_adapters_weights_all_styles_as_in_diffusers(own, tmp_path):
    for name in ("ink", "oil"):
        own.load_style(style(own, tmp_path / f"{name}.safetensors"))
    for asked, weights in (
        (("ink",), {"ink": 1.0, "oil": 0.0}),
        ((["oil", "ink"], [0.5, None]), {"ink": 1.0, "oil": 0.5}),
        ((["ink", "oil"], 0.3), {"ink": 0.3, "oil": 0.3}),
        (([],), {"ink": 0.0, "oil": 0.0}),
    ):
        own.set_adapters(*asked)
        assert lora_weights(own.unet) == weights
    for asked, match in (
        (("depth", 0.6), r"depth=Branch\(map=picture, weight=0.6\); set_adapters weights styles"),
        (("chalk",), "no style 'chalk' is loaded, only ink, oil"),
        ((["ink"], [1.0, 2.0]), "got 2 weights for 1 styles; give one, or one for each"),
        (("ink", {"down": 1.0}), "weight of 'ink' must be a finite number"),
    ):
        with pytest.raises(ValueError, match=match):
            own.set_adapters(*asked)
    assert lora_weights(own.unet) == {"ink": 0.0, "oil": 0.0}


def test_its_phrase_follows_the_images_prompt_alone(own, tmp_path):
    def joint(prompt, map_prompt):
        from unicon import Branch

        out = call(own, prompt, conditions={"depth": Branch(prompt=map_prompt)}, outputs=["image", "depth"])
        return out.images, out.maps["depth"]

    own.load_style(style(own, tmp_path / "ink.safetensors"))
    found = joint("a dog", "a dog")
    same = joint("a dog, in ink", "a dog")  # said already: not twice
    assert all(np.array_equal(a, b) for a, b in zip(found, same, strict=True))
    other = joint("a dog", "a dog, in ink")
    assert not np.array_equal(found[1], other[1])
    assert with_phrases(None, ["in ink"]) == "in ink"
    assert with_phrases(["a", "b, in ink"], ["in ink", "on paper"]) == [
        "a, in ink, on paper",
        "b, in ink, on paper",
    ]
    assert with_phrases(None, []) is None
    assert with_phrases("a pink chair", ["ink"]) == "a pink chair, ink"


def test_a_long_prompt_makes_room_for_the_styles_words(tmp_path):
    def short(text: str) -> bool:
        return len(text) <= 20

    assert with_phrases("a red chair, by a tree", ["in ink"], short) == "a red chair, in ink"
    assert with_phrases(["a dog", "x" * 30], ["in ink"], short) == ["a dog, in ink", f"{'x' * 12}, in ink"]
    assert with_phrases("girl,solo,long_hair,red", ["in ink"], short) == "girl,solo, in ink"
    assert with_phrases("a dog", ["x" * 30], short) == f"a dog, {'x' * 30}", "nothing makes room for that"
    assert with_phrases("in ink, a red chair by a tree", ["in ink"], short) == "in ink, a red chair by a tree"
    reader = TextReader.of(tiny_pipeline(tmp_path))
    most = reader.tokenizers[0].model_max_length
    told = with_phrases("dog " * most, ["in ink"], reader.fits)
    assert told.endswith("dog, in ink")
    assert reader.fits(told)
    assert not reader.fits(f"dog {told}")


def test_styles_stack_and_keep_their_credits(own, tmp_path):
    own.load_style(style(own, tmp_path / "ink.safetensors"))
    own.load_style(style(own, tmp_path / "wash.v2.safetensors", StyleCard(), seed=1), weight=0.5)
    assert own.credits() == [
        "Ink (author: Ada; licence: CC-BY-4.0; allowed use: anything)",
        "wash_v2 (says nothing about itself)",
    ]
    own.set_style("wash_v2", 0)
    assert len(own.credits()) == 1
    assert own.styles["ink"] == CARD


def test_styles_are_saved_with_the_pipeline_and_come_back(own, tmp_path, depth):
    own.load_style(style(own, tmp_path / "ink.safetensors"), weight=0.25)
    before = call(own, "a dog", depth=depth).images
    own.save_pretrained(tmp_path / "saved")
    again = UniConPipeline.from_pretrained(tmp_path / "saved")
    again.set_progress_bar_config(disable=True)
    assert again.styles == {"ink": CARD}
    np.testing.assert_allclose(call(again, "a dog", depth=depth).images, before, atol=ROUNDING)
    own.unload_style("ink")
    with pytest.raises(ValueError, match="holds ink, not loaded here"):
        own.save_pretrained(tmp_path / "saved")


def test_merged_and_offloaded_styles_draw_the_same(own, tmp_path, depth, monkeypatch):
    own.load_style(style(own, tmp_path / "ink.safetensors"), weight=0.5)
    before = call(own, "a dog", depth=depth).images
    own.merge_for_inference()
    np.testing.assert_allclose(call(own, "a dog", depth=depth).images, before, atol=1e-4)
    own.unmerge()
    offload, plain = accelerate.cpu_offload, torch.device("cpu")  # diffusers' "cpu:0" is another to torch
    monkeypatch.setattr("accelerate.cpu_offload", lambda m, device, **options: offload(m, plain, **options))
    for _ in range(2):  # the second time it is already
        own.enable_sequential_cpu_offload(device="cpu")
    np.testing.assert_allclose(call(own, "a dog", depth=depth).images, before, atol=1e-5)


def test_an_image_that_is_drawn_first_has_the_words_and_the_next_stage_is_estimation(own, tmp_path):
    image = Branch(stages=((0, 1), (1, 1)))
    depth = {"depth": Branch(stages=((0, 0), (0, 1)), prompt="a dog")}
    own.load_style(style(own, tmp_path / "ink.safetensors"))
    said = call(own, "a dog, in ink", image, conditions=depth).images
    np.testing.assert_array_equal(call(own, "a dog", image, conditions=depth).images, said)
    own.set_style("ink", 0)
    assert not np.array_equal(call(own, "a dog", image, conditions=depth).images, said)


def test_what_is_familiar_does_not_depend_on_a_style_or_on_the_others_of_a_batch(own, tmp_path, photo):
    picture = Image.fromarray((photo * 255).astype(np.uint8))
    before = strangeness(own, [picture])[0].surprise
    own.load_style(style(own, tmp_path / "ink.safetensors"))
    found = [each.surprise for each in strangeness(own, [picture] * 3)]
    np.testing.assert_allclose(found, before, rtol=1e-5)


def test_pipelines_that_share_a_text_encoder_leave_each_others_styles_alone(own, tmp_path):
    other = tiny_pipeline(tmp_path / "more")
    other.text_encoder = own.text_encoder
    path = "text_model.encoder.layers.0.self_attn.q_proj"
    path = path if path in dict(own.text_encoder.named_modules()) else path.removeprefix("text_model.")
    graft_layers(own.text_encoder, "ink", {path: LowRank(*_sizes(own.text_encoder, path), 2)})
    other.unload_style()
    hooked = own.text_encoder.__dict__["_lora_layers"]
    assert set(hooked[path].updates) == {"ink"}
    with pytest.raises(ValueError, match="a LoRA 'ink' is already on this network, perhaps by another"):
        graft_layers(own.text_encoder, "ink", {path: LowRank(*_sizes(own.text_encoder, path), 2)})
    ungraft_layers(own.text_encoder, ["ink"])
    assert not hooked


def _sizes(encoder, path) -> tuple[int, int]:
    layer = encoder.get_submodule(path)
    return layer.in_features, layer.out_features


def test_a_style_is_called_after_its_file_or_its_repository(own, tmp_path):
    (tmp_path / "me@work").mkdir()
    own.load_style(style(own, tmp_path / "me@work" / "ink.safetensors"))
    own.load_style(style(own, tmp_path / "me@work" / "oil.v2.safetensors"))
    assert list(own.styles) == ["ink", "oil_v2"]
    assert style_name("ada/pens@v1/pen.safetensors") == "pen"
    assert style_name("ada/pens@v1") == "pens"
    for weight in (float("nan"), "much"):
        with pytest.raises(ValueError, match="must be a finite number"):
            own.set_style("ink", weight)
        with pytest.raises(ValueError, match="must be a finite number"):
            own.load_style(tmp_path / "me@work" / "ink.safetensors", "again", weight=weight)


def test_embeddings_of_prompts_are_those_that_a_call_makes(own, tmp_path):
    own.load_style(style(own, tmp_path / "ink.safetensors"))
    guided = {"negative_prompt": "bad", "guidance_scale": 3.0}
    said = call(own, "a dog", **guided).images
    embeddings = {
        "prompt_embeds": own.encode_prompts(["a dog"]),
        "negative_prompt_embeds": own.encode_prompts(["bad"], negative=True),
    }
    np.testing.assert_array_equal(call(own, **embeddings, guidance_scale=3.0).images, said)


def test_a_noisy_image_that_is_held_is_in_no_style(own, tmp_path, photo):
    def estimated():
        image = Branch(map=photo, noise=0.4, hold=True)
        return call(own, "a dog", image, outputs=["depth"]).maps["depth"]

    before = estimated()
    own.load_style(style(own, tmp_path / "ink.safetensors"))
    np.testing.assert_array_equal(estimated(), before)


def test_an_offload_that_fails_leaves_everything_where_it_was(own, tmp_path, depth, monkeypatch):
    own.load_style(style(own, tmp_path / "ink.safetensors"), weight=0.5)
    before = call(own, "a dog", depth=depth).images

    def fails(*args, **kwargs):
        raise RuntimeError("no accelerator")

    with monkeypatch.context() as patched:
        patched.setattr(DiffusionPipeline, "enable_sequential_cpu_offload", fails)
        with pytest.raises(RuntimeError, match="no accelerator"):
            own.enable_sequential_cpu_offload()
    np.testing.assert_array_equal(call(own, "a dog", depth=depth).images, before)


def test_a_name_that_would_be_a_folder_is_refused(own, tmp_path):
    with pytest.raises(ValueError, match="name 'me/ink': must be a non-empty name without dots and slashes"):
        own.load_style(style(own, tmp_path / "ink.safetensors"), name="me/ink")
