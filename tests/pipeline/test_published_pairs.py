"""Do several published adapters, images and conditions go together as in the published algorithm?

By a second implementation, which is held to the published code's own tensors first.
"""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.parity import pipeline
from tests.adapters.published_algorithm import Checkpoint, predict
from tests.adapters.tiny import FIXTURES

CASES = json.loads((FIXTURES / "cases.json").read_text())["forward"]
CHECKPOINTS = {name: Checkpoint.read(FIXTURES / name) for name in ("depth", "id")}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "merged"])
def both(request):
    """A pipeline with both published adapters."""
    pipe = pipeline("depth", merged=False)
    pipe.load_adapter(FIXTURES / "id")
    if request.param:
        pipe.merge_for_inference()
    return pipe


@pytest.fixture(scope="module")
def base():
    """The bare base."""
    pipe = pipeline("depth", merged=False)
    pipe.unload_adapter()
    return pipe.unet


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_the_second_implementation_computes_what_the_published_code_did(base, case):
    tensors = load_file(FIXTURES / f"forward_{case['name']}.safetensors")
    on = case.get("joint", True)
    pairs = [(i, c, wi * on, wc * on, name) for i, c, wi, wc, name in case["pairs"]]
    inputs = tensors["sample"], tensors["timestep"], tensors["encoder_hidden_states"]
    found = predict(base, CHECKPOINTS, inputs, pairs, 2 if case.get("cfg") else 1)
    torch.testing.assert_close(found, tensors["out"], atol=1e-5, rtol=0)


PAIRS = {
    "two adapters on one image": [(0, 1, 1.0, 1.0, "depth"), (0, 2, 1.0, 1.0, "id")],
    "with weights": [(0, 1, 0.6, 0.3, "depth"), (0, 2, 0.5, 1.2, "id")],
    "one adapter twice": [(0, 1, 0.7, 1.0, "depth"), (0, 2, 0.5, 0.4, "depth")],
    "two images under one map": [(0, 2, 1.0, 1.0, "depth"), (1, 2, 0.8, 0.9, "depth")],
    "two images under two conditions": [
        (0, 2, 1.0, 0.5, "depth"), (1, 2, 0.8, 1.0, "depth"), (0, 3, 0.7, 0.6, "id"), (1, 3, 1.0, 1.0, "id"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("num_guidance", [1, 2])
@pytest.mark.parametrize("name", PAIRS)
def test_pairs_of_any_kind_are_those_of_the_published_algorithm(both, base, name, num_guidance):
    pairs = PAIRS[name]
    branches = 1 + max(max(pair[:2]) for pair in pairs)
    generator = torch.Generator().manual_seed(branches)
    items = num_guidance * branches
    inputs = (
        torch.randn(items, 4, 16, 16, generator=generator),
        torch.randint(0, 1000, (branches,), generator=generator).repeat(num_guidance),
        torch.randn(items, 7, 16, generator=generator),
    )
    found = both.predict(*inputs, pairs=pairs, num_guidance=num_guidance)
    expected = predict(base, CHECKPOINTS, inputs, pairs, num_guidance)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    alone = both.predict(*inputs, pairs=[pairs[0]], num_guidance=num_guidance, num_branches=branches)
    assert (found - alone).abs().max() > 1e-3  # the other pairs matter
