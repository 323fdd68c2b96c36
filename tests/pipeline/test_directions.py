"""Every direction end to end on a tiny base, and the equalities that hold between calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.pipeline.conftest import call, seeded
from tests.tiny_base import SIDE_PX
from unicon import Branch
from unicon.conditions.pose import draw_pose
from unicon.pictures import as_pictures, resize

TOLERANCE = 1e-4
"""Float32 products in batches of another size differ in their last bits; three steps and a decoder add up."""


def close(a, b, tolerance=TOLERANCE):
    return np.abs(np.asarray(a) - np.asarray(b)).max() <= tolerance


MASK = np.tri(2).repeat(SIDE_PX // 2, 0).repeat(SIDE_PX // 2, 1)
"""All white but a quarter."""

DIRECTIONS = {
    "generation": (lambda p, d: {"depth": d}, {"image"}),
    "estimation": (lambda p, d: {"image": p, "outputs": ["depth"]}, {"depth"}),
    "joint": (lambda p, d: {"outputs": ["image", "depth"]}, {"image", "depth"}),
    "coarse, held": (lambda p, d: {"depth": Branch(map=d, noise=0.4, hold=True)}, {"image"}),
    "coarse, refined": (lambda p, d: {"depth": Branch(map=d, noise=0.4)}, {"image", "depth"}),
    "editing": (lambda p, d: {"image": p, "noise": 0.6, "depth": d}, {"image"}),
    "inpainting": (lambda p, d: {"image": p, "mask": MASK, "depth": d}, {"image"}),
    "inpainting a map": (lambda p, d: {"image": p, "depth": Branch(map=d, mask=MASK)}, {"depth"}),
    "two conditions": (lambda p, d: {"depth": d, "pose": Branch(map=p, weight=0.6)}, {"image"}),
    "image first": (
        lambda p, d: {
            "image": Branch(stages=((0, 1), (1, 1))),
            "depth": Branch(stages=((0, 0), (0, 1))),
        },
        {"image", "depth"},
    ),
    "condition guidance": (lambda p, d: {"depth": d, "condition_guidance_scale": 1.5}, {"image"}),
    "guidance per branch": (
        lambda p, d: {"guidance_scale": 3.0, "depth": Branch(guidance_scale=2.0, negative_prompt="flat")},
        {"image", "depth"},
    ),
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_every_direction_gives_the_same_with_and_without_the_shortcut(pipe, photo, depth, name):
    arguments, outputs = DIRECTIONS[name]
    found = call(pipe, "a dog", **arguments(photo, depth))
    assert {n for n in ("image",) if found.images is not None} | set(found.conditions) == outputs
    exact = call(pipe, "a dog", **arguments(photo, depth), held_clean="two_way")
    for a, b in [(found.images, exact.images), *((found.maps[n], exact.maps[n]) for n in found.maps)]:
        assert a is b is None or (a.shape == (1, SIDE_PX, SIDE_PX, 3) and close(a, b))


def test_a_held_condition_with_its_own_guidance_is_cached_in_both_halves(pipe, depth):
    held = Branch(map=depth, guidance_scale=3.0, negative_prompt="flat")
    arguments = {"depth": held, "guidance_scale": 4.0, "condition_guidance_scale": 0.5}
    shortcut = call(pipe, "a dog", **arguments, held_clean="shortcut").images
    assert close(shortcut, call(pipe, "a dog", **arguments, held_clean="two_way").images)
    unguided = call(pipe, "a dog", **{**arguments, "depth": depth}).images
    assert not close(shortcut, unguided)


@pytest.mark.parametrize(
    "held, rows",
    [({}, [1, 1, 1, 2, 2]), ({"guidance_scale": 3.0, "negative_prompt": "flat"}, [1, 1, 1, 2, 2, 2])],
)
def test_guidance_of_a_part_of_the_run(pipe, depth, held, rows):
    """Of a map whose halves are alike it is read once, of one whose halves differ again when both count."""
    arguments = {"depth": Branch(map=depth, **held), "guidance_scale": 4.0, "num_inference_steps": 4}
    asked = []
    with pipe.unet.conv_in.register_forward_pre_hook(lambda layer, given: asked.append(len(given[0]))):
        partly = call(pipe, "a dog", **arguments, guidance_interval=(0.0, 0.5)).images
    assert asked == rows
    exact = call(pipe, "a dog", **arguments, guidance_interval=(0.0, 0.5), held_clean="two_way").images
    assert close(partly, exact)
    whole, never = (call(pipe, "a dog", **arguments | more).images for more in ({}, {"guidance_scale": 1.0}))
    assert not close(partly, whole)
    assert not close(partly, never)


def test_directions_depend_on_what_they_are_given(pipe, photo, depth):
    base = call(pipe, "a dog").images
    assert not close(base, call(pipe, "a dog", depth=depth).images)
    assert not close(call(pipe, "a dog", depth=depth).images, call(pipe, "a dog", depth=1 - depth).images)
    weak = call(pipe, "a dog", depth=Branch(map=depth, weight=0.3)).images
    assert not close(weak, call(pipe, "a dog", depth=depth).images)
    maps = [call(pipe, image=p, outputs=["depth"]).maps["depth"] for p in (photo, 1 - photo)]
    assert not close(*maps)
    deaf = call(pipe, image=photo, depth=Branch(reads=0.0)).maps["depth"]
    assert not close(maps[0], deaf)


def test_a_batch_is_its_samples(pipe, photo, depth):
    prompts = ["a dog", "a cat"]
    maps = np.stack([depth[..., None], 1 - depth[..., None]])
    both = call(pipe, prompts, depth=maps, generator=seeded(3, 4), guidance_scale=2.0).images
    one = [
        call(pipe, prompts[i], depth=maps[i], generator=seeded(3 + i), guidance_scale=2.0).images[0]
        for i in range(2)
    ]
    assert close(both, one)
    generator = torch.Generator().manual_seed(0)
    in_turn = [call(pipe, prompts[i], depth=maps[i], generator=generator).images[0] for i in range(2)]
    assert close(call(pipe, prompts, depth=maps).images, in_turn)


def test_several_images_per_prompt_lie_side_by_side(pipe, depth):
    out = call(pipe, ["a", "b"], depth=depth, num_images_per_prompt=2, generator=seeded(0, 1, 2, 3)).images
    assert len(out) == 4
    assert close(out[1], call(pipe, "a", depth=depth, generator=seeded(1)).images[0])
    assert close(out[2], call(pipe, "b", depth=depth, generator=seeded(2)).images[0])


def test_an_ensemble_is_the_median_of_its_members(pipe, photo):
    out = call(
        pipe, image=np.stack([photo, 1 - photo]), outputs=["depth", "pose"], ensemble_size=3,
        generator=seeded(5, 6),
    )  # fmt: skip
    grey = out.members["depth"].mean(-1)
    assert out.members["depth"].shape == (3, 2, SIDE_PX, SIDE_PX, 3)
    assert out.uncertainty["depth"].shape == (2, SIDE_PX, SIDE_PX)
    assert close(out.maps["depth"], np.repeat(np.median(grey, 0)[..., None], 3, -1), 1e-6)
    assert close(out.uncertainty["depth"], grey.std(0, ddof=1), 1e-5)
    for drawing, people in zip(out.maps["pose"], out.people["pose"], strict=True):
        assert close(drawing, draw_pose([each.joints for each in people], SIDE_PX) / 255, 1e-6)
    generator = seeded(6)[0]
    for member in out.members["depth"][:, 1]:
        assert close(
            member, call(pipe, image=1 - photo, outputs=["depth"], generator=generator).maps["depth"][0]
        )
    assert call(pipe, image=photo, outputs=["depth"]).uncertainty == {}


def test_the_order_of_keywords_changes_nothing(pipe, photo, depth):
    a = call(pipe, "a dog", depth=depth, pose=photo).images
    b = call(pipe, "a dog", pose=photo, conditions={"depth": depth}).images
    assert np.array_equal(a, b)


@pytest.mark.parametrize("scheduler_eta", [None, 1.0])
def test_a_condition_of_weight_zero_leaves_the_image_alone(pipe, photo, scheduler_eta):
    base = call(pipe, "a dog", eta=scheduler_eta)
    unread = call(pipe, "a dog", depth=Branch(weight=0.0), eta=scheduler_eta)
    assert close(base.images, unread.images)
    assert close(base.images, call(pipe, "a dog", pose=Branch(map=photo, weight=0), eta=scheduler_eta).images)


def test_a_stage_after_the_image_is_done_is_estimation(pipe):
    """Clean branches stop reading, also those that become clean on the way."""
    first = {"image": Branch(stages=((0, 1), (1, 1))), "depth": Branch(stages=((0, 0), (0, 1)))}
    run = call(pipe, "a dog", **first, output_type="latent")
    seen = {}

    def keep(pipe, step, timestep, tensors):
        seen[step] = tensors["latents"]

    call(pipe, "a dog", **first, output_type="latent", callback_on_step_end=keep)
    assert torch.equal(seen[2][0], run.images)  # the image does not change in the second stage
    assert torch.equal(seen[2][1], seen[0][1])  # nor the depth in the first
    assert not torch.equal(run.conditions["depth"], seen[2][1])


def test_a_mask_keeps_the_known_part(pipe, photo, depth):
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[: SIDE_PX // 2] = 255
    for weight in (0.0, 2.0):
        branch = Branch(map=photo, mask=mask, mask_guidance=weight)
        out = call(pipe, "a dog", image=branch, depth=depth)
        assert close(out.images[0, SIDE_PX // 2 :], photo[SIDE_PX // 2 :], 1e-6)
        assert not close(out.images[0, : SIDE_PX // 2], photo[: SIDE_PX // 2], 0.05)
    guided = call(pipe, "a dog", image=branch, depth=depth, held_clean="two_way")
    assert close(out.images, guided.images)
    replaced = call(pipe, "a dog", image=Branch(map=photo, mask=mask), depth=depth)
    assert not close(guided.images, replaced.images)


def test_a_line_of_a_mask_is_drawn_anew_at_every_size_that_is_worked_on(pipe, photo):
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    mask[:, SIDE_PX // 2 + 1] = 255
    for factor in (1, 4):  # also of a mask that is larger than its picture
        larger = np.zeros((factor * SIDE_PX, factor * SIDE_PX), np.uint8)
        larger[:, factor * (SIDE_PX // 2) + 1] = 255
        line = mask if factor == 1 else larger
        drawn = [
            call(
                pipe, "a dog", image=photo, mask=line, processing_resolution=SIDE_PX // 2, generator=seeded(s)
            )
            for s in (0, 1)
        ]
        changed = np.abs(drawn[0].images[0] - drawn[1].images[0]).max(axis=(0, 2))
        assert changed.max() > 1e-3
        assert (changed > 1e-6).sum() == 1  # one column, as wide as the line


def test_latents_of_the_users_own(pipe, depth):
    drawn = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7))
    a = call(pipe, "a dog", depth=depth, latents=drawn, generator=seeded(1)).images
    b = call(pipe, "a dog", depth=depth, latents={"image": drawn.double()}, generator=seeded(2)).images
    assert np.array_equal(a, b)
    assert not close(a, call(pipe, "a dog", depth=depth, generator=seeded(1)).images)


def test_a_latent_output_is_what_is_decoded(pipe):
    out = call(pipe, "a dog", outputs=["depth", "image"], output_type="latent")
    assert out.images.shape == out.conditions["depth"].shape == (1, 4, 8, 8)
    assert out.maps == {}
    tensors = call(pipe, "a dog", outputs=["image"], output_type="pt").images
    assert tensors.shape == (1, 3, SIDE_PX, SIDE_PX)
    pictures = call(pipe, "a dog", output_type="pil").images
    assert np.abs(np.asarray(pictures[0]) / 255 - tensors[0].movedim(0, -1).numpy()).max() <= 0.5 / 255 + 1e-6


def test_a_tuple_has_every_field(pipe, depth):
    images, *others = call(pipe, "a dog", depth=depth, return_dict=False)
    assert np.array_equal(images, call(pipe, "a dog", depth=depth).images)
    assert others == [{}] * 5  # conditions, maps, uncertainty, members, people


@pytest.mark.parametrize("size", [(SIDE_PX - 5, SIDE_PX + 9), (8, 40)])
def test_sizes_off_the_grid_are_padded_and_cropped_back(pipe, size):
    grey = np.full((*size, 3), 0.5, np.float32)
    assert call(pipe, "a", depth=grey).images.shape == (1, *size, 3)
    assert call(pipe, image=grey, outputs=["depth"]).maps["depth"].shape == (1, *size, 3)
    assert call(pipe, "a", height=size[0], width=size[1]).images.shape == (1, *size, 3)


def test_estimation_works_at_the_bases_own_size(pipe, photo):
    shapes = []

    def keep(pipe, step, timestep, tensors):
        shapes.append(tuple(tensors["latents"].shape[-2:]))

    large = np.repeat(np.repeat(photo, 2, 0), 3, 1)
    for resolution, latent in ((None, (6, 8)), (0, (16, 24)), (16, (4, 4))):
        out = call(
            pipe, image=large, outputs=["depth"], processing_resolution=resolution, num_inference_steps=1,
            callback_on_step_end=keep,
        )  # fmt: skip
        assert out.maps["depth"].shape == (1, *large.shape)
        assert shapes.pop() == latent


def test_negative_prompts_and_embeddings(pipe, depth):
    plain = call(pipe, "a dog", depth=depth, guidance_scale=3.0).images
    negative = call(pipe, "a dog", depth=depth, guidance_scale=3.0, negative_prompt="blurry").images
    assert not close(plain, negative)
    tokens = pipe.tokenizer(["a dog", "blurry"], padding="max_length", return_tensors="pt").input_ids
    rows = pipe.text_encoder(tokens).last_hidden_state.detach()
    embedded = call(
        pipe, prompt_embeds=rows[:1], negative_prompt_embeds=rows[1:], guidance_scale=3.0,
        depth=Branch(map=depth, prompt="a dog"),
    ).images  # fmt: skip
    assert close(embedded, negative)


def test_a_condition_has_its_own_prompt_after_its_trigger(pipe):
    shared = call(pipe, "a dog", outputs=["depth"]).maps["depth"]
    assert np.array_equal(
        shared, call(pipe, "a dog", depth=Branch(prompt="a dog"), outputs=["depth"]).maps["depth"]
    )
    assert not close(
        shared, call(pipe, "a dog", depth=Branch(prompt="a cat"), outputs=["depth"]).maps["depth"]
    )


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers with numpy 2
def test_other_schedulers(pipe, photo, depth):
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, HeunDiscreteScheduler

    before = pipe.scheduler
    try:
        for kind in (DPMSolverMultistepScheduler, DDPMScheduler, HeunDiscreteScheduler):
            pipe.scheduler = kind.from_config({**before.config, "timestep_spacing": "trailing"})
            first = {"image": Branch(stages=((0, 1), (1, 1))), "depth": Branch(stages=((0, 0), (0, 1)))}
            for arguments in ({"depth": depth}, {"image": photo, "outputs": ["depth"]}, first):
                a, b = (call(pipe, "a", **arguments, held_clean=h) for h in ("shortcut", "two_way"))
                assert (
                    close(a.images, b.images)
                    if a.images is not None
                    else close(a.maps["depth"], b.maps["depth"])
                )
    finally:
        pipe.scheduler = before


def test_timesteps_of_the_users_own(pipe, depth):
    spaced = call(pipe, "a dog", depth=depth, num_inference_steps=2).images
    assert np.array_equal(spaced, call(pipe, "a dog", depth=depth, timesteps=[999, 499]).images)


def test_temperature_scales_the_noise_of_the_branches_it_names(pipe, photo):
    def estimate(seed, **arguments):
        found = call(pipe, image=photo, outputs=["depth"], generator=seeded(seed)[0], **arguments)
        return found.maps["depth"]

    assert close(estimate(0, temperature=0.0), estimate(1, temperature=0.0), tolerance=0)  # no noise left
    assert close(estimate(0), estimate(0, temperature={"image": 0.3}), tolerance=0)  # it has none anyway
    noise = torch.randn(1, 4, 8, 8, generator=seeded(5)[0])
    halved = estimate(0, latents={"depth": noise}, temperature={"depth": 0.5})
    assert close(halved, estimate(0, latents={"depth": noise / 2}), tolerance=0)
    assert not close(halved, estimate(0, latents={"depth": noise}))


def test_pictures_of_one_shape_and_several_sizes_are_worked_on_in_one(pipe, photo, depth):
    """Results have the image's size, or that of the largest map; a mask's kept part is as it was given."""
    larger = np.repeat(np.repeat(depth, 2, 0), 2, 1)
    assert call(pipe, "a", image=photo, noise=0.5, depth=larger).images.shape == (1, SIDE_PX, SIDE_PX, 3)
    drawn = call(pipe, "a", depth=depth, pose=larger, processing_resolution=SIDE_PX).images
    assert drawn.shape == (1, 2 * SIDE_PX, 2 * SIDE_PX, 3)
    same = call(pipe, "a", depth=larger, pose=depth, height=SIDE_PX).images
    smaller = resize(as_pictures(larger, "depth"), SIDE_PX, SIDE_PX)
    assert close(same, call(pipe, "a", depth=smaller, pose=depth).images)
    mask = np.zeros((SIDE_PX // 2, SIDE_PX // 2), np.float32)
    mask[: SIDE_PX // 4] = 1
    edited = call(pipe, "a", image=photo, mask=mask, depth=larger).images[0]
    assert close(edited[SIDE_PX // 2 + 1 :], photo[SIDE_PX // 2 + 1 :], 1e-6)
    assert not close(edited[: SIDE_PX // 4], photo[: SIDE_PX // 4], 0.01)
