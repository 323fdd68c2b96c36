"""What bad arguments of the call get."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
import torch

from tests.pipeline.conftest import call, seeded
from unicon import Branch
from unicon.call.arguments import ELSEWHERE

GREY = np.full((32, 32, 3), 0.5, np.float32)
NAN = torch.full((1, 4, 8, 8), float("nan"))

WRONG = [
    ({"output_type": "jpg"}, "output_type is 'jpg'; choose one of pil, np, pt, latent"),
    ({"held_clean": "always"}, "held_clean is 'always'; choose auto, shortcut or two_way"),
    ({"num_inference_steps": 0}, "num_inference_steps must be a whole number of at least 1, got 0"),
    ({"timesteps": [5, 500]}, "timesteps must descend"),
    ({"num_inference_steps": 1.5}, "num_inference_steps must be a whole number of at least 1, got 1.5"),
    ({"num_inference_steps": True}, "num_inference_steps must be a whole number of at least 1, got True"),
    ({"num_inference_steps": "20"}, "num_inference_steps must be a whole number of at least 1, got '20'"),
    ({"num_inference_steps": None}, "num_inference_steps must be a whole number of at least 1, got None"),
    ({"num_inference_steps": 10**6}, "num_steps must be 1 to"),
    ({"timesteps": 500}, "timesteps is 500; give a list of numbers that descend"),
    ({"timesteps": torch.tensor([500.0, float("nan")])}, "each of timesteps must be a number .*, got nan"),
    ({"timesteps": ["500"]}, "each of timesteps must be a number of at least 0, got '500'"),
    ({"eta": 1.5}, "eta must be a number from 0 to 1, got 1.5; 0 adds no fresh noise"),
    ({"eta": "1"}, "eta must be a number from 0 to 1, got '1'"),
    ({"temperature": -0.5}, "temperature of 'image' must be a number of at least 0, got -0.5; 0 is the mean"),
    ({"temperature": float("nan")}, "temperature of 'image' must be a number of at least 0, got nan"),
    ({"temperature": {"image": "low"}}, "temperature of 'image' must be a number of at least 0, got 'low'"),
    ({"guidance_scale": float("nan")}, "guidance_scale must be a number of at least 0, got nan; 1 is off"),
    ({"guidance_scale": float("inf")}, "guidance_scale must be a number of at least 0, got inf"),
    ({"guidance_scale": -1.0}, "guidance_scale must be a number of at least 0, got -1.0"),
    ({"guidance_scale": "5"}, "guidance_scale must be a number of at least 0, got '5'"),
    ({"guidance_scale": True}, "guidance_scale must be a number of at least 0, got True"),
    ({"condition_guidance_scale": float("nan")}, "condition_guidance_scale must be a finite number, got nan"),
    ({"temperature": {"depth": 0.5}}, "temperature of 'depth', but this call has only image"),
    ({"guidance_interval": 0.5}, "guidance_interval is 0.5; give the least and the most noise"),
    ({"guidance_interval": (0.0, 1.5)}, "each of guidance_interval must be a number from 0 to 1, got 1.5"),
    ({"guidance_interval": (0.7, 0.2)}, r"guidance_interval is \(0.7, 0.2\); the lower noise comes first"),
    ({"guidance_interval": (0.0, 0.7)}, "guidance_interval has no effect: nothing is guided here"),
    ({"guidance_rescale": 2.0, "guidance_scale": 2.0}, "guidance_rescale must be a number from 0 to 1"),
    ({"num_images_per_prompt": 0}, "num_images_per_prompt must be a whole number of at least 1, got 0"),
    ({"num_images_per_prompt": 2.0}, "num_images_per_prompt must be a whole number of at least 1, got 2.0"),
    ({"ensemble_size": 0}, "ensemble_size must be a whole number of at least 1"),
    ({"ensemble_size": 3}, "ensemble_size=3 combines estimates from one held image"),
    ({"condition_guidance_scale": 1.0}, "condition_guidance_scale=1.0, but no condition takes part"),
    ({"noise": 1.4}, "noise must be a number from 0 to 1, got 1.4; it is a fraction of the run"),
    ({"noise": 0.4}, "image: noise=0.4, hold=False start from a picture, but none is given"),
    ({"mask": GREY}, "image: a mask says which part of a picture to keep"),
    ({"prompt": []}, r"image: prompt is \[\]; give a text, or a list of texts"),
    ({"prompt": ["a", 3]}, "image: prompt is .*; give a text"),
    ({"depth": Branch(prompt=7)}, "depth: prompt is 7; give a text"),
    ({"prompt": ["a", "b"], "negative_prompt": ["c", "d", "e"]}, "do not fit .*: give 1 or 3 of each"),
    ({"prompt": ["a", "b"], "depth": [GREY] * 3}, "'image prompt': 2} do not fit .*: give 1 or 3"),
    ({"generator": seeded(1, 2, 3), "prompt": ["a", "b"]}, "got 3 generators for 2 samples"),
    ({"generator": 5}, r"generator is a int; give torch.Generator\(\).manual_seed\(0\)"),
    ({"prompt_embeds": torch.zeros(1, 16, 12)}, "prompt and prompt_embeds are both given; keep one"),
    ({"prompt": None, "prompt_embeds": torch.zeros(1, 9, 12)}, r"prompt_embeds has shape \(1, 9, 12\)"),
    ({"latents": {"pose": NAN}}, "latents of 'pose', but this call has only image"),
    ({"latents": NAN}, "latents of 'image' hold NaN or infinity"),
    ({"latents": torch.zeros(1, 4, 4, 4)}, r"have shape \(1, 4, 4, 4\); expected \(1, 4, 8, 8\)"),
    ({"latents": {"depth": NAN}, "depth": GREY}, "latents of 'depth': it starts clean and takes no noise"),
    ({"depth": "nowhere.png"}, "nowhere.png: no such file"),
    ({"depth": {"map": GREY}}, "depth: got a dict; give a file, a PIL image"),
    ({"depth": GREY * 255}, "depth: values run from 128 to 128; floats must lie in"),
    ({"depth": GREY * np.nan}, "depth: values run from nan to nan"),
    ({"depth": GREY[..., :2]}, r"depth: got shape \(32, 32, 2\); expected 1, 3 or 4 channels"),
    ({"depth": []}, "depth: got an empty list"),
    ({"depth": GREY.astype(np.int64)}, "depth: values are torch.int64; give uint8, uint16"),
    ({"depth": [GREY, GREY[:8]]}, "depth: pictures of one call share a size"),
    ({"depth": GREY, "pose": GREY[:16]}, "share a shape .* got depth 32 x 32, pose 16 x 32 .*: crop or pad"),
    ({"depth": GREY, "height": 64, "width": 32}, "height=64, width=32 stretch .* depth 32 x 32 .* leave one"),
    ({"height": 0}, "height must be a whole number of at least 1, got 0; it is in pixels"),
    ({"width": 1.5}, "width must be a whole number"),
    ({"height": 200}, "200 x 32 pixels .* at most 128 a side. Give processing_resolution=32"),
    ({"depth": GREY, "processing_resolution": -1}, "processing_resolution must be a whole number .*, got -1"),
    ({"tile_size": -8}, "tile_size must be a whole number of at least 0, got -8; it is in pixels"),
    ({"tile_size": 32.0}, "tile_size must be a whole number of at least 0, got 32.0"),
    ({"image": GREY, "mask": GREY[:8]}, "mask of image is 8 x 32, its picture 32 x 32"),
    ({"image": GREY, "mask": GREY * 0}, "mask of image is black everywhere"),
    ({"depth": Branch(stages=((0, 1), (1, 1)))}, "branches must have the same number of stages"),
    ({"callback_on_step_end_tensor_inputs": ["x"]}, "callback input 'x' is unknown"),
]  # fmt: skip


HINTS = {
    "strength": "`strength=0.6` is `noise=0.6` beside `image=photo`, or `image=Branch",
    "mask_image": "`mask_image=picture` is `mask=picture` beside `image=photo`",
    "control_image": "`control_image=picture` is the name of the picture's adapter, such as `depth=picture`",
    "controlnet_conditioning_scale": r"`depth=Branch\(map=picture, weight=0.6\)`",
    "adapter_conditioning_scale": r"`depth=Branch\(map=picture, weight=0.6\)`",
    "ip_adapter_image": "`ip_adapter_image=photo` is `like=photo`",
}


@pytest.mark.parametrize("name", HINTS)
def test_arguments_of_diffusers_are_answered_with_what_to_write_here(pipe, name):
    with pytest.raises(TypeError, match=f"{name} is no argument here: .*{HINTS[name]}"):
        call(pipe, "a dog", **{name: 0.6})
    assert not pipe.call_parameters() & ELSEWHERE.keys()


def test_every_argument_is_documented_with_its_default(pipe):
    text = inspect.getdoc(type(pipe).__call__)
    entries = re.split(r"\n    (?=[*a-z_]+(?:, [a-z_]+)*: )", text.partition("Args:")[2].partition("\n\n")[0])
    documented = {
        name.strip(" *"): rest
        for names, _, rest in (entry.partition(": ") for entry in entries if entry)
        for name in names.split(",")
    }
    assert documented.keys() == pipe.call_parameters() | {"maps"}
    assert {name for name, rest in documented.items() if "default" not in rest.lower()} == {"maps"}


def test_numbers_of_numpy_are_numbers(pipe):
    numbers = {"num_inference_steps": np.int64(1), "guidance_scale": np.float32(2), "eta": np.float64(0.5)}
    assert np.isfinite(call(pipe, "a dog", **numbers).images).all()


@pytest.mark.parametrize("arguments, match", WRONG, ids=range(len(WRONG)))
def test_bad_arguments(pipe, arguments, match):
    with pytest.raises(ValueError, match=match):
        call(pipe, **{"prompt": "a dog", **arguments})


def test_mask_guidance_needs_gradients(pipe, photo, depth):
    with (
        torch.inference_mode(),
        pytest.raises(ValueError, match="call the pipeline outside of torch.inference_mode"),
    ):
        call(pipe, "a", image=Branch(map=photo, mask=depth > 0.5, mask_guidance=1.0))


def test_a_run_that_breaks_says_so(pipe, monkeypatch):
    def broken(pipe, step, timestep, tensors):
        return {"latents": tensors["latents"] * float("nan")}

    with pytest.raises(ValueError, match="latents of image hold NaN or infinity after the run"):
        call(pipe, "a dog", callback_on_step_end=broken)
    monkeypatch.setattr(pipe.vae.decoder.conv_out, "forward", lambda x: x[:, :3] * float("nan"))
    with pytest.raises(ValueError, match="the autoencoder makes NaN or infinity in torch.float32"):
        call(pipe, "a dog")


def test_a_large_picture_is_worked_on_when_asked_to(pipe):
    large = np.full((16, 160, 3), 0.5, np.float32)
    with pytest.raises(ValueError, match="16 x 160 pixels .* are too many for a base of 32 px"):
        call(pipe, "a", depth=large)
    for resolution in (0, 32):
        out = call(pipe, "a", depth=large, processing_resolution=resolution, num_inference_steps=1)
        assert out.images.shape == (1, 16, 160, 3)


def test_a_mask_without_a_size_of_its_own_fits_every_sample(pipe, photo):
    masks = np.zeros((2, *photo.shape[:2], 1), bool)
    masks[0, :, 16:] = masks[1, 8:] = True
    found = call(pipe, "a", image=Branch(map=photo, mask=masks), num_inference_steps=1).images
    for made, mask in zip(found, masks[..., 0], strict=True):
        np.testing.assert_allclose(made[~mask], photo[~mask], atol=1e-6)
        assert np.abs(made[mask] - photo[mask]).max() > 0.05


def test_a_mask_that_leaves_no_cell_whole_is_refused(pipe, photo):
    mask = np.ones((*photo.shape[:2], 1))
    mask[::8, ::8] = 0  # single known points
    with pytest.raises(ValueError, match="no black area holds a whole cell of 4 x 4 px"):
        call(pipe, "a", image=Branch(map=photo, mask=mask), num_inference_steps=1)
    call(pipe, "a", image=Branch(map=photo, mask=np.ones_like(mask)), num_inference_steps=1)


def test_a_long_prompt_is_cut_with_a_warning_in_the_log(pipe, caplog, monkeypatch):
    import logging

    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("unicon.texts"), "propagate", True)
    with caplog.at_level("WARNING"):
        call(pipe, "a very long prompt about dogs", num_inference_steps=1)
    assert "those after the 16th are ignored" in caplog.text
