"""Does joint attention compute what the published code computes? The tensors were made with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from adapters import Pair, graft, joint_forward, load_published, merge_for_inference
from tests.adapters import tiny

CASES = json.loads((tiny.FIXTURES / "cases.json").read_text())["forward"]
TOLERANCE = 1e-5


def published_unet(name: str, *, merged: bool) -> UNet2DConditionModel:
    unet = UNet2DConditionModel.from_pretrained(tiny.FIXTURES / "base" / "unet")
    graft(unet, {name: load_published(tiny.FIXTURES / name, unet, name)})
    if merged:
        merge_for_inference(unet)
    return unet


@torch.no_grad()
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_inference_forward(case, merged):
    tensors = load_file(tiny.FIXTURES / f"forward_{case['name']}.safetensors")
    on = case.get("joint", True)
    pairs = [
        Pair(image=x, condition=y, adapter=name, image_weight=w_x * on, condition_weight=w_y * on)
        for x, y, w_x, w_y, name in case["pairs"]
    ]
    found = joint_forward(
        published_unet(case["models"][0], merged=merged),
        tensors["sample"],
        tensors["timestep"],
        tensors["encoder_hidden_states"],
        pairs=pairs,
        num_branches=case["n"],
        num_guidance=2 if case.get("cfg") else 1,
    )
    assert (found - tensors["out"]).abs().max() <= TOLERANCE


def test_a_damaged_file_is_named(tmp_path):
    shutil.copytree(tiny.FIXTURES / "depth", tmp_path / "depth")
    file = tmp_path / "depth" / "xy_lora" / "pytorch_lora_weights.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    unet = UNet2DConditionModel.from_pretrained(tiny.FIXTURES / "base" / "unet")
    with pytest.raises(ValueError, match="pytorch_lora_weights.safetensors is damaged"):
        load_published(tmp_path / "depth", unet, "depth")


@torch.no_grad()
@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("name", ["depth", "id"])
def test_training_forward(name, merged):
    tensors = load_file(tiny.FIXTURES / f"train_forward_{name}.safetensors")
    found = joint_forward(
        published_unet(name, merged=merged),
        tensors["sample"],
        tensors["timestep"],
        tensors["encoder_hidden_states"],
        pairs=[Pair(image=0, condition=1, adapter=name)],
        num_branches=2,
    )
    assert (found - tensors["out"]).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name, projection, lora", [("depth", "fused", True), ("id", "shared", False)])
def test_config_is_read_off_the_tensors(name, projection, lora):
    unet = UNet2DConditionModel.from_pretrained(tiny.FIXTURES / "base" / "unet")
    config = load_published(tiny.FIXTURES / name, unet, name, trigger="depth_map, ").config
    assert (config.projection, config.condition_lora, config.trigger) == (projection, lora, "depth_map, ")
    assert not config.allows_shortcut


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny.FIXTURES / "depth", tmp_path / "depth"))


def rejects(folder: Path, match: str) -> None:
    unet = UNet2DConditionModel.from_pretrained(tiny.FIXTURES / "base" / "unet")
    with pytest.raises(ValueError, match=match):
        load_published(folder, unet, "depth")


def test_missing_parts_are_named(checkpoint):
    (checkpoint / "model.pth").unlink()
    rejects(checkpoint, r"model\.pth does not exist: it holds the projections")
    rejects(checkpoint.parent, r"xy_lora.*does not exist: .* is not in the published layout")


def test_unknown_lora_tensor(checkpoint):
    path = checkpoint / "xy_lora" / "pytorch_lora_weights.safetensors"
    save_file({**load_file(path), "unet.mid_block.ff.lora.down.weight": torch.zeros(4, 4)}, path)
    rejects(checkpoint, "unknown tensor 'unet.mid_block.ff.lora.down.weight'")


def test_misshapen_and_missing_lora_tensors(checkpoint):
    path = checkpoint / "xy_lora" / "pytorch_lora_weights.safetensors"
    tensors = load_file(path)
    name = next(iter(tensors))
    save_file({**tensors, name: torch.zeros(4, 7)}, path)
    rejects(checkpoint, r"has shape \(4, 7\), the config says")
    save_file({key: t for key, t in tensors.items() if key != name}, path)
    rejects(checkpoint, "1 tensors are missing")


def test_pickle_of_code_is_refused(checkpoint):
    torch.save({"a": Path("/")}, checkpoint / "model.pth")
    rejects(checkpoint, "no pickle of plain tensors")


def test_unknown_pickled_tensor(checkpoint):
    torch.save({"mid_block.attn3.weight": torch.zeros(1)}, checkpoint / "model.pth")
    rejects(checkpoint, "unknown tensor 'mid_block.attn3.weight'")


def test_pickle_without_projections(checkpoint):
    torch.save({}, checkpoint / "model.pth")
    rejects(checkpoint, "holds no projection")


def test_projection_of_another_base(checkpoint):
    torch.save({"down_blocks.7.conv1n.weight": torch.zeros(2, 2)}, checkpoint / "model.pth")
    rejects(checkpoint, "built for another base: this one has no block down_blocks.7")
