"""Does a decoder adapter come back from its folder, and is every other folder refused by name?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from adapters import graft_decoder, load_decoder, save_decoder
from tests.adapters import tiny
from tests.adapters.tiny_decoders import likeness, told, trained

BLOCK = "mid_block.attentions.0.transformer_blocks.0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_decoder(trained(tiny.tiny_unet()), tmp_path / "decoder")
    return tmp_path / "decoder"


def rejects(folder: Path, match: str, unet: torch.nn.Module | None = None) -> None:
    with pytest.raises(ValueError, match=match):
        load_decoder(folder, unet or tiny.tiny_unet())


def change_tensors(folder: Path, name: str, tensor: Tensor | None) -> None:
    tensors = {**load_file(folder / "decoder.safetensors"), name: tensor}
    save_file({k: t for k, t in tensors.items() if t is not None}, folder / "decoder.safetensors")


def test_round_trip(folder):
    unet = tiny.tiny_unet()
    again, expected = load_decoder(folder, unet), trained(unet)
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "decoder.safetensors"]
    assert again.config == expected.config
    assert again.config.time_width == 64
    assert all(p.requires_grad for p in again.parameters())
    found = dict(again.stored())
    assert {
        "none",
        "mean",
        "std",
        "time.weight",
        "mid_block.attentions.0.transformer_blocks.0.out.weight",
    } <= (found.keys())
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.stored())
    graft_decoder(unet, again)
    with torch.no_grad():
        assert told(unet, likeness(4)).isfinite().all()
    assert {p.dtype for p in load_decoder(folder, unet, dtype=torch.float16).parameters()} == {torch.float16}


def test_files_that_are_none_are_refused_by_name(folder):
    rejects(folder / "nowhere", r"config\.json does not exist: the folder of a decoder adapter holds")
    change_tensors(folder, "mid_block.gate", torch.zeros(1))
    rejects(folder, "1 unknown tensors, first 'mid_block.gate'")
    change_tensors(folder, "mid_block.gate", None)
    change_tensors(folder, f"{BLOCK}.out.weight", torch.zeros(3, 2))
    rejects(folder, r"out\.weight has shape \(3, 2\), the config says \(32, 32\)")
    change_tensors(folder, f"{BLOCK}.out.weight", None)
    rejects(folder, r"1 tensors are missing, first '.*out\.weight'")
    path = folder / "decoder.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    rejects(folder, r"decoder\.safetensors is damaged")
    entries = json.loads((folder / "config.json").read_text())
    for changes, match in (
        ({"alpha": 3}, r"is not a decoder adapter's config: unknown entries \['alpha'\]"),
        ({"clip": "ViT-L/14"}, "names no CLIP"),
        ({"clip": {**entries["clip"], "weights": None}}, r"config\.json: .* names no CLIP"),
        ({"num_tokens": "4"}, r"config\.json: .*; fetch or save the decoder adapter again"),
        ({"token_width": -3.5}, r"config\.json.*fetch or save"),
        ({"base": {"blocks": {}}}, "'base' is no base geometry"),
    ):
        (folder / "config.json").write_text(json.dumps({**entries, **changes}))
        rejects(folder, match)
    (folder / "config.json").write_text("{")
    rejects(folder, r"config\.json is not JSON")


def test_other_bases(folder):
    rejects(folder, "was built for another base: 10 blocks do not match", tiny.sdxl_like_unet())
    rejects(
        folder, "its time embedding has 64 channels, this base's 80", tiny.tiny_unet(time_embedding_dim=80)
    )


def test_weights_for_a_base_of_which_only_sizes_are_known_are_kept(folder):
    with torch.device("meta"):
        unet = tiny.tiny_unet()
    assert {p.device.type for p in load_decoder(folder, unet).parameters()} == {"cpu"}
