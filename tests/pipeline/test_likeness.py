"""Is a picture drawn after what it is to look like, and is what cannot be decoded refused?"""

from __future__ import annotations

import accelerate
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.pipeline.conftest import ROUNDING, call, seeded
from tests.tiny_base import tiny_pipeline
from tests.tiny_clip import WIDTH, tiny_decoder, tiny_image_encoder, with_clip
from unicon import Branch, UniConPipeline
from unicon.embeddings import NAMES, NOISE, embed_pictures, identity


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> UniConPipeline:
    """With a decoder adapter."""
    made = with_clip(tiny_pipeline(tmp_path_factory.mktemp("words")))
    made.add_decoder(tiny_decoder(made))
    return made


@pytest.fixture
def own(tmp_path) -> UniConPipeline:
    """Without one."""
    return with_clip(tiny_pipeline(tmp_path / "words"))


@pytest.fixture
def other() -> np.ndarray:
    return np.random.default_rng(7).random((20, 28, 3), dtype=np.float32)


def images(pipe: UniConPipeline, *args: object, **kwargs: object) -> np.ndarray:
    return call(pipe, *args, **kwargs).images


def z(seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_it_follows_the_picture_and_is_the_base_without(pipe, own, photo, other, depth):
    base = images(own, "a dog", depth=depth)
    assert np.array_equal(images(pipe, "a dog", depth=depth), base), "without like it is the base bitwise"
    assert np.array_equal(images(pipe, "a dog", depth=depth, like=photo, like_scale=0.0), base)
    first, second = (images(pipe, "a dog", depth=depth, like=like) for like in (photo, other))
    assert np.abs(first - base).max() > 1e-3
    assert np.abs(first - second).max() > 1e-4
    half = images(pipe, "a dog", depth=depth, like=photo, like_scale=0.5)
    assert 0 < np.abs(half - base).mean() < np.abs(first - base).mean()


def test_an_embedding_is_its_picture(pipe, photo):
    drawn = images(pipe, "a dog", like=photo)
    embedding = pipe.embed(photo)
    assert embedding.shape == (1, WIDTH)
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(1))
    assert np.array_equal(images(pipe, "a dog", like=embedding), drawn)
    assert np.array_equal(images(pipe, "a dog", like=embedding[0].numpy()), drawn)
    assert np.array_equal(images(pipe, "a dog", like=embedding.half()), drawn) or np.allclose(
        images(pipe, "a dog", like=embedding.half()), drawn, atol=2e-2
    )


def test_pictures_are_seen_as_clip_sees_them(photo):
    """The middle of the picture, at the encoder's size, with the extractor's mean and deviation."""
    encoder = tiny_image_encoder()
    pictures = torch.from_numpy(photo).permute(2, 0, 1)[None, :, :16, :]  # 16 x 32: nothing to resize
    seen = pictures[..., 8:24]
    expected = encoder(seen * 2 - 1).image_embeds
    torch.testing.assert_close(embed_pictures(encoder, None, pictures), expected)

    class Extractor:
        image_mean, image_std = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4]

    mean, std = (
        torch.tensor(values)[:, None, None] for values in (Extractor.image_mean, Extractor.image_std)
    )
    expected = encoder((seen - mean) / std).image_embeds
    torch.testing.assert_close(embed_pictures(encoder, Extractor(), pictures), expected)


@pytest.mark.slow
def test_batches_and_several_pictures_per_prompt(pipe, photo, other):
    both = images(
        pipe, ["a dog", "a cat"], like=[photo, other], num_images_per_prompt=2, generator=seeded(0, 1, 2, 3)
    )
    assert len(both) == 4
    alone = images(pipe, "a cat", like=other, num_images_per_prompt=2, generator=seeded(2, 3))
    np.testing.assert_allclose(both[2:], alone, atol=1e-5)
    shared = images(pipe, ["a dog", "a cat"], like=photo, generator=seeded(0, 2))
    np.testing.assert_allclose(shared[0], both[0], atol=1e-5)
    with pytest.raises(ValueError, match="'like': 2} do not fit"):
        images(pipe, ["a", "b", "c"], like=[photo, other])


def guided(pipe, photo, text, like):
    """One step from the same noise: the clean estimate, which is linear in the scales."""
    return call(
        pipe, "a dog", like=photo, guidance_scale=text, like_guidance_scale=like, num_inference_steps=1,
        negative_prompt="a cat", output_type="latent",
    ).images  # fmt: skip


