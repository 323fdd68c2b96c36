"""Do labelled photographs become training shards, with some kept out?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from train.photos import HELD_OUT_EVERY, PhotoSource, prepare_photos
from train.shards import open_shards


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
    prepare_photos(PhotoSource(path=str(parquet), size_px=8), tmp_path / "shards")
    shards = open_shards(tmp_path / "shards")
    assert shards.captions[:3] == ["a photo of a hat", "a photo of shoes", "a photo of a dress"]
    reds = [int(np.median(shards.row("image", n)[..., 0])) for n in range(len(shards))]
    assert reds == [n for n in range(HELD_OUT_EVERY + 1) if n != HELD_OUT_EVERY - 1]
    assert shards.row("image", 0).shape == (8, 8, 3)
    assert len(shards.posed) == 0
    assert (shards.mostly_posed(np.arange(3), np.zeros(3)) == np.arange(3)).all()


def test_prepared_photographs_are_kept(parquet, tmp_path):
    prepare_photos(PhotoSource(path=str(parquet), size_px=8), tmp_path / "shards")
    before = (tmp_path / "shards" / "shard_000000").stat().st_mtime_ns
    prepare_photos(PhotoSource(path="nowhere"), tmp_path / "shards")
    assert (tmp_path / "shards" / "shard_000000").stat().st_mtime_ns == before
