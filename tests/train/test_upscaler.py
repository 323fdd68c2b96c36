"""Does an adapter learn to enlarge from pictures alone, and the mini family's from its scenes?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from tests.tiny_base import SIDE_PX, save_tiny_base
from tests.train.own_pairs import picture
from train import shards
from train.command import main
from train.config import override
from train.crops import CROPS, items_of, render_crops
from train.objectives.pairs import PairsConfig
from train.objectives.upsampler import SceneUpsamplerConfig
from train.pairs.framing import Bucket, View, framed
from train.recipes import FAMILIES
from unicon import UniConPipeline
from unicon.conditions.lowres import degraded_anyhow
from unicon.data.scenes import SceneConfig
from unicon.upscaling import Upscaling, upscale

SIZES = [(96, 64), (64, 96), (200, 150), (64, 64)]


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny", {})


@pytest.fixture
def data(tmp_path) -> Path:
    (tmp_path / "data" / "image").mkdir(parents=True)
    for i, size in enumerate(SIZES):
        picture(i, size).save(tmp_path / "data" / "image" / f"{i}.png")
    return tmp_path / "data"


def run(recipe: str, data: Path, base: Path, out: Path, *more: str) -> int:
    loop = ["--steps", "2", "--batch_size", "2", "--mixed_precision", "no", "--rank", "2"]
    return main([recipe, "--data", str(data), "--base", str(base), *loop, "--out", str(out), *more])


@pytest.mark.parametrize(
    ("recipe", "more"), [("upscaler", ["--crops", "2"]), ("adapter", ["--condition", "lowres"])]
)
def test_pictures_alone_are_enough_and_the_adapter_enlarges(recipe, more, data, base, tmp_path):
    out = tmp_path / "runs"
    assert run(recipe, data, base, out, *more) == 0
    pipe = UniConPipeline.from_pretrained(base, adapters=())
    pipe.load_adapter(out / recipe / "export")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.adapters["lowres"].config.trigger == "lowres map, "
    (made,) = upscale(pipe, picture(0, (SIDE_PX, SIDE_PX)), Upscaling(num_inference_steps=1))
    assert made.size == (2 * SIDE_PX, 2 * SIDE_PX)


def settings(data: Path, base: Path, **changes) -> PairsConfig:
    fields = {"condition": "lowres", "data": str(data), "base": str(base), "rank": 2, "crops": 2, **changes}
    return PairsConfig(**fields)


def test_maps_are_made_of_the_crops_that_are_seen(data, base, tmp_path):
    config = settings(data, base, flip=False)
    reader = config._reader(*config._parts(), _state(), tmp_path)
    entry, encoder = reader.pairs[2], reader.encoder
    (whole, part), (small, smaller) = encoder._seen(entry, "lowres", encoder.views)
    assert np.array_equal(small, degraded_anyhow(whole))
    assert np.array_equal(smaller, degraded_anyhow(part))


def test_losses_from_the_cache_are_those_without(data, base, tmp_path):
    losses = []
    for cache in ("cache", ""):
        objective = settings(data, base, cache=cache).build(tmp_path)
        draws = objective.draw(torch.Generator().manual_seed(0), torch.tensor([0]))
        losses.append(objective(np.array([0]), draws)[0])
    assert torch.equal(*losses)
    assert bool(objective.examples.read(np.array([0]), draws).present.all())


def test_zoomed_views_stay_within_the_picture_and_never_enlarge_it():
    ramp = np.arange(200, dtype=np.uint8)[None, :, None].repeat(100, 0).repeat(3, 2)
    large = PIL.Image.fromarray(ramp)
    bucket = Bucket(40, 40)
    left = framed(large, bucket, View(0.0, zoom=4.0, down=0.5))[..., 0]
    assert np.array_equal(left, ramp[30:70, :40, 0])  # 2.5 times is all there is
    right = framed(large, bucket, View(1.0, zoom=2.5))[..., 0]
    assert np.array_equal(right, ramp[60:, 160:, 0])


def test_pictures_without_enough_detail_are_named(data, base, tmp_path, capsys):
    picture(7, (20, 50)).save(data / "image" / "tiny.png")
    assert run("upscaler", data, base, tmp_path / "runs") == 2
    assert "tiny: has 20 x 50 px and would be enlarged to" in capsys.readouterr().err
    assert run("upscaler", data, base, tmp_path / "runs", "--bad_share", "0.5", "--cache", "") == 0


def test_own_small_pictures_are_taken_where_they_are(data, base, tmp_path):
    (data / "lowres").mkdir()
    own = picture(50, SIZES[3])
    own.save(data / "lowres" / "3.png")
    config = settings(data, base, flip=False)
    encoder = config._reader(*config._parts(), _state(), tmp_path).encoder
    entry = config._pairs()[3]
    _, maps = encoder._seen(entry, "lowres", encoder.views[:1])
    assert np.array_equal(maps[0], framed(own, Bucket(SIDE_PX, SIDE_PX), View()))


def _state():
    from accelerate import PartialState

    return PartialState()


# --- the mini family --------------------------------------------------------------------------------------


def test_a_scene_gives_the_whole_and_parts_twice_as_large():
    items = list(items_of(3, 48))
    assert len(items) == 1 + CROPS
    for item in items:
        assert item.image.shape == item.lowres.shape == (48, 48, 3)
        error = np.abs(item.image.astype(float) - item.lowres).mean()
        assert 0 < error < 40
        assert np.abs(item.image.mean((0, 1)) - item.lowres.mean((0, 1))).max() < 6
    again = list(items_of(3, 48))
    assert all(np.array_equal(a.lowres, b.lowres) for a, b in zip(items, again, strict=True))


def test_shards_of_crops_hold_whole_scenes_and_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("train.shards.SCENES_PER_SHARD", 8)
    render_crops(tmp_path, 8, 1000, 1)
    found = shards.open_shards(tmp_path)
    assert len(found) == 8
    size = SceneConfig().size
    assert found.arrays["lowres"][0].shape == (8, size, size, 3)
    assert np.array_equal(found.row("image", 5), list(items_of(1001, size))[1].image)
    before = _shard_times(tmp_path)
    render_crops(tmp_path, 8, 1000, 1)
    assert _shard_times(tmp_path) == before


def _shard_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}


def test_captions_are_always_dropped_and_the_card_says_what_it_is():
    for recipe in (FAMILIES["mini"]["lowres"], FAMILIES["upscaler"]["upscaler"]):
        assert (recipe.objective.condition, recipe.objective.caption_dropout) == ("lowres", 1.0)
        assert recipe.objective.bare_photos == 1.0
    config = override(FAMILIES["mini"]["lowres"], {"validation_pairs": "2"}).objective
    assert isinstance(config, SceneUpsamplerConfig)
    held_out = config._held_out()
    assert held_out.pictures.shape == held_out.maps.shape
    assert json.dumps(held_out.captions) == '["", ""]'
    assert "scenes that unicon renders" in config.origin().data
