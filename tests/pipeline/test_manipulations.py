"""Do pictures come back from their noise, and does each manipulation change what it says and nothing else?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler

from tests.pipeline.conftest import call
from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import tiny_decoder, with_clip
from unicon import Branch, UniConPipeline
from unicon.latents import decode, encode
from unicon.manipulations import (
    Drawing,
    PrincipalComponents,
    change_by_text,
    interpolate,
    reconstruct,
    swap,
    variation_rows,
    variations,
)
from unicon.pictures import as_pictures

DRAWING = Drawing(prompt="a dog", num_inference_steps=4, output_type="np", like_scale=0.5)


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> UniConPipeline:
    made = with_clip(tiny_pipeline(tmp_path_factory.mktemp("words")))
    made.add_decoder(tiny_decoder(made))
    return made


@pytest.fixture
def drawn(pipe) -> np.ndarray:
    """A picture of the tiny base's own, which its autoencoder can hold."""
    return call(pipe, "a dog").images[0]


@torch.no_grad()
def latents(pipe, picture) -> torch.Tensor:
    """What of a picture the autoencoder keeps."""
    return encode(pipe.vae, as_pictures(picture, "picture"))


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


def test_noise_of_a_picture_draws_it_again(pipe, drawn, depth):
    """In latents: what the autoencoder loses is not the inversion's."""
    common = {
        "depth": depth,
        "like": drawn,
        "like_scale": 0.5,
        "num_inference_steps": 20,
        "output_type": "latent",
    }
    noise = call(pipe, "a dog", image=drawn, invert=True, **common).images
    expected = latents(pipe, drawn)

    def error(**changes) -> float:
        again = call(pipe, "a dog", latents=noise, outputs=["image"], **{**common, **changes}).images
        return float((again - expected).square().mean().sqrt() / expected.std())

    assert error() < 0.1
    assert error(like=1 - drawn) > 2 * error(), "z is part of the code"


def test_noise_beside_a_condition_that_is_held_noisy(pipe, drawn, depth):
    for held in (Branch(map=depth, noise=0.6, hold=True), Branch(stages=((0, 0),))):
        common = {"depth": held, "num_inference_steps": 40, "output_type": "latent"}
        noise = call(pipe, "a dog", image=drawn, invert=True, **common).images
        again = call(pipe, "a dog", latents=noise, outputs=["image"], **common).images
        assert float((again - latents(pipe, drawn)).abs().max()) < 0.02


@pytest.mark.slow
def test_part_of_the_way(pipe, drawn):
    common = {"image": drawn, "noise": 0.5, "num_inference_steps": 20, "output_type": "latent"}
    noise = call(pipe, "a dog", invert=True, **common).images
    again = call(pipe, "a dog", latents=noise, **common).images
    expected = latents(pipe, drawn)
    assert (again - expected).square().mean().sqrt() < 0.25 * expected.std()


@pytest.mark.slow
def test_variations_are_the_picture_at_eta_0_and_part_from_it_as_eta_grows(pipe, drawn):
    kept, drawing = pipe.scheduler, replace(DRAWING, num_inference_steps=20)
    by_eta = {eta: variations(pipe, drawn, 2, eta=eta, drawing=drawing) for eta in (0.0, 0.3, 1.0)}
    assert pipe.scheduler is kept
    assert by_eta[0.0].shape == (2, *drawn.shape)
    np.testing.assert_array_equal(by_eta[0.0][0], by_eta[0.0][1])
    with torch.no_grad():
        kept_by_autoencoder = decode(pipe.vae, latents(pipe, drawn))[0].permute(1, 2, 0).numpy()
    errors = {eta: difference(found, kept_by_autoencoder[None]) for eta, found in by_eta.items()}
    assert errors[0.0] < 0.03
    assert errors[0.0] < errors[0.3] < errors[1.0]
    assert difference(by_eta[1.0][0], by_eta[1.0][1]) > 1e-3


@pytest.mark.slow
def test_the_ends_of_an_interpolation_are_the_pictures(pipe, drawn):
    other = call(pipe, "a cat", generator=torch.Generator().manual_seed(4)).images[0]
    shares = [0.0, 0.5, 1.0]
    found = interpolate(pipe, drawn, other, shares, drawing=DRAWING)
    alone = [variations(pipe, each, 1, eta=0.0, drawing=DRAWING)[0] for each in (drawn, other)]
    np.testing.assert_allclose(found[0], alone[0], atol=1e-4)
    np.testing.assert_allclose(found[2], alone[1], atol=1e-4)
    fixed = interpolate(pipe, drawn, other, shares, fixed_noise=True, drawing=DRAWING)
    assert difference(fixed[0], fixed[2]) > 1e-4
    assert difference(fixed[0], fixed[2]) < difference(found[0], found[2]), "one composition"


