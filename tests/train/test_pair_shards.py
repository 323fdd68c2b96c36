"""Do pairs become training shards, and is a base asked for the maps that they have, and for no others?"""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest
import torch

from tests.train.test_base_unet import SHAPE, TOKENS, WIDTH
from train.command import main
from train.latents import TRIGGERS
from train.objectives.base_unet import BaseUnetConfig
from train.pairs.shards import PairViews, write_pair_shards
from train.recipes import FAMILIES
from train.shards import open_shards, write_shard
from train.stage_kinds import PairStage, RebaseStage


@pytest.fixture
def data(tmp_path):
    """A ramp from left to right and its negative, wider than high."""
    ramp = np.linspace(0, 200, 60).astype(np.uint8)[None, :, None].repeat(40, 0).repeat(3, 2)
    for name, picture in (("image", ramp), ("depth", 255 - ramp)):
        (tmp_path / "data" / name).mkdir(parents=True)
        PIL.Image.fromarray(picture).save(tmp_path / "data" / name / "a.png")
    (tmp_path / "data" / "image" / "a.txt").write_text("a ramp")
    return tmp_path / "data"


def test_every_view_shows_the_same_of_both_sides(data, tmp_path):
    write_pair_shards(
        PairViews(source=str(data), condition="depth", size_px=32, crops=2), tmp_path / "shards"
    )
    shards = open_shards(tmp_path / "shards")
    assert shards.captions == shards.second_captions == ["a ramp"] * 4
    pictures, maps = (
        np.stack([shards.row(name, n) for n in range(4)]).astype(int) for name in ("image", "depth")
    )
    assert pictures.shape == (4, 32, 32, 3)
    assert np.abs(pictures + maps - 255).max() <= 2
    means = pictures.mean((1, 2, 3))
    assert means[0] == pytest.approx(means[1])  # mirrored
    assert means[0] + 20 < means[2]  # further right
    assert np.array_equal(pictures[1], pictures[0][:, ::-1])


def test_shards_that_are_there_are_kept_and_pairs_without_a_map_are_named(data, tmp_path):
    views = PairViews(source=str(data), condition="depth", size_px=32, crops=2)
    write_pair_shards(views, tmp_path / "shards")
    PIL.Image.new("RGB", (60, 40)).save(data / "image" / "b.png")
    write_pair_shards(views, tmp_path / "shards")
    assert len(open_shards(tmp_path / "shards")) == 4
    with pytest.raises(ValueError, match="pair b is not whole; unicon check lists"):
        write_pair_shards(views, tmp_path / "other")
    assert not (tmp_path / "other").exists(), "a part of a set is none"
    PIL.Image.new("RGB", (20, 60)).save(data / "depth" / "b.png")
    with pytest.raises(ValueError, match="b.png: has 20 x 60 pixels, its picture 60 x 40"):
        write_pair_shards(views, tmp_path / "other")


def test_a_map_whose_colours_say_left_and_right_is_redrawn_for_the_mirror(data, tmp_path):
    (data / "depth").rename(data / "normal")
    PIL.Image.new("RGB", (60, 40), (200, 128, 128)).save(data / "normal" / "a.png")
    write_pair_shards(PairViews(source=str(data), condition="normal", size_px=32), tmp_path / "shards")
    shards = open_shards(tmp_path / "shards")
    assert [shards.row("normal", n)[0, 0, 0] for n in (0, 1)] == [200, 55]


def encoded(folder, *maps: str) -> None:
    rng = np.random.default_rng(0)
    names = ("image", *maps)
    arrays = {name: rng.standard_normal((8, *SHAPE)).astype(np.float16) for name in names}
    arrays |= {f"{name}_text": np.zeros((8, TOKENS, WIDTH), np.float16) for name in names}
    texts = {"captions": ["a room"] * 8, "second_captions": ["a room"] * 8}
    write_shard(folder / "latents" / "shard_000000", arrays, texts)
    np.save(folder / "latents" / "empty_text.npy", np.zeros((len(TRIGGERS), TOKENS, WIDTH), np.float16))


def test_a_base_is_asked_for_the_maps_that_there_are(tmp_path):
    encoded(tmp_path, "depth")
    config = BaseUnetConfig(
        channels=(16, 32), head_width=8, photo_latents="", maps=("depth",), shares=(1.0, 0, 0, 0, 0, 0)
    )
    objective, items = config.build(tmp_path), torch.arange(4)
    draws = objective.draw(torch.Generator().manual_seed(0), items)
    draws["clean"] = torch.zeros(4)
    loss, parts = objective(items, draws)
    assert torch.isfinite(loss).all()
    assert (parts["maps_of_clean"] > 0).all()
    wanted = objective._maps(items.numpy(), np.zeros(4, int))
    assert np.array_equal(wanted[2].numpy(), objective.scenes.row("depth", 2).astype(np.float32))


@pytest.mark.parametrize("maps", [("depth", "edge"), ()])
def test_maps_that_the_data_do_not_have_are_refused(maps, tmp_path):
    encoded(tmp_path, "depth")
    with pytest.raises(ValueError, match="the data have depth: name some of those"):
        BaseUnetConfig(channels=(16, 32), head_width=8, photo_latents="", maps=maps).build(tmp_path)


def test_the_recipe_asks_for_pairs(tmp_path, capsys):
    stages = FAMILIES["photo-depth"]
    assert isinstance(stages["pairs"], PairStage)
    assert isinstance(stages["pipeline"], RebaseStage)
    assert main(["photo-depth/pairs", "--out", str(tmp_path)]) == 2
    assert "learns from photographs with depth: give --pairs PAIRS" in capsys.readouterr().err