def test_guidance_of_text_and_of_likeness_are_separate(pipe, photo):
    plain, by_text, by_like, both = (guided(pipe, photo, *s) for s in ((1, 1), (3, 1), (1, 4), (3, 4)))
    assert (by_text - plain).abs().max() > 1e-4
    assert (by_like - plain).abs().max() > 1e-4
    torch.testing.assert_close(both - plain, (by_text - plain) + (by_like - plain), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(
        (guided(pipe, photo, 1, 7) - plain), 2 * (by_like - plain), atol=1e-4, rtol=1e-3
    )
    text_of_another = guided(pipe, 1 - photo, 3, 1)
    assert not torch.allclose(text_of_another, by_text, atol=1e-4), "the text's unprompted half is told, too"


@pytest.mark.slow
def test_noise_on_the_embedding(pipe, photo):
    levels = {level: images(pipe, "a dog", like=photo, like_noise_level=level) for level in (0, 1, 600, 999)}
    assert np.array_equal(levels[0], images(pipe, "a dog", like=photo))
    moved = {level: np.abs(drawn - levels[0]).mean() for level, drawn in levels.items()}
    assert moved[999] > moved[600] / 2 > moved[1] > 0
    assert float(NOISE.at_timestep(999.0).alpha) < 0.01
    again = images(pipe, "a dog", like=photo, like_noise_level=600)
    assert np.array_equal(again, levels[600]), "its noise comes from the generator"


@pytest.mark.parametrize("held_clean", ["two_way", "shortcut"])
def test_beside_a_map_held_clean_and_with_guidance(pipe, photo, depth, held_clean):
    settings = {"depth": depth, "like": photo, "guidance_scale": 2.0, "like_guidance_scale": 2.0}
    found = images(pipe, "a dog", held_clean=held_clean, **settings)
    np.testing.assert_allclose(found, images(pipe, "a dog", held_clean="two_way", **settings), atol=1e-4)


@pytest.mark.slow
def test_maps_know_of_it_only_where_that_is_configured(own, photo, other):
    def joint(like):
        reads = Branch(reads=0.0)  # a map that does not read the image
        out = call(own, "a dog", like=like, conditions={"depth": reads}, outputs=["image", "depth"])
        return out.images, out.maps["depth"]

    for on_conditions in (False, True):
        own.add_decoder(tiny_decoder(own, on_conditions=on_conditions))
        (image, map_), (image_2, map_2) = joint(photo), joint(other)
        assert not np.array_equal(image, image_2)
        assert np.array_equal(map_, map_2) is not on_conditions
        own.unload_decoder()


def test_estimates_do_not_know_of_it(pipe, own, photo):
    estimated = [call(p, image=photo, outputs=["depth"]).maps["depth"] for p in (pipe, own)]
    assert np.array_equal(*estimated)


@pytest.mark.slow
def test_it_is_saved_with_the_pipeline_and_comes_back(pipe, own, photo, tmp_path):
    before = images(pipe, "a dog", like=photo)
    pipe.save_pretrained(tmp_path / "saved")
    again = UniConPipeline.from_pretrained(tmp_path / "saved")
    again.set_progress_bar_config(disable=True)
    np.testing.assert_allclose(images(again, "a dog", like=photo), before, atol=ROUNDING)
    assert again.decoder is not None
    assert again.decoder.config == pipe.decoder.config
    with pytest.raises(ValueError, match="holds decoder, not loaded here"):
        own.save_pretrained(tmp_path / "saved")
    own.load_decoder(tmp_path / "saved" / "decoder")
    assert np.array_equal(images(own, "a dog", like=photo), before)
    own.unload_decoder()
    assert own.decoder is None


def test_offloaded_and_merged_it_draws_the_same(own, photo, depth, monkeypatch):
    own.add_decoder(tiny_decoder(own))
    before = images(own, "a dog", depth=depth, like=photo)
    own.merge_for_inference()
    np.testing.assert_allclose(images(own, "a dog", depth=depth, like=photo), before, atol=1e-4)
    own.unmerge()
    offload, plain = accelerate.cpu_offload, torch.device("cpu")  # diffusers' "cpu:0" is another to torch
    monkeypatch.setattr("accelerate.cpu_offload", lambda m, device, **options: offload(m, plain, **options))
    own.enable_sequential_cpu_offload(device="cpu")
    np.testing.assert_allclose(images(own, "a dog", depth=depth, like=photo), before, atol=1e-5)


BAD = [
    ({"like": torch.ones(1, 5) / 5**0.5}, r"shape \(1, 5\); expected \(n, 8\), those of the CLIP in use"),
    ({"like": torch.zeros(0, WIDTH)}, r"shape \(0, 8\); expected"),
    ({"like": 3 * z()}, "lengths from 3 to 3; divide each by its length"),
    ({"like": z() * float("nan")}, "hold NaN or infinity; encode the pictures again"),
    ({"like": []}, "like: got an empty list|like is an empty list"),
    ({"like": 3}, "like: got a int"),
    ({"like": z(), "like_scale": float("inf")}, "like_scale must be a finite number, got inf"),
    ({"like": z(), "like_guidance_scale": float("nan")}, "like_guidance_scale must be a finite number"),
    ({"like": z(), "like_noise_level": 1000}, "from 0 to 999, got 1000; 0 is none"),
    ({"like": z(), "like_noise_level": 0.5}, "from 0 to 999, got 0.5; 0 is none"),
    ({"like": z(), "like_scale": 0.0, "like_guidance_scale": 2.0}, "has no effect at like_scale=0"),
    ({"like_scale": 0.5}, "without like: give like=picture"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[message[:24] for _, message in BAD])
def test_refusals(pipe, arguments, message):
    with pytest.raises(ValueError, match=message):
        images(pipe, "a dog", **arguments)


def test_refusals_of_what_is_not_there(pipe, own, photo):
    with pytest.raises(ValueError, match="the image is given and held; leave one out"):
        call(pipe, image=photo, outputs=["depth"], like=photo)
    with pytest.raises(ValueError, match="like needs a decoder adapter, and none is loaded"):
        images(own, "a dog", like=photo)
    own.add_decoder(tiny_decoder(own))
    with pytest.raises(ValueError, match="a decoder adapter is already there"):
        own.add_decoder(tiny_decoder(own))
    other = tiny_decoder(own)
    own.add_decoder(other, replace=True)
    assert own.decoder is other
    own.register_modules(image_encoder=None)
    with pytest.raises(ValueError, match="this base has no image encoder to see like with"):
        images(own, "a dog", like=photo)
    assert np.isfinite(images(own, "a dog", like=z())).all()
    own.unload_decoder()
    with pytest.raises(ValueError, match="no CLIP: this base has no image encoder"):
        _ = own.clip


def test_another_clip_is_refused_by_name(own, photo, monkeypatch):
    decoder = tiny_decoder(own)
    name = identity(own.image_encoder).name
    assert name == "ViT-16x1/8"
    monkeypatch.setitem(NAMES, (16, 1, 8), "ViT-L/14")
    monkeypatch.setitem(NAMES, (16, 2, 8), "ViT-H/14")
    decoder = tiny_decoder(own)
    own.register_modules(image_encoder=tiny_image_encoder(num_hidden_layers=2, width=12))
    with pytest.raises(ValueError, match=r"was trained with ViT-L/14 \(8 wide\), .* is ViT-H/14 \(12 wide\)"):
        own.add_decoder(decoder)
    own.register_modules(image_encoder=tiny_image_encoder(seed=3))
    with pytest.raises(
        ValueError, match="another ViT-L/14 than the base's image encoder, one with other weig"
    ):
        own.add_decoder(decoder)
    own.register_modules(image_encoder=tiny_image_encoder().to(torch.bfloat16))
    own.add_decoder(decoder)  # the same one in another format
    own.register_modules(image_encoder=tiny_image_encoder(seed=3))
    with pytest.raises(ValueError, match="another ViT-L/14"):
        images(own, "a dog", like=photo)


def test_told_nothing_is_what_guidance_by_it_starts_from(pipe):
    """Guidance by what it is to look like at scale 0 is the estimate told nothing."""
    like = F.normalize(torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(3)), dim=-1)
    nothing = call(pipe, "a dog", like=False).images
    np.testing.assert_allclose(
        nothing, call(pipe, "a dog", like=like, like_guidance_scale=0.0).images, atol=1e-5
    )
    assert np.abs(nothing - call(pipe, "a dog").images).max() > 1e-4, "the adapter is there all the same"
    assert np.abs(nothing - call(pipe, "a dog", like=like).images).max() > 1e-4
    with pytest.raises(ValueError, match="of a call with like=False, which tells nothing"):
        call(pipe, "a dog", like=False, like_guidance_scale=2.0)
    with pytest.raises(ValueError, match="prior and like both say"):
        call(pipe, "a dog", like=False, prior=True)


def test_a_unet_that_is_moved_when_it_is_called_is_there_before_its_decoder_is_asked(own):
    own.add_decoder(tiny_decoder(own))
    own.enable_model_cpu_offload(device="cpu")
    order, hook = [], own.unet._hf_hook
    move = hook.pre_forward
    hook.pre_forward = lambda *a, **k: order.append("moved") or move(*a, **k)
    asked = own.decoder.register_forward_pre_hook(lambda *_: order.append("asked"))
    images(own, "a dog", like=z())
    asked.remove()
    assert order.index("moved") < order.index("asked")