def test_a_base_with_a_scheduler_of_its_own_is_inverted_by_ddim(pipe, drawn):
    """Its config says nothing of clipping, which in DDIM's would be on."""
    expected, kept = variations(pipe, drawn, 1, eta=0.0, drawing=DRAWING), pipe.scheduler
    names = ("beta_schedule", "rescale_betas_zero_snr", "timestep_spacing", "prediction_type")
    settings = {name: kept.config[name] for name in names}
    pipe.scheduler = DPMSolverMultistepScheduler(**settings, algorithm_type="sde-dpmsolver++")
    try:
        np.testing.assert_array_equal(variations(pipe, drawn, 1, eta=0.0, drawing=DRAWING), expected)
    finally:
        pipe.scheduler = kept


@pytest.mark.slow
def test_a_text_changes_the_picture_by_as_much_as_is_asked(pipe, drawn):
    found = change_by_text(pipe, drawn, "a cat", [0.0, 0.2, 0.5], instead_of="a dog", drawing=DRAWING)
    np.testing.assert_allclose(found[0], variations(pipe, drawn, 1, eta=0.0, drawing=DRAWING)[0], atol=1e-4)
    assert 0 < difference(found[1], found[0]) < difference(found[2], found[0])


def test_principal_components_are_those_of_a_second_implementation(pipe, drawn):
    z = torch.nn.functional.normalize(torch.randn(30, 8, generator=torch.Generator().manual_seed(2)), dim=-1)
    components = PrincipalComponents.of(z)
    torch.testing.assert_close(
        components.directions @ components.directions.T, torch.eye(8), atol=1e-5, rtol=0
    )
    values, vectors = torch.linalg.eigh(torch.cov(z.T))
    first = vectors[:, values.argmax()]
    assert float((components.directions[0] @ first).abs()) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(components.keep(z, 8), z, atol=1e-5, rtol=1e-4)
    near = [float((components.keep(z, num) * z).sum(1).mean()) for num in (0, 2, 5, 8)]
    assert sorted(near) == near
    found = reconstruct(pipe, drawn, components, [1, 8], drawing=DRAWING)
    direct = DRAWING(
        pipe,
        like=pipe.embed(drawn),
        latents=torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)),
    )
    np.testing.assert_allclose(found[1:], direct, atol=1e-4)
    assert difference(found[0], found[1]) > 1e-4
    with pytest.raises(ValueError, match="1 embeddings have no principal components"):
        PrincipalComponents.of(z[:1])


@pytest.mark.slow
def test_a_swap_has_ones_meaning_and_the_others_map(pipe, drawn, photo):
    found = swap(pipe, drawn, photo, "depth", drawing=DRAWING)
    map_ = call(pipe, image=photo, outputs=["depth"], num_inference_steps=20).maps["depth"]
    expected = DRAWING(pipe, like=drawn, depth=map_, generator=DRAWING.generators(1))
    assert found.shape == expected.shape
    np.testing.assert_array_equal(swap(pipe, drawn, photo, "depth", drawing=DRAWING), found)
    assert difference(found, swap(pipe, 1 - drawn, photo, "depth", drawing=DRAWING)) > 1e-5
    assert difference(found, swap(pipe, drawn, 1 - photo, "depth", drawing=DRAWING)) > 1e-5


