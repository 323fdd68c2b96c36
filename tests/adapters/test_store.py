"""Does an adapter survive its folder, and is every folder that is not one refused by name?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from adapters import AdapterConfig, JointAdapter, graft, load_adapter, save_adapter
from tests.adapters import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_adapter(tiny.trained(tiny.tiny_unet()), tmp_path / "depth")
    return tmp_path / "depth"


def rejects(folder: Path, match: str, unet: torch.nn.Module | None = None) -> None:
    with pytest.raises(ValueError, match=match):
        load_adapter(folder, unet or tiny.tiny_unet())


def change_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    path = folder / "adapter.safetensors"
    tensors = {**load_file(path), **{name.replace("__", "."): t for name, t in changes.items()}}
    save_file({name: t for name, t in tensors.items() if t is not None}, path)


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    entries = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in entries.items() if value is not ...}))


@torch.no_grad()
@pytest.mark.parametrize("make", [tiny.tiny_unet, tiny.sdxl_like_unet])
def test_round_trip(make, tmp_path):
    unet = make()
    config = tiny.config(
        skip_blocks=("mid_block",), pool_keys=2, trigger="depth map, ", value_range=(0.0, 0.5)
    )
    adapter = tiny.trained(unet, config)
    save_adapter(adapter, tmp_path)
    again = load_adapter(tmp_path, unet)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter.safetensors", "config.json"]
    assert again.config == adapter.config
    assert all(p.requires_grad for p in again.parameters())
    for (name, expected), (found_name, found) in zip(adapter.tensors(), again.tensors(), strict=True):
        assert name == found_name
        assert torch.equal(found, expected)


def test_names_are_paths_in_the_base(folder):
    names = set(load_file(folder / "adapter.safetensors"))
    block = "mid_block.attentions.0.transformer_blocks.0"
    assert {f"{block}.attn1.image.q.down", f"{block}.attn1.own.out.up", f"{block}.attn2.k.down"} <= names
    assert {f"{block}.attn1.projection.image.gain", f"{block}.attn1.projection.condition.rest.up"} <= names


def test_stored_and_loaded_in_half_precision(folder):
    unet = tiny.tiny_unet()
    adapter = tiny.trained(unet)
    save_adapter(adapter, folder, dtype=torch.float16)
    halves = dict(adapter.half().tensors())
    for dtype in (torch.float16, torch.float32):
        loaded = dict(load_adapter(folder, unet, dtype=None if dtype == torch.float16 else dtype).tensors())
        assert loaded.keys() == halves.keys()
        assert all(t.dtype == dtype and torch.equal(t, halves[name].to(dtype)) for name, t in loaded.items())


def test_a_failed_write_leaves_the_old_files(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr("adapters.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_adapter(tiny.trained(tiny.tiny_unet(), seed=5), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_missing_files(folder):
    rejects(folder / "nowhere", r"config\.json does not exist: an adapter folder holds")
    (folder / "adapter.safetensors").unlink()
    rejects(folder, r"adapter\.safetensors does not exist")


def test_damaged_files(folder):
    path = folder / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    rejects(folder, r"adapter\.safetensors is damaged")
    (folder / "config.json").write_text("{")
    rejects(folder, r"config\.json is not JSON")


def test_unknown_tensor(folder):
    change_tensors(folder, mid_block__gate=torch.zeros(1))
    rejects(folder, "1 unknown tensors, first 'mid_block.gate'")


def test_missing_tensor(folder):
    change_tensors(folder, mid_block__attentions__0__transformer_blocks__0__attn2__q__up=None)
    rejects(
        folder,
        r"1 tensors are missing, first 'mid_block\.attentions\.0\.transformer_blocks\.0\.attn2\.q\.up'",
    )


def test_misshapen_tensor(folder):
    change_tensors(folder, mid_block__attentions__0__transformer_blocks__0__attn2__q__up=torch.zeros(3, 2))
    rejects(folder, r"attn2\.q\.up has shape \(3, 2\), the config says \(32, 2\)")


def test_config_entries(folder):
    change_config(folder, alpha=3, rank=...)
    rejects(folder, r"unknown entries \['alpha'\], missing \['rank'\]")


def test_config_that_is_no_object(folder):
    (folder / "config.json").write_text("[]")
    rejects(folder, "is not an adapter's config")


def test_config_base(folder):
    change_config(folder, base={"blocks": {"mid_block": {"size": 3}}})
    rejects(folder, "'base' is no base geometry")


@pytest.mark.parametrize("entries", [{"value_range": []}, {"value_range": {}}, {"rank": [2]}, {"rank": "x"}])
def test_config_entries_of_another_kind_name_the_file(folder, entries):
    change_config(folder, **entries)
    rejects(folder, r"config\.json: .*; fetch or save the adapter again")


def test_config_whose_sizes_are_none_names_the_file(folder):
    config = json.loads((folder / "config.json").read_text())
    name = next(iter(config["base"]["blocks"]))
    config["base"]["blocks"][name] |= dict.fromkeys(config["base"]["blocks"][name], [1])
    (folder / "config.json").write_text(json.dumps(config))
    rejects(folder, r"config\.json")


def test_other_bases(folder):
    rejects(
        folder,
        "was built for another base: 10 blocks do not match, first .*only the adapter has it",
        tiny.sdxl_like_unet(),
    )
    rejects(
        folder,
        r"transformer_blocks.0 is BlockGeometry.*context=12.* there and .*context=24",
        tiny.tiny_unet(cross_attention_dim=24),
    )
    rejects(folder, "its latents have 4 channels, this base's 9", tiny.tiny_unet(in_channels=9))


def test_base_without_transformer_blocks(folder):
    unet = UNet2DModel(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )
    rejects(folder, "UNet2DModel has no transformer blocks", unet)
    with pytest.raises(ValueError, match="UNet2DModel has no transformer blocks"):
        JointAdapter.for_unet(unet, tiny.config())


def test_base_whose_blocks_have_no_self_attention():
    unet = tiny.tiny_unet(only_cross_attention=True)
    with pytest.raises(ValueError, match="reads only text"):
        JointAdapter.for_unet(unet, tiny.config())


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"condition": ""}, "condition='': must name the condition"),
        ({"rank": 0}, "rank=0: must be at least 1"),
        ({"projection": "conv"}, "projection='conv': must be one of"),
        ({"pool_keys": 0}, "pool_keys=0: must be at least 1"),
        ({"locality": -1.0}, "locality=-1.0: must not be negative"),
        ({"clean_timestep": -1}, "clean_timestep=-1: must not be negative"),
        ({"value_range": (1.0, 0.0)}, r"value_range=\(1.0, 0.0\): must increase"),
    ],
)
def test_config_values(changes, match):
    with pytest.raises(ValueError, match=match):
        AdapterConfig(**{"condition": "depth", **changes})


def test_a_config_made_for_another_base():
    built = JointAdapter.for_unet(tiny.tiny_unet(), tiny.config()).config
    with pytest.raises(ValueError, match="the config for 'depth' was built for another base"):
        JointAdapter.for_unet(tiny.sdxl_like_unet(), built)


def test_a_loaded_adapter_can_be_grafted(folder):
    unet = tiny.tiny_unet()
    graft(unet, {"depth": load_adapter(folder, unet)})
    assert tiny.two_way(unet).isfinite().all()


def test_the_same_adapter_is_the_same_bytes_and_says_what_it_is(tmp_path):
    unet = tiny.tiny_unet(cross_attention_dim=768)
    adapter = tiny.trained(unet, tiny.config(trigger="depth map, "))
    files = []
    for number in range(8):  # safetensors alone orders metadata by chance
        save_adapter(adapter, tmp_path / str(number))
        files.append((tmp_path / str(number) / "adapter.safetensors").read_bytes())
    assert len(set(files)) == 1
    with safe_open(tmp_path / "0" / "adapter.safetensors", "pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "modelspec.sai_model_spec": "1.0.1",
            "modelspec.architecture": "stable-diffusion-v1/joint-adapter",
            "modelspec.implementation": "unicon",
            "modelspec.title": "depth adapter",
            "modelspec.trigger_phrase": "depth map",
            "modelspec.preprocessor": "depth",
        }
