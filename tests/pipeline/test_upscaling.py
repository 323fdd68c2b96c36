"""Is a large picture drawn in parts one picture, and does it follow the small one?"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adapters import AdapterConfig
from tests.adapters.tiny import trained
from tests.pipeline.conftest import call
from tests.tiny_base import tiny_pipeline
from unicon import UniConPipeline
from unicon.call.network import BranchNetwork
from unicon.call.tiles import MOST_CACHED, OVERLAP, TiledNetwork, Window, shares, windows
from unicon.conditions.lowres import enlarged
from unicon.pictures import as_array, as_pictures, resize
from unicon.upscaling import LAYOUT_PX, Upscaling, enlarge, recoloured, upscale


@pytest.fixture(scope="module")
def pipe(tmp_path_factory) -> UniConPipeline:
    made = tiny_pipeline(tmp_path_factory.mktemp("words"))
    settings = AdapterConfig(condition="lowres", rank=2, locality=4.0, clean_timestep=150)
    made.add_adapter(trained(made.unet, settings, seed=9))
    return made


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(("height", "width", "side"), [(16, 16, 16), (32, 32, 16), (9, 41, 16), (17, 16, 8)])
def test_windows_cover_a_picture_and_overlap(height, width, side):
    parts = windows(height, width, side)
    seen = torch.zeros(height, width)
    for part in parts:
        assert (part.height, part.width) == (min(height, side), min(width, side))
        assert float(part.weight().min()) > 0
        seen[part.cells] += 1
    assert float(seen.min()) >= 1
    assert (len(parts) == 1) == (max(height, width) <= side)
    for starts, tall in ((sorted({p.top for p in parts}), height), (sorted({p.left for p in parts}), width)):
        assert all(b - a <= side * (1 - OVERLAP) for a, b in zip(starts, starts[1:], strict=False))
        assert starts[-1] + min(tall, side) == tall


def test_parts_that_disagree_are_blended_without_a_step():
    """Every window insists on a brightness of its own."""
    parts = windows(32, 32, 16)
    answers = iter(range(len(parts)))
    networks = [
        SimpleNamespace(
            evaluate=lambda x, levels, variants, value=float(n): x.expand(1, *x.shape) * 0 + value
        )
        for n in answers
    ]
    made = TiledNetwork(networks=networks, windows=parts).evaluate(torch.zeros(1, 1, 1, 32, 32), None, [0])
    plane = made[0, 0, 0, 0]
    across, down = plane.diff(dim=1).abs().max(), plane.diff(dim=0).abs().max()
    assert float(across) < 0.25  # neighbours in a row differ by 1
    assert float(down) < 0.75  # and by 3 from row to row
    assert float(plane.max() - plane.min()) > 6


def test_shares_of_parts_add_up_and_are_computed_once_in_a_run(monkeypatch):
    parts, x = windows(24, 40, 16), torch.zeros(1, 1, 1, 24, 40)
    total = torch.zeros(24, 40)
    for part, share in zip(parts, shares(parts, x), strict=True):
        total[part.cells] += share
    np.testing.assert_allclose(total, 1, atol=1e-6)
    steps = SimpleNamespace(evaluate=lambda x, levels, variants: x[None])
    network = TiledNetwork(networks=[steps] * len(parts), windows=parts)
    first = network.evaluate(x + 3, None, [0])
    monkeypatch.setattr(Window, "weight", None)
    np.testing.assert_allclose(network.evaluate(x + 3, None, [0]), first)
    np.testing.assert_allclose(first, 3, atol=1e-5)


def test_one_window_is_the_run_without(pipe, depth):
    plain = call(pipe, "a dog", depth=depth).images
    for tile_size in (0, 32, 64):
        np.testing.assert_allclose(
            call(pipe, "a dog", depth=depth, tile_size=tile_size).images, plain, atol=1e-5
        )


def test_an_estimate_in_parts_keeps_the_pictures_size(pipe):
    large = np.random.default_rng(0).random((48, 64, 3), dtype=np.float32)
    at_once = call(pipe, image=large, outputs=["depth"], output_type="latent").conditions["depth"]
    in_parts = call(pipe, image=large, outputs=["depth"], output_type="latent", tile_size=0).conditions[
        "depth"
    ]
    assert at_once.shape[-2:] == (6, 8)
    assert in_parts.shape[-2:] == (12, 16)


def test_a_huge_picture_passes_the_autoencoder_in_parts_too(pipe, monkeypatch):
    seen, own = [], type(pipe.vae).decode
    monkeypatch.setattr(
        type(pipe.vae), "decode", lambda vae, *a, **k: seen.append(vae.use_tiling) or own(vae, *a, **k)
    )
    for height in (128, 160):
        map_ = np.zeros((height, 32, 3), np.float32)
        call(pipe, depth=map_, tile_size=0, num_inference_steps=1)
    assert seen == [False, True]
    assert not pipe.vae.use_tiling


def test_cached_and_uncached_parts_agree_and_are_not_the_whole(pipe):
    large = np.random.default_rng(0).random((48, 64, 3), dtype=np.float32)
    drawn = {
        name: call(pipe, "a dog", lowres=large, tile_size=0, held_clean=name).images[0]
        for name in ("shortcut", "two_way")
    }
    assert drawn["shortcut"].shape == (48, 64, 3)
    np.testing.assert_allclose(drawn["shortcut"], drawn["two_way"], atol=2e-4)
    assert np.abs(call(pipe, "a dog", lowres=large).images[0] - drawn["shortcut"]).max() > 0.01


def test_many_parts_keep_no_cache(pipe):
    prompts = torch.zeros(2, 1, 1, 1, 1)
    network = BranchNetwork(
        unet=pipe.unet, prediction="v_prediction", pairs=[], prompts=prompts, shortcut=True
    )
    for cells, kept in (((16, 16), True), ((64, 64), False)):
        made = TiledNetwork.of(network, cells, 8)
        assert (len(made.windows) <= MOST_CACHED) == kept
        assert all(each.shortcut == kept for each in made.networks)


def test_a_picture_is_drawn_larger_and_depends_on_the_small_one(pipe):
    small = np.random.default_rng(1).random((20, 24, 3), dtype=np.float32)
    settings = Upscaling(scale=2, num_inference_steps=2)
    made = upscale(pipe, small, settings, generator=seeded(), output_type="np")
    assert made.shape == (1, 40, 48, 3)
    again = upscale(pipe, small, settings, generator=seeded(), output_type="np")
    assert np.array_equal(made, again)
    free = Upscaling(scale=2, num_inference_steps=2, keep_colours=False)
    other = 1 - small
    drawn = [upscale(pipe, each, free, generator=seeded(), output_type="np") for each in (small, other)]
    assert np.abs(drawn[0] - drawn[1]).max() > 0.01
    loose = Upscaling(scale=2, num_inference_steps=2, noise=0.5, keep_colours=False)
    assert np.abs(upscale(pipe, small, loose, generator=seeded(), output_type="np") - drawn[0]).max() > 1e-3
    (picture,) = upscale(pipe, small, Upscaling(scale=1.5, num_inference_steps=1), generator=seeded())
    assert picture.size == (36, 30)


def test_colours_are_the_given_ones_at_a_coarse_look_and_detail_stays():
    rng = torch.Generator().manual_seed(0)
    given = resize(torch.rand(1, 3, 4, 4, generator=rng) * 0.6 + 0.2, 128, 128)
    texture = 0.05 * torch.rand(1, 3, 128, 128, generator=rng)
    made = recoloured((given * 0.7 + 0.1 + texture).clamp(0, 1), given, scale=2)
    coarse = [resize(each, 128 // LAYOUT_PX // 2, 128 // LAYOUT_PX // 2) for each in (made, given)]
    assert float((coarse[0] - coarse[1]).abs().mean()) < 0.01
    fine = [each - resize(resize(each, 64, 64), 128, 128) for each in (made, texture)]
    assert float((fine[0] - fine[1]).abs().mean()) < 0.2 * float(fine[1].abs().mean())


def test_the_map_is_enlarged_as_in_training():
    small = as_pictures(np.random.default_rng(0).random((8, 8, 3), dtype=np.float32), "picture")
    other = small.flip(-1)
    made = enlarge(torch.cat([small, other]), 16, 24)
    for each, given in zip(made, (small, other), strict=True):
        trained_on = enlarged((as_array(given)[0] * 255).round().astype(np.uint8), 24, 16)
        assert np.array_equal((as_array(each) * 255).round(), trained_on)


def test_all_parts_forget_what_a_callback_changed():
    seen = []
    networks = [SimpleNamespace(forget=lambda n=n: seen.append(n)) for n in range(3)]
    TiledNetwork(networks=networks, windows=windows(8, 16, 8)).forget()
    assert seen == [0, 1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 1.0}, "scale must be a number above 1 and of at most 4, got 1.0"),
        ({"scale": 5}, "scale must be .*, got 5; .* enlarge twice for more"),
        ({"noise": 1.0}, "noise must be a number of at least 0 and below 1, got 1.0"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Upscaling(**settings)


def test_what_cannot_be_enlarged_is_said(pipe, photo, tmp_path):
    with pytest.raises(ValueError, match="tile_size is 30; expected a multiple of 8 pixels"):
        upscale(pipe, photo, Upscaling(tile_size=30))
    with pytest.raises(ValueError, match="output_type is 'latent', but colours are kept in pixels"):
        upscale(pipe, photo, output_type="latent")
    without = tiny_pipeline(tmp_path / "words")
    with pytest.raises(ValueError, match="needs an adapter for 'lowres', and none is loaded, only depth"):
        upscale(without, photo)
    huge = np.zeros((32 * 5, 32, 3), np.float32)
    with pytest.raises(ValueError, match="tile_size=0 to work on a part at a time"):
        call(pipe, depth=huge)
    assert call(pipe, depth=huge, tile_size=0, num_inference_steps=1).images.shape == (1, 160, 32, 3)
