"""Does a bare base draw what diffusers' own pipeline draws with it, whatever kind of base it is?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LCMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from adapters import ImageLora, JointAdapter, save_lora
from adapters.base import geometry
from adapters.image_lora import matrix_names
from adapters.layer_lora import new_update, updatable
from tests.adapters.tiny import config, sdxl_like_unet, tiny_unet, trained
from tests.pipeline.conftest import ROUNDING, call
from tests.pipeline.original_names import original_checkpoint
from tests.tiny_base import tiny_text_encoder, tiny_tokenizer
from unicon import Branch, UniConPipeline
from unicon.texts import TextReader

SIDE_PX = 64
LATENTS = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def vae_of_factor_8() -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(4, 4, 4, 4),
        norm_num_groups=2,
        latent_channels=4,
        sample_size=SIDE_PX,
    ).eval()


def encoder(tokenizer, kind: type, width: int, pooled: int) -> Any:
    torch.manual_seed(width)
    settings = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=1, max_position_embeddings=tokenizer.model_max_length, projection_dim=pooled,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return kind(settings).eval()


def ddim(**settings: Any) -> DDIMScheduler:
    return DDIMScheduler(clip_sample=False, steps_offset=1, **settings)


def stable_diffusion(words, **scheduler: Any) -> StableDiffusionPipeline:
    tokenizer = tiny_tokenizer(words)
    return StableDiffusionPipeline(
        vae=vae_of_factor_8(), text_encoder=tiny_text_encoder(tokenizer), tokenizer=tokenizer,
        unet=tiny_unet(), scheduler=ddim(**scheduler), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip


def version_1(words) -> StableDiffusionPipeline:
    return stable_diffusion(words, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)


def version_2(words) -> StableDiffusionPipeline:
    """v-prediction down to no signal at all."""
    return stable_diffusion(
        words, beta_schedule="scaled_linear", prediction_type="v_prediction", rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )  # fmt: skip


def told_its_guidance(words) -> StableDiffusionPipeline:
    """As latent consistency models are: guidance is part of what the UNet was distilled from."""
    pipe: Any = version_1(words)
    torch.manual_seed(0)
    config = {**pipe.unet.config, "time_cond_proj_dim": 6}
    del config["_use_default_values"]  # among which this field is listed: it would be 6 in vain
    pipe.register_modules(unet=UNet2DConditionModel.from_config(config).eval())
    return pipe


def xl(words) -> StableDiffusionXLPipeline:
    tokenizer = tiny_tokenizer(words)
    return StableDiffusionXLPipeline(
        vae=vae_of_factor_8(), tokenizer=tokenizer, tokenizer_2=tokenizer,
        text_encoder=encoder(tokenizer, CLIPTextModel, 5, 5),
        text_encoder_2=encoder(tokenizer, CLIPTextModelWithProjection, 7, 7),
        unet=sdxl_like_unet(), scheduler=ddim(beta_schedule="scaled_linear"),
    )  # fmt: skip


@pytest.mark.parametrize("make", [version_1, version_2, told_its_guidance, xl])
@pytest.mark.parametrize("negative", [None, "blurry"])
def test_a_bare_base_draws_as_diffusers_does(make, negative, tmp_path):
    theirs: Any = make(tmp_path / "words")
    theirs.set_progress_bar_config(disable=True)
    theirs.save_pretrained(tmp_path / "base")
    ours = UniConPipeline.from_pretrained(tmp_path / "base")
    arguments = {"num_inference_steps": 4, "guidance_scale": 5.0, "negative_prompt": negative}
    expected = theirs(
        "a red cube", latents=LATENTS, height=SIDE_PX, width=SIDE_PX, output_type="np", **arguments
    ).images
    found = call(ours, "a red cube", latents=LATENTS, height=SIDE_PX, width=SIDE_PX, **arguments).images
    np.testing.assert_allclose(found, expected, atol=2e-4)
    other = call(ours, "a blue ball", latents=LATENTS, height=SIDE_PX, width=SIDE_PX, **arguments).images
    assert np.abs(other - expected).max() > 1e-3  # words are heard at all


def test_a_base_that_is_told_its_guidance_is_told_it_at_every_step(tmp_path):
    pipe = UniConPipeline.from_pipe(told_its_guidance(tmp_path / "words"))
    with pytest.raises(ValueError, match="guidance_interval has no effect: this base was distilled with its"):
        call(pipe, "a cube", guidance_scale=5.0, guidance_interval=(0.0, 0.7))


def test_xl_with_an_adapter_in_every_direction(tmp_path):
    pipe = UniConPipeline.from_pipe(xl(tmp_path / "words"))
    pipe.add_adapter(trained(pipe.unet), "depth")
    grey = np.full((SIDE_PX, SIDE_PX, 3), 0.5, np.float32)
    drawn = call(pipe, "a cube", depth=grey, guidance_scale=3.0)
    told = call(pipe, image=drawn.images, outputs=["depth"])
    both = call(pipe, "a cube", outputs=["image", "depth"], height=SIDE_PX, width=SIDE_PX)
    shapes = [drawn.images.shape, told.conditions["depth"].shape, both.images.shape]
    assert shapes == [(1, SIDE_PX, SIDE_PX, 3)] * 3
    rows = pipe.encode_prompts(["a cube"])
    assert rows.shape == (1, 17, 12)  # the pooled embedding is the last row
    again = call(pipe, depth=Branch(map=grey, prompt="a cube"), prompt_embeds=rows, guidance_scale=3.0)
    np.testing.assert_allclose(again.images, drawn.images, atol=1e-5)
    pipe.save_pretrained(tmp_path / "saved")
    loaded = UniConPipeline.from_pretrained(tmp_path / "saved")
    assert loaded.config["force_zeros_for_empty_prompt"] is True
    same = call(loaded, "a cube", depth=grey, guidance_scale=3.0)
    np.testing.assert_allclose(same.images, drawn.images, atol=ROUNDING)


def test_the_refiner_and_half_a_base_are_refused(tmp_path):
    whole = xl(tmp_path / "words").components
    with pytest.raises(ValueError, match="is told 7 pooled numbers .* makes none"):
        UniConPipeline(**{**_ours(whole), "text_encoder_2": None, "tokenizer_2": None})
    wider = sdxl_like_unet()
    wider.register_to_config(projection_class_embeddings_input_dim=5 * 8 + 7)
    with pytest.raises(ValueError, match="refiner"):
        UniConPipeline(**{**_ours(whole), "unet": wider})


def _ours(components: dict[str, Any]) -> dict[str, Any]:
    names = ("vae", "text_encoder", "tokenizer", "unet", "scheduler", "text_encoder_2", "tokenizer_2")
    return {name: components[name] for name in names}


def test_an_adapter_says_which_family_it_is_for(tmp_path):
    first = JointAdapter.for_unet(tiny_unet(cross_attention_dim=768), config())
    pipe = UniConPipeline.from_pipe(version_1(tmp_path / "words"))
    pipe.unet = UNet2DConditionModel.from_config(tiny_unet(cross_attention_dim=1024).config)
    with pytest.raises(
        ValueError, match=r"another base \(stable-diffusion-v1, this one is stable-diffusion-v2\)"
    ):
        pipe.add_adapter(first)


@pytest.mark.parametrize("make", [version_1, version_2, xl])
def test_a_single_file_is_the_base_it_was_made_of(make, tmp_path):
    theirs: Any = make(tmp_path / "words")
    theirs.save_pretrained(tmp_path / "base")
    file = tmp_path / "base.safetensors"
    save_file({n: t.contiguous() for n, t in original_checkpoint(theirs).items()}, file)
    found = UniConPipeline.from_pretrained(f"{file},config={tmp_path / 'base'}", local_files_only=True)
    assert found.commit is None
    assert found.scheduler.config["prediction_type"] == theirs.scheduler.config["prediction_type"]
    names = ("unet", "vae", "text_encoder", *(["text_encoder_2"] if make is xl else []))
    for name in names:
        expected = getattr(theirs, name).state_dict()
        for key, tensor in getattr(found, name).state_dict().items():
            assert torch.equal(tensor, expected[key]), (name, key)


def test_a_single_file_and_the_components_of_a_pipeline_keep_their_number_format(tmp_path):
    theirs = version_1(tmp_path / "words")
    theirs.save_pretrained(tmp_path / "base")
    file = tmp_path / "base.safetensors"
    save_file({n: t.contiguous() for n, t in original_checkpoint(theirs).items()}, file)
    place = f"{file},config={tmp_path / 'base'}"
    half = UniConPipeline.from_pretrained(place, local_files_only=True, dtype=torch.float16)
    shared = UniConPipeline.from_pipe(half)
    assert {m.dtype for m in (half.unet, half.vae, half.text_encoder)} == {torch.float16}
    assert shared.unet is half.unet
    assert half.unet.dtype == torch.float16
    assert UniConPipeline.from_pipe(half, dtype=torch.float32).unet.dtype == torch.float32


def test_a_single_file_whose_configuration_cannot_be_had_says_how_to_fetch_it(tmp_path):
    file = tmp_path / "base.safetensors"
    theirs = version_1(tmp_path / "words")
    save_file({n: t.contiguous() for n, t in original_checkpoint(theirs).items()}, file)
    command = (
        r"`hf download {} --include '\*.json' --include '\*.txt'` .* --base \S+,config=FOLDER, in Python"
    )
    with pytest.raises(ValueError, match=command.format("stable-diffusion-v1-5/stable-diffusion-v1-5")):
        UniConPipeline.from_pretrained(file)
    with pytest.raises(ValueError, match=command.format("some/absent")):
        UniConPipeline.from_single_file(file, config="some/absent")


@pytest.mark.parametrize("make", [version_1, xl])
def test_a_style_from_elsewhere_draws_as_in_diffusers_and_leaves_the_map_its_words(make, tmp_path):
    """All of it: attentions, feed-forwards, convolutions, text encoders."""
    pytest.importorskip("peft")
    theirs: Any = make(tmp_path / "words")
    theirs.set_progress_bar_config(disable=True)
    ours = UniConPipeline.from_pipe(theirs)
    file, encoders = tmp_path / "ink.safetensors", TextReader.of(ours).encoders
    save_lora(whole_lora(ours.unet, encoders), file)
    ours.add_adapter(trained(ours.unet), "depth")
    rows = {styled: TextReader.of(ours)(["a cube"], styled=styled) for styled in (False, True)}
    photo = np.full((SIDE_PX, SIDE_PX, 3), 0.3, np.float32)
    told = call(ours, "a cube", image=photo, outputs=["depth"]).maps["depth"]
    ours.load_style(file, "ink")
    again = call(ours, "a cube", image=photo, outputs=["depth"]).maps["depth"]
    np.testing.assert_array_equal(again, told)  # nothing is drawn, so nothing of a style, its words neither
    reader = TextReader.of(ours)
    assert torch.equal(reader(["a cube"]), rows[False])  # a map's words
    assert not torch.allclose(reader(["a cube"], styled=True), rows[True], atol=1e-3)
    arguments = {"num_inference_steps": 3, "guidance_scale": 3.0, "latents": LATENTS}
    size = {"height": SIDE_PX, "width": SIDE_PX}
    found = call(ours, "a cube", **arguments, **size).images
    ours.save_pretrained(tmp_path / "saved")
    again = UniConPipeline.from_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(call(again, "a cube", **arguments, **size).images, found, atol=1e-5)
    ours.unload_style()
    assert torch.equal(TextReader.of(ours)(["a cube"], styled=True), rows[True])
    ours.unload_adapter()
    plain = call(ours, "a cube", **arguments, **size).images
    theirs.load_lora_weights(file)
    expected = theirs("a cube", output_type="np", **arguments, **size).images
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert np.abs(plain - expected).max() > 1e-2


def test_a_lora_that_makes_a_base_few_step_is_merged_with_diffusers_and_serves_maps_too(tmp_path):
    """As those of latent consistency models: fused into the base, which then has another scheduler."""
    pytest.importorskip("peft")
    theirs: Any = version_1(tmp_path / "words")
    theirs.set_progress_bar_config(disable=True)
    plain = UniConPipeline.from_pipe(theirs)
    plain.add_adapter(trained(plain.unet), "depth")
    photo = np.full((SIDE_PX, SIDE_PX, 3), 0.3, np.float32)
    told = call(plain, image=photo, outputs=["depth"]).maps["depth"]
    save_lora(whole_lora(plain.unet, TextReader.of(plain).encoders), tmp_path / "lcm.safetensors")
    plain.unload_adapter()
    theirs.load_lora_weights(tmp_path / "lcm.safetensors")
    theirs.fuse_lora()
    theirs.unload_lora_weights()
    theirs.save_pretrained(tmp_path / "fused")
    ours = UniConPipeline.from_pretrained(tmp_path / "fused")
    arguments = {"num_inference_steps": 3, "guidance_scale": 3.0, "latents": LATENTS}
    size = {"height": SIDE_PX, "width": SIDE_PX}
    expected = theirs("a cube", output_type="np", **arguments, **size).images
    np.testing.assert_allclose(call(ours, "a cube", **arguments, **size).images, expected, atol=2e-4)
    ours.add_adapter(trained(ours.unet), "depth")
    assert np.abs(call(ours, image=photo, outputs=["depth"]).maps["depth"] - told).max() > 1e-3
    ours.scheduler = LCMScheduler.from_config(ours.scheduler.config)
    drawn = call(ours, "a cube", depth=photo, num_inference_steps=2).images
    assert drawn.shape == (1, SIDE_PX, SIDE_PX, 3)
    assert np.isfinite(drawn).all()


def whole_lora(unet, encoders) -> ImageLora:
    base = geometry(unet)
    attentions = matrix_names(base)
    layers = {
        n: new_update(layer, 2)
        for n, layer in updatable(unet).items()
        if n not in attentions and "add_embedding" not in n  # which diffusers misreads
    }
    labels = ("te",) if len(encoders) == 1 else ("te1", "te2")
    text = {
        f"{label}.{n}": new_update(layer, 2)
        for label, encoder in zip(labels, encoders, strict=True)
        for n, layer in updatable(encoder).items()
        if "text_projection" not in n
    }
    lora = ImageLora(base, dict.fromkeys(attentions, 2), layers=layers, text=text)
    generator = torch.Generator().manual_seed(7)
    for tensor in lora.parameters():
        tensor.data.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return lora.requires_grad_(False)
