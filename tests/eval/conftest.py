"""A tiny base, two runs of suite `mini` on it that differ in their steps, each made once; what published
packages say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eval import __main__ as front
from tests.programs import ROOT
from tests.tiny_base import save_tiny_base
from tests.tiny_clip import tiny_image_encoder

NUM = 8


@pytest.fixture(scope="session")
def oracles() -> dict[str, np.ndarray]:
    """Features, and what published packages say of them."""
    with np.load(ROOT / "tests" / "fixtures" / "rarity" / "oracles.npz", allow_pickle=False) as packed:
        return dict(packed)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def scene_options(base, tmp_path_factory) -> list[str]:
    """What keeps a run of suite `mini` tiny."""
    features = tmp_path_factory.mktemp("clip")
    tiny_image_encoder().save_pretrained(features)
    return [
        "--base", str(base), "--cache", str(tmp_path_factory.mktemp("scenes")), "--features", str(features),
        "--num", str(NUM), "--validation-num", "2", "--training-num", "2", "--device", "cpu",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def runs(scene_options, tmp_path_factory) -> tuple[Path, Path]:
    """Two folders, two seeds: every direction of depth in the first, generated pictures in the second."""
    folder = tmp_path_factory.mktemp("runs")
    first, second = folder / "before", folder / "after"
    how = [*scene_options, "--conditions", "depth", "--seeds", "2"]
    assert front.main(["mini", *how, "--steps", "1", "--out", str(first)]) == 0
    assert front.main(["mini", *how, "--steps", "2", "--directions", "generate", "--out", str(second)]) == 0
    return first, second
