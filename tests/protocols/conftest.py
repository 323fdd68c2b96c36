"""A tiny base, a tiny regressor for it, a tiny judge, and a few small scenes, each made once for all tests
here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from eval.protocols.scene_set import scene_set
from eval.protocols.scenes import SceneSplits
from tests.adapters.tiny import tiny_unet
from tests.tiny_base import SIDE_PX, save_tiny_base
from tests.tiny_judge import save_tiny_judge
from unicon.pipeline import UniConPipeline


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="session")
def splits(cache) -> SceneSplits:
    return SceneSplits(
        test=scene_set("standard", 4, size_px=SIDE_PX, cache_folder=cache),
        validation=scene_set("validation", 2, size_px=SIDE_PX, cache_folder=cache),
        training=scene_set("training", 2, size_px=SIDE_PX, cache_folder=cache),
    )


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    return save_tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="session")
def pipe(base) -> UniConPipeline:
    pipeline = UniConPipeline.from_pretrained(base)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="session")
def regressor(tmp_path_factory) -> Path:
    """A regressor's exported folder, as `train.objectives.regressor` writes it."""
    folder = tmp_path_factory.mktemp("regressor")
    tiny_unet().save_pretrained(folder / "unet")
    generator = torch.Generator().manual_seed(0)
    triggers = {name: torch.randn(16, 12, generator=generator) for name in ("depth", "edge", "pose")}
    save_file(triggers, folder / "triggers.safetensors")
    return folder


@pytest.fixture(scope="session")
def judge(tmp_path_factory) -> Path:
    """A judge's exported folder, as `train.objectives.judge` writes it."""
    return save_tiny_judge(tmp_path_factory.mktemp("judge"))
