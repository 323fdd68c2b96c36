"""Do adapters come into our layout, and out of it, from the command line?"""

from __future__ import annotations

import pytest
from diffusers import UNet2DConditionModel

from adapters import load_adapter, load_lora, load_published, map_lora
from tests.adapters.tiny import FIXTURES
from unicon.cli.main import BAD_INPUT, main

BASE = str(FIXTURES / "base")


def test_a_published_checkpoint_becomes_ours(tmp_path, capsys):
    assert main(["convert", str(FIXTURES / "depth"), "--base", BASE, "--out", str(tmp_path / "depth")]) == 0
    assert sorted(p.name for p in (tmp_path / "depth").iterdir()) == [
        "README.md", "adapter.safetensors", "config.json",
    ]  # fmt: skip
    unet = UNet2DConditionModel.from_pretrained(FIXTURES / "base" / "unet")
    found, expected = (
        load_adapter(tmp_path / "depth", unet),
        load_published(FIXTURES / "depth", unet, "depth"),
    )
    assert found.config == expected.config
    assert found.config.trigger == "depth_map, "
    for (name, tensor), (_, other) in zip(found.tensors(), expected.tensors(), strict=True):
        assert tensor.equal(other), name
    assert "# A joint adapter for depth" in (tmp_path / "depth" / "README.md").read_text()


def test_its_own_part_becomes_a_lora(tmp_path):
    file = tmp_path / "maps.safetensors"
    assert main(["convert", str(FIXTURES / "depth"), "--base", BASE, "--lora", str(file)]) == 0
    unet = UNet2DConditionModel.from_pretrained(FIXTURES / "base" / "unet")
    expected = dict(map_lora(load_published(FIXTURES / "depth", unet, "depth")).items())
    found = dict(load_lora(file, unet).items())
    assert found.keys() == expected.keys()
    assert all(update.matrix().equal(expected[name].matrix()) for name, update in found.items())


def test_trigger_and_condition_may_be_given(tmp_path):
    arguments = ["--condition", "hed", "--trigger", "hed_map, ", "--out", str(tmp_path / "hed")]
    assert main(["convert", str(FIXTURES / "depth"), "--base", BASE, *arguments]) == 0
    config = load_adapter(
        tmp_path / "hed", UNet2DConditionModel.from_pretrained(FIXTURES / "base" / "unet")
    ).config
    assert (config.condition, config.trigger) == ("hed", "hed_map, ")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("depth", "--base", BASE), "nothing to write"),
        (("id", "--base", BASE, "--lora", "out.safetensors"), "condition_lora=False"),
        (("depth", "--base", "mini", "--out", "out"), "built for another base"),
        (("nowhere", "--base", BASE, "--out", "out"), "no such folder"),
        (("depth", "--base", "nowhere/at/all", "--out", "out"), "no such folder"),
    ],
)
def test_bad_input_is_explained_and_nothing_written(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["convert", str(FIXTURES / arguments[0]), *arguments[1:]]) == BAD_INPUT
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
