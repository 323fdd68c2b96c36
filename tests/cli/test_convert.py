"""Do adapters come into our layout, and out of it, from the command line?"""

from __future__ import annotations

from shutil import copytree
from types import SimpleNamespace

import pytest
from diffusers import UNet2DConditionModel

from adapters import load_adapter, load_lora, load_published, map_lora
from tests.adapters.tiny import FIXTURES
from unicon import UniConPipeline
from unicon.cli.main import main
from unicon.cli.status import BAD_INPUT

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


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning")  # diffusers'
def test_the_card_names_the_bases_commit_and_no_folder_of_this_machine(tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--some--base"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("diffusers.configuration_utils.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    copytree(FIXTURES / "base" / "unet", cached / "snapshots" / commit / "unet")
    said = {}
    for base in (BASE, "some/base"):
        out = tmp_path / base.replace("/", "_")
        assert main(["convert", str(FIXTURES / "depth"), "--base", base, "--out", str(out)]) == 0
        said[base] = (out / "README.md").read_text()
    assert "Base: base. " in said[BASE]
    assert str(FIXTURES) not in said[BASE]
    assert f"Base: some/base, commit {commit}. " in said["some/base"]


def test_a_checkpoints_file_is_a_base(tmp_path, monkeypatch):
    unet = UNet2DConditionModel.from_pretrained(FIXTURES / "base" / "unet")
    monkeypatch.setattr(UniConPipeline, "from_pretrained", lambda file: SimpleNamespace(unet=unet))
    (tmp_path / "base.safetensors").touch()
    arguments = ["--base", str(tmp_path / "base.safetensors"), "--out", str(tmp_path / "depth")]
    assert main(["convert", str(FIXTURES / "depth"), *arguments]) == 0
    assert load_adapter(tmp_path / "depth", unet).config.trigger == "depth_map, "


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
