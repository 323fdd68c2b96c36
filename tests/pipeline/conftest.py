"""A tiny pipeline with the mini family's four adapters, and what its tests call it with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.tiny_base import SIDE_PX, tiny_pipeline
from unicon import UniConOutput, UniConPipeline

ROUNDING = 1e-5
"""To which two pipelines of the same weights agree: on some processors products are rounded by where their
tensors lie in memory."""


@pytest.fixture(scope="module")
def pipe(tmp_path_factory: pytest.TempPathFactory) -> UniConPipeline:
    return tiny_pipeline(tmp_path_factory.mktemp("words"))


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    return np.random.default_rng(0).random((SIDE_PX, SIDE_PX, 3), dtype=np.float32)


@pytest.fixture(scope="session")
def depth() -> np.ndarray:
    return np.random.default_rng(1).random((SIDE_PX, SIDE_PX), dtype=np.float32)


def seeded(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def call(pipe: UniConPipeline, *args: object, **kwargs: object) -> UniConOutput:
    """Three steps from seed 0 without guidance, as arrays, unless said otherwise."""
    defaults = {
        "num_inference_steps": 3,
        "guidance_scale": 1.0,
        "output_type": "np",
        "generator": torch.Generator().manual_seed(0),
    }
    return pipe(*args, **{**defaults, **kwargs})
