"""What the tests of own pairs begin with: a tiny base, and six pairs of three sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_base import save_tiny_base
from tests.train.own_pairs import SIZES, picture


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def data(tmp_path) -> Path:
    for name, seed in (("image", 0), ("depth", 100)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i, size in enumerate(SIZES):
            picture(seed + i, size).save(tmp_path / "data" / name / f"{i}.png")
    (tmp_path / "data" / "image" / "0.txt").write_text("a dog\nan animal")
    return tmp_path / "data"