def test_guidance_and_batch(pipe, drawn, depth):
    """Both are those of the call; pictures drawn one at a time are those drawn at once."""
    drawing = replace(
        DRAWING,
        conditions={"depth": depth},
        num_inference_steps=2,
        guidance_scale=3.0,
        like_guidance_scale=2.0,
    )
    z = pipe.embed(drawn)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    found = reconstruct(pipe, drawn, PrincipalComponents.of(torch.eye(8)), [7, 7], drawing=drawing)
    direct = call(
        pipe, "a dog", like=PrincipalComponents.of(torch.eye(8)).keep(z, 7), depth=depth, latents=noise,
        outputs=["image"], like_scale=0.5, guidance_scale=3.0, like_guidance_scale=2.0, num_inference_steps=2,
    ).images  # fmt: skip
    np.testing.assert_allclose(found[1:], direct, atol=1e-4)
    one_by_one = [replace(drawing, batch=1, output_type=kind) for kind in ("np", "pt", "pil")]
    arrays, tensors, images = (variations(pipe, drawn, 3, drawing=each) for each in one_by_one)
    np.testing.assert_allclose(arrays, variations(pipe, drawn, 3, drawing=drawing), atol=1e-4)
    assert (tensors.shape, len(images)) == ((3, 3, 32, 32), 3)
    with pytest.raises(ValueError, match="batch must be a whole number of at least 1, got 0; None is all"):
        replace(drawing, batch=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, a: variations(p, [a, a], 2), "picture: got 2 pictures; give one"),
        (lambda p, a: variations(p, a, 0), "num is 0; give at least 1"),
        (lambda p, a: interpolate(p, a, [a, a], [0.5]), "second: got 2 pictures; give one"),
        (
            lambda p, a: interpolate(p, a, a[:, :16], [0.5]),
            "first has 32 x 32 px, second 16 x 32, and their noises are to be mixed: resize one",
        ),
        (lambda p, a: interpolate(p, a, a, []), r"shares is \[\]; give at least one finite number"),
        (lambda p, a: change_by_text(p, a, "a cat", [float("nan")]), r"amounts is \[nan\]"),
        (
            lambda p, a: change_by_text(p, a, "a cat", [0.2], instead_of="a cat"),
            "text is 'a cat' and instead_of 'a cat', between which this CLIP sees no difference: say",
        ),
        (lambda p, a: change_by_text(p, a, "", [0.2]), "text is '' and instead_of ''"),
        (lambda p, a: swap(p, [a, a], a, "depth"), "meaning: got 2 pictures; give one"),
        (lambda p, a: swap(p, a, [a, a], "depth"), "structure: got 2 pictures; give one"),
        (
            lambda p, a: reconstruct(p, a, PrincipalComponents.of(torch.eye(8)), [3, -1]),
            "-1 principal components are to be kept; expected from 0 .* to 7",
        ),
        (lambda p, a: reconstruct(p, a, PrincipalComponents.of(torch.eye(8)), [8]), "8 principal components"),
        (lambda p, a: reconstruct(p, a, PrincipalComponents.of(torch.eye(8)), []), r"nums is \[\]"),
    ],
)
def test_bad_input_is_named(pipe, drawn, change, message):
    with pytest.raises(ValueError, match=message):
        change(pipe, drawn)


def test_pictures_of_two_sizes_have_one_composition(pipe, drawn):
    drawing = replace(DRAWING, num_inference_steps=1)
    assert interpolate(pipe, drawn, drawn[:, :16], [0.5], fixed_noise=True, drawing=drawing).shape == (
        1, 32, 32, 3,
    )  # fmt: skip


def test_refusals(pipe, drawn, depth):
    for arguments, message in (
        ({}, "invert asks which noise a picture comes from: give image"),
        ({"image": drawn, "mask": np.ones(drawn.shape[:2], np.float32)}, "without mask and stages"),
        ({"image": drawn, "outputs": ["depth"]}, "invert: depth runs, too; give its map"),
        ({"image": drawn, "eta": 0.5}, "ddim with eta 0.5: leave out eta"),
        ({"image": drawn, "latents": torch.zeros(1, 4, 8, 8)}, "makes no use of latents"),
    ):
        with pytest.raises(ValueError, match=message):
            call(pipe, "a dog", invert=True, **arguments)
    kept = pipe.scheduler
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(kept.config)
    with pytest.raises(ValueError, match="this call has dpmpp_2m with eta 0.0"):
        call(pipe, "a dog", image=drawn, invert=True)
    assert isinstance(pipe.scheduler, DPMSolverMultistepScheduler)
    pipe.scheduler = DDIMScheduler.from_config(kept.config)


def test_a_picture_may_be_given_as_a_branch_to_be_inverted(pipe, drawn):
    plain = call(pipe, "a dog", image=drawn, invert=True).images
    assert torch.equal(call(pipe, "a dog", image=Branch(map=drawn), invert=True).images, plain)
    part = call(pipe, "a dog", image=Branch(map=drawn, noise=0.6), invert=True).images
    assert torch.equal(part, call(pipe, "a dog", image=drawn, noise=0.6, invert=True).images)


def test_all_amounts_of_fresh_noise_share_one_inversion(pipe, drawn, monkeypatch):
    inverted = []
    own = Drawing.noise_of
    monkeypatch.setattr(Drawing, "noise_of", lambda *a: inverted.append(1) or own(*a))
    still, fresh = variation_rows(pipe, drawn, 2, [0.0, 0.7], drawing=DRAWING)
    assert len(inverted) == 1
    np.testing.assert_array_equal(still[0], still[1])
    np.testing.assert_array_equal(fresh, variations(pipe, drawn, 2, eta=0.7, drawing=DRAWING))


def test_what_manipulations_cannot_work_on_is_refused(pipe, drawn):
    huge = np.zeros((160, 32, 3), np.float32)
    with pytest.raises(ValueError, match=r"Make it smaller: picture.thumbnail\(\(32, 32\)\)"):
        variations(pipe, huge, 1, drawing=DRAWING)
    kept = pipe.scheduler
    pipe.scheduler = FlowMatchEulerDiscreteScheduler()
    try:
        with pytest.raises(ValueError, match="this base is of flow matching"):
            variations(pipe, drawn, 1, drawing=DRAWING)
    finally:
        pipe.scheduler = kept
