"""Do estimates in several working sizes, and of mirror images, make one ensemble?"""

from __future__ import annotations

import numpy as np
import pytest

from tests.adapters.tiny import config, trained
from tests.pipeline.conftest import seeded
from tests.tiny_base import SIDE_PX
from unicon import Branch

PHOTOS = np.random.default_rng(0).random((2, SIDE_PX, 2 * SIDE_PX, 3), dtype=np.float32)


def estimate(pipe, size, **more):
    generators = seeded(*range(2 * more.get("ensemble_size", 1)))
    return pipe(
        image=PHOTOS, outputs=["depth"], num_inference_steps=2, processing_resolution=size,
        generator=generators, **{"output_type": "np", **more},
    )  # fmt: skip


@pytest.mark.parametrize("members", [1, 2])
def test_members_are_those_of_every_size(pipe, members):
    sizes = [SIDE_PX, 2 * SIDE_PX]
    found = estimate(pipe, sizes, ensemble_size=members)
    alone = [estimate(pipe, size, ensemble_size=members) for size in sizes]
    assert found.members["depth"].shape == (2 * members, 2, SIDE_PX, 2 * SIDE_PX, 3)
    first = alone[0].members["depth"] if members > 1 else alone[0].maps["depth"][None]
    np.testing.assert_array_equal(found.members["depth"][:members], first)
    middle = np.median(found.members["depth"].mean(-1), axis=0)
    np.testing.assert_allclose(found.maps["depth"][..., 0], middle, atol=1e-6)
    assert found.uncertainty["depth"].shape == (2, SIDE_PX, 2 * SIDE_PX)


@pytest.mark.parametrize("members", [1, 2])
def test_mirror_images_are_members_whose_maps_are_turned_back(pipe, members):
    found = estimate(pipe, None, mirrored=True, ensemble_size=members).members["depth"]
    assert len(found) == 2 * members
    generators = seeded(*range(2 * members))
    alone = [
        pipe(image=photos, outputs=["depth"], num_inference_steps=2, generator=generators, output_type="np",
             ensemble_size=members)
        for photos in (PHOTOS, PHOTOS[:, :, ::-1])
    ]  # fmt: skip
    stacks = [each.members["depth"] if members > 1 else each.maps["depth"][None] for each in alone]
    np.testing.assert_array_equal(found, np.concatenate([stacks[0], stacks[1][:, :, :, ::-1]]))


def test_sizes_and_mirror_images_together(pipe):
    found = estimate(pipe, [SIDE_PX, 2 * SIDE_PX], mirrored=True)
    assert len(found.members["depth"]) == 4


def test_a_branch_is_mirrored_as_a_picture_is(pipe):
    call = {"outputs": ["depth"], "num_inference_steps": 1, "mirrored": True, "output_type": "np"}
    maps = [
        pipe(image=image, generator=seeded(0), **call).maps["depth"]
        for image in (PHOTOS[:1], Branch(map=PHOTOS[:1]))
    ]
    np.testing.assert_array_equal(*maps)


def test_one_size_in_a_list_is_that_size(pipe):
    found, alone = estimate(pipe, [SIDE_PX]), estimate(pipe, SIDE_PX)
    np.testing.assert_array_equal(found.maps["depth"], alone.maps["depth"])
    assert found.members == {}


def test_an_interrupted_call_ends_with_the_view_it_was_in(pipe):
    def stop(pipe, step, timestep, tensors):
        pipe._interrupt = True
        return {}

    found = estimate(pipe, [SIDE_PX, 2 * SIDE_PX], callback_on_step_end=stop)
    assert found.members == {}
    assert found.maps["depth"].shape == (2, SIDE_PX, 2 * SIDE_PX, 3)


def test_poses_by_any_name_are_combined_as_poses(pipe):
    pipe.add_adapter(trained(pipe.unet, config(condition="pose"), seed=9), "skeleton")
    found = pipe(image=PHOTOS[0], outputs=["skeleton"], num_inference_steps=1, mirrored=True)
    pipe.unload_adapter("skeleton")
    assert set(found.people) == {"skeleton"}


def test_forms_of_what_comes_back(pipe):
    maps = estimate(pipe, (SIDE_PX, 2 * SIDE_PX), output_type="pt", return_dict=False)[1]
    assert maps["depth"].shape == (2, 3, SIDE_PX, 2 * SIDE_PX)
    drawn = estimate(pipe, (SIDE_PX, 2 * SIDE_PX), output_type="pil").conditions["depth"]
    assert [each.size for each in drawn] == [(2 * SIDE_PX, SIDE_PX)] * 2


@pytest.mark.parametrize(
    "sizes, more, message",
    [
        ([], {}, "expected a size in pixels, or several"),
        ([None, 64], {}, "expected a size in pixels, or several"),
        ([[32], 64], {}, "expected a size in pixels, or several"),
        ([64, 64], {}, "expected each size once"),
        ([64, -3], {}, "processing_resolution must be a whole number of at least 0, got -3"),
        ([64, 128], {"output_type": "latent"}, "latents of several views make no ensemble"),
        ([64, 128], {"output_type": "jpg"}, "output_type is 'jpg'"),
    ],
)
def test_bad_input(pipe, sizes, more, message):
    with pytest.raises(ValueError, match=message):
        estimate(pipe, sizes, **more)


def test_maps_given_beside_the_image_are_not_mirrored(pipe):
    with pytest.raises(ValueError, match="from the image alone, but pose is given"):
        estimate(pipe, None, mirrored=True, pose=PHOTOS[0])


HALF = np.float32([[0, 1]]).repeat(SIDE_PX, 0).repeat(SIDE_PX, 1)


@pytest.mark.parametrize("views", [{"mirrored": True}, {"processing_resolution": [SIDE_PX, 2 * SIDE_PX]}])
@pytest.mark.parametrize(
    "asked",
    [
        {"outputs": ["image", "depth"]},
        {"outputs": ["depth"], "image": PHOTOS[0], "noise": 0.5},
        {"outputs": ["depth"], "image": PHOTOS[0], "mask": HALF},
        {"outputs": ["depth"], "image": PHOTOS[0], "invert": True},
        {"outputs": ["depth"], "image": Branch(map=PHOTOS[0], noise=0.5)},
        {"outputs": ["depth"], "image": Branch(map=PHOTOS[0], mask=HALF)},
        {"outputs": ["image", "depth"], "image": PHOTOS[0]},
    ],
)
def test_an_image_that_does_not_stay_as_it_is_has_no_views(pipe, views, asked):
    with pytest.raises(ValueError, match="are for estimates of an image that is given and stays as it is"):
        pipe("x", num_inference_steps=1, **asked, **views)


def test_mirrored_is_a_yes_or_a_no(pipe):
    with pytest.raises(ValueError, match="mirrored must be True or False, got 'no'"):
        estimate(pipe, None, mirrored="no")
