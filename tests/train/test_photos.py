"""Do labelled photographs become training shards, with some kept out?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import train.photos
from train import recipes
from train.command import main
from train.config import override
from train.photos import HELD_OUT_EVERY, prepare_photos
from train.shards import open_shards
from unicon import UniConPipeline
from unicon.data.photos import centred_square
from unicon.limits import FILE


@pytest.fixture
def parquet(tmp_path):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageColumn

    num = HELD_OUT_EVERY + 1
    pictures = [Image.new("RGB", (20, 12), (n, 0, 0)) for n in range(num)]
    labels = ["Hat", "Shoes", "Dress"] * (num // 3)
    features = Features({"image": ImageColumn(), "label": Value("string")})
    Dataset.from_dict({"image": pictures, "label": labels}, features=features).to_parquet(
        tmp_path / "photos.parquet"
    )
    return tmp_path / "photos.parquet"


def test_photographs_become_squares_with_captions_and_some_are_held_out(parquet, tmp_path):
    prepare_photos(str(parquet), tmp_path / "shards", size_px=8)
    shards = open_shards(tmp_path / "shards")
    assert shards.captions[:3] == ["a photo of a hat", "a photo of shoes", "a photo of a dress"]
    reds = [int(np.median(shards.row("image", n)[..., 0])) for n in range(len(shards))]
    assert reds == [n for n in range(HELD_OUT_EVERY + 1) if n != HELD_OUT_EVERY - 1]
    assert shards.row("image", 0).shape == (8, 8, 3)
    assert len(shards.posed) == 0
    assert (shards.mostly_posed(np.arange(3), np.zeros(3)) == np.arange(3)).all()


def test_words_come_from_captions_names_of_labels_and_folders(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value
    from datasets import Image as ImageColumn

    def prepared(name: str, column: str, kind, values: list) -> list[str]:
        rows = {"image": [Image.new("RGB", (9, 9))] * len(values), column: values}
        features = Features({"image": ImageColumn(), column: kind})
        Dataset.from_dict(rows, features=features).to_parquet(tmp_path / f"{name}.parquet")
        prepare_photos(str(tmp_path / f"{name}.parquet"), tmp_path / name, size_px=8)
        return open_shards(tmp_path / name).captions

    assert prepared("named", "label", ClassLabel(names=["Cat", "Shoes"]), [1, 0]) == [
        "a photo of shoes", "a photo of a cat",
    ]  # fmt: skip
    assert prepared("told", "text", Value("string"), ["My cat."]) == ["My cat."]
    with pytest.raises(
        ValueError, match="have the columns image, kind; expected image, and one of label, capt"
    ):
        prepared("other", "kind", Value("string"), ["cat"])
    assert not (tmp_path / "other").exists()
    for label in ("dog", "cat"):
        (tmp_path / "sorted" / label).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "sorted" / label / "1.png")
    prepare_photos(str(tmp_path / "sorted"), tmp_path / "shards", size_px=8)
    assert open_shards(tmp_path / "shards").captions == ["a photo of a cat", "a photo of a dog"]


def test_prepared_photographs_are_kept(parquet, tmp_path):
    prepare_photos(str(parquet), tmp_path / "shards", size_px=8)
    before = (tmp_path / "shards" / "shard_000000").stat().st_mtime_ns
    prepare_photos("nowhere", tmp_path / "shards")
    assert (tmp_path / "shards" / "shard_000000").stat().st_mtime_ns == before


def test_photographs_are_prepared_whole_or_not_at_all(parquet, tmp_path, monkeypatch):
    kept, taken = train.photos.centred_square, []

    def stopped(picture, size):
        taken.append(1)
        if len(taken) == 6:
            raise KeyboardInterrupt
        return kept(picture, size)

    monkeypatch.setattr("train.shards.SCENES_PER_SHARD", 4)
    monkeypatch.setattr("train.photos.centred_square", stopped)
    with pytest.raises(KeyboardInterrupt):
        prepare_photos(str(parquet), tmp_path / "shards", size_px=8)
    prepare_photos(str(parquet), tmp_path / "shards", size_px=8)
    assert len(open_shards(tmp_path / "shards")) == HELD_OUT_EVERY


def test_small_photographs_are_enlarged_smoothly():
    ramp = np.linspace(0, 255, 16)[None, :, None].repeat(16, 0).repeat(3, 2).astype(np.uint8)
    enlarged = centred_square(ramp, 64)[30, 8:-8, 0].astype(int)
    assert (np.diff(enlarged) >= 0).all()
    assert np.diff(enlarged).max() < 10  # blocks would rise by 17 at once


@pytest.mark.slow
def test_the_recipe_trains_minis_unet_on_and_puts_it_into_a_base(parquet, tmp_path, monkeypatch):
    stages = dict(recipes.FAMILIES["photos"])
    short = {
        "steps": "1",
        "batch_size": "2",
        "mixed_precision": "no",
        "warmup_steps": "1",
        "decay_share": "0",
    }
    stages["unet"] = override(stages["unet"], short)
    monkeypatch.setitem(recipes.FAMILIES, "photos", stages)
    assert main(["photos", "--photos", str(parquet), "--out", str(tmp_path)]) == 0
    own, mini = UniConPipeline.from_pretrained(tmp_path / "pipeline"), UniConPipeline.from_pretrained("mini")
    trained = dict(mini.unet.named_parameters())
    off = {name: float((p - trained[name]).detach().abs().max()) for name, p in own.unet.named_parameters()}
    assert 0 < max(off.values()) < 0.1
    assert own.adapters.keys() == mini.adapters.keys()
    for name, tensor in own.vae.state_dict().items():
        assert torch.equal(tensor, mini.vae.state_dict()[name])
    assert not (tmp_path / "pipeline" / FILE).exists()
    assert str(tmp_path) not in (tmp_path / "pipeline" / "unet" / "config.json").read_text()
