"""How strictly a prompt is followed where nobody says, in Python and on the command line alike."""

from __future__ import annotations

import numpy as np
import pytest
from diffusers import DDIMScheduler, LCMScheduler

from tests.pipeline.conftest import call
from unicon import Branch
from unicon.usual_guidance import usual_guidance


@pytest.mark.parametrize(
    "own_px, scheduler, is_told, scale",
    [
        (128, DDIMScheduler, False, 2.0),
        (512, DDIMScheduler, False, 5.0),
        (512, LCMScheduler, False, 1.0),
        (512, LCMScheduler, True, 5.0),
    ],
)
def test_the_base_decides(own_px, scheduler, is_told, scale):
    assert usual_guidance(own_px, scheduler(), is_told=is_told) == scale


@pytest.mark.parametrize(
    "words, scale",
    [
        ({"prompt": "a dog"}, 2.0),
        ({"image": Branch(prompt="a dog")}, 2.0),
        ({"negative_prompt": "a cat"}, 2.0),
        ({"prompt": "a dog", "image": Branch(guidance_scale=3.0)}, 3.0),
        ({}, 1.0),
    ],
    ids=["prompt", "in the branch", "negative", "said in the branch", "no words"],
)
def test_a_call_without_a_scale_is_one_with_that_of_the_base(pipe, depth, words, scale):
    images = [
        call(pipe, depth=depth, num_inference_steps=2, guidance_scale=said, **words).images
        for said in (None, scale)
    ]
    assert np.array_equal(*images)
    if scale == 2.0:
        far = call(pipe, depth=depth, num_inference_steps=2, guidance_scale=4.0, **words).images
        assert np.abs(far - images[0]).max() > 1e-3


@pytest.mark.parametrize("words, passes", [(None, 1), ("", 1), ([""], 1), ("a dog", 2)])
def test_without_words_nothing_is_computed_for_guidance(pipe, words, passes):
    seen = []
    hook = pipe.unet.register_forward_pre_hook(
        lambda module, given, named: seen.append(len(given[0] if given else named["sample"])),
        with_kwargs=True,
    )
    call(pipe, words, num_inference_steps=1, guidance_scale=None)
    hook.remove()
    assert seen == [passes]


def test_embeddings_are_words_too_and_a_held_image_is_not_guided(pipe, photo):
    rows = pipe.encode_prompts(["a dog"])
    plain, usual = (call(pipe, prompt_embeds=rows, guidance_scale=s).images for s in (2.0, None))
    assert np.array_equal(plain, usual)
    one, usual = (
        call(pipe, "a dog", image=photo, outputs=["depth"], guidance_scale=s).maps["depth"]
        for s in (1.0, None)
    )
    assert np.array_equal(one, usual)
