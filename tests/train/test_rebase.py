"""What comes of parts that were trained on: a base of its own, in which they stand for those it had."""

from __future__ import annotations

import json

import torch
from safetensors.torch import load_file

from adapters import AdapterConfig, save_adapter
from tests.adapters.tiny import trained
from tests.tiny_base import save_tiny_base
from train.assemble import rebase
from train.recipes import FAMILIES
from train.stage_kinds import ADAPTERS, RebaseStage
from unicon import UniConPipeline


def test_a_trained_adapter_takes_its_place_and_the_others_stay(tmp_path):
    base = save_tiny_base(tmp_path / "base", {"depth": "depth map, ", "edge": "edge map, "})
    config = AdapterConfig(condition="depth", rank=2, locality=4.0, clean_timestep=150, trigger="depth map, ")
    unet = UniConPipeline.from_pretrained(base, adapters=()).unet
    new = trained(unet, config, seed=7)
    save_adapter(new, tmp_path / "family" / "depth" / "export")

    rebase(base, tmp_path / "family", ["depth"], tmp_path / "pipeline")

    stored = {
        name: load_file(tmp_path / "pipeline" / "adapters" / name / "adapter.safetensors")
        for name in ("depth", "edge")
    }
    kept = load_file(base / "adapters" / "edge" / "adapter.safetensors")
    assert all(torch.equal(stored["edge"][name], tensor) for name, tensor in kept.items())
    wanted = {name: tensor.half() for name, tensor in new.tensors()}
    assert stored["depth"].keys() == wanted.keys()
    assert all(torch.equal(stored["depth"][name], tensor) for name, tensor in wanted.items())
    assert set(UniConPipeline.from_pretrained(tmp_path / "pipeline").adapters) == {"depth", "edge"}


def test_a_trained_unet_takes_its_place_and_what_was_familiar_to_the_other_is_forgotten(tmp_path):
    base = save_tiny_base(tmp_path / "base", {"depth": "depth map, "})
    (base / "limits.json").write_text("{}")
    unet = UniConPipeline.from_pretrained(base, adapters=()).unet
    with torch.no_grad():
        unet.conv_in.weight.fill_(0.5)
    unet.save_pretrained(tmp_path / "family" / "unet" / "export" / "unet")

    rebase(base, tmp_path / "family", ["unet"], tmp_path / "pipeline")

    made = UniConPipeline.from_pretrained(tmp_path / "pipeline")
    assert torch.all(made.unet.conv_in.weight == 0.5)
    assert set(made.adapters) == {"depth"}
    assert not (tmp_path / "pipeline" / "limits.json").exists()
    assert "_name_or_path" not in json.loads((tmp_path / "pipeline" / "unet" / "config.json").read_text())


def test_the_recipe_that_trains_minis_adapters_on_ends_in_a_base():
    stages = FAMILIES["mini-again"]
    last = stages["pipeline"]
    assert isinstance(last, RebaseStage)
    assert set(last.parts) == set(ADAPTERS) <= set(stages)
