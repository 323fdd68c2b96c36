"""Does a run that starts from an adapter train that very one, and does it refuse one that does not fit?"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.peers_data import write_family
from tests.train.own_pairs import run, settings
from train.command import main
from train.objectives.joint import SceneJointConfig
from train.pairs.framing import Bucket, nearest, whole_buckets
from unicon import UniConPipeline


def own(base: Path, name: str = "depth") -> Path:
    return base / "adapters" / name


@pytest.mark.parametrize("by_name", [True, False])
def test_it_starts_as_the_adapter_is(by_name, data, base, tmp_path):
    source = "depth" if by_name else str(own(base))
    objective = settings(data, base, start_from=source).build(tmp_path)
    stored = load_file(own(base) / "adapter.safetensors")
    tensors = dict(objective.adapter.tensors())
    assert tensors.keys() == stored.keys()
    assert all(torch.equal(tensors[name], stored[name].float()) for name in stored)
    assert all(p.dtype == torch.float32 and p.requires_grad for p in tensors.values())
    assert set(objective.trained()) == {f"adapter.{name}" for name, _ in objective.adapter.named_parameters()}
    config = objective.adapter.config
    assert (config.locality, config.clean_timestep, config.trigger) == (4.0, 150, "depth map, ")
    assert list(objective.pipe.adapters) == ["depth"]


def test_a_fresh_one_that_cannot_be_used_beside_the_bases_own_says_so(data, base, tmp_path, capsys):
    for more, is_told in (({}, True), ({"clean_timestep": 150}, False), ({"start_from": "depth"}, False)):
        settings(data, base, **more).build(tmp_path)
        said = "those of its base (" in capsys.readouterr().err
        assert said == is_told, more


@pytest.mark.parametrize("by_name", [True, False])
def test_one_of_scenes_starts_as_the_adapter_is(by_name, base, tmp_path):
    config = SceneJointConfig(
        condition="depth", maps="depth", base=str(base), locality=4.0, rank=2,
        start_from="depth" if by_name else str(own(base)),
    )  # fmt: skip
    objective = config.build(write_family(tmp_path))
    stored = load_file(own(base) / "adapter.safetensors")
    tensors = dict(objective.adapter.tensors())
    assert tensors.keys() == stored.keys()
    assert all(torch.equal(tensors[name], stored[name].float()) for name in stored)
    assert list(objective.pipe.adapters) == ["depth"]
    with pytest.raises(ValueError, match="--rank 5, but the adapter of --start_from has 2"):
        replace(config, rank=5).build(tmp_path)


def test_its_first_loss_is_the_adapters_own_and_not_a_fresh_ones(data, base, tmp_path):
    items = torch.tensor([0, 1])
    found = []
    for start in ("depth", str(own(base)), ""):
        form = {} if start else {"locality": 4.0, "clean_timestep": 150}
        objective = settings(data, base, start_from=start, **form).build(tmp_path)
        draws = objective.draw(torch.Generator().manual_seed(0), items)
        with torch.no_grad():
            found.append(objective(items, draws)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_a_fresh_one_reads_where_it_is_told_to(data, base, tmp_path):
    config = settings(data, base, condition_lora=False, skip_blocks=("mid_block",), pool_keys=2)
    objective = config.build(tmp_path)
    form = objective.adapter.config
    assert (form.condition_lora, form.skip_blocks, form.pool_keys) == (False, ("mid_block",), 2)
    trained = set(objective.trained())
    assert any("down_blocks" in name for name in trained)
    assert not any("mid_block" in name for name in trained)  # nothing is left to adapt there
    with pytest.raises(ValueError, match="skip_blocks names 'mid', but no block is there"):
        replace(config, skip_blocks=("mid",)).build(tmp_path)
    with pytest.raises(ValueError, match="--pool_keys 2, but the adapter of --start_from has 1"):
        replace(config, condition_lora=True, skip_blocks=(), start_from="depth").build(tmp_path)


def test_half_precision_is_trained_in_full(data, base, tmp_path):
    stored = load_file(own(base) / "adapter.safetensors")
    (tmp_path / "half").mkdir()
    save_file({name: t.half() for name, t in stored.items()}, tmp_path / "half" / "adapter.safetensors")
    (tmp_path / "half" / "config.json").write_bytes((own(base) / "config.json").read_bytes())
    objective = settings(data, base, start_from=str(tmp_path / "half")).build(tmp_path)
    for name, tensor in objective.adapter.tensors():
        assert torch.equal(tensor, stored[name].half().float())


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(data, base, tmp_path):
    fast = ["--start_from", "depth", "--learning_rate", "0.1", "--warmup_steps", "1", "--decay_share", "0"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(data, base, whole, *fast, "--steps", "4") == 0
    assert run(data, base, parts, *fast, "--steps", "4", "--stop-after", "0") == 3
    assert run(data, base, parts, *fast, "--steps", "4") == 0
    one, other = (load_file(out / "adapter/export/adapter.safetensors") for out in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    before = load_file(own(base) / "adapter.safetensors")
    assert any(not torch.equal(one[name], before[name]) for name in one)
    config = json.loads((parts / "adapter" / "export" / "config.json").read_text())
    assert config == json.loads((own(base) / "config.json").read_text())
    pipe = UniConPipeline.from_pretrained(base, adapters="depth")
    pipe.load_adapter(parts / "adapter" / "export", name="depth", replace=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start_from": "dpeth"}, r"--start_from: adapter 'dpeth': no such folder.*own \(appearance, depth"),
        (
            {"start_from": "edge"},
            "holds an adapter for 'edge', this run is for 'depth': give --condition edge",
        ),
        ({"rank": 3}, "--rank 3, but the adapter of --start_from has 2"),
        ({"clean_timestep": 7}, "--clean_timestep 7, but the adapter of --start_from has 150"),
        ({"locality": 11.0}, "--locality 11.0, but the adapter of --start_from has 4.0"),
        (
            {"trigger": "a map of "},
            "--trigger 'a map of ', but the adapter of --start_from has 'depth map, '",
        ),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(changes, message, data, base, tmp_path):
    with pytest.raises(ValueError, match=message):
        settings(data, base, **{"start_from": "depth", **changes}).build(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--rank", "64"], "--rank 64, but what --start_from names has 2, which training on does not change"),
        (["--objective.rank", "64"], "--rank 64, but what --start_from names has 2"),
        (["--locality", "0"], "--locality 0.0, but what --start_from names has 4.0"),
        (["--clean_timestep", "0"], "--clean_timestep 0, but what --start_from names has 150"),
    ],
)
def test_a_default_that_the_command_line_names_is_not_dropped(given, message, data, base, tmp_path, capsys):
    start = [
        "adapter",
        "--data",
        str(data),
        "--condition",
        "depth",
        "--base",
        str(base),
        "--start_from",
        "depth",
    ]
    loop = ["--steps", "2", "--batch_size", "2", "--mixed_precision", "no", "--out", str(tmp_path / "out")]
    assert main([*start, *loop, *given]) == 2
    assert f"{message}" in capsys.readouterr().err
    assert not (tmp_path / "out" / "adapter").exists()


def test_what_agrees_or_stands_in_a_file_is_taken(data, base, tmp_path):
    """A run's own config.json names every field; that of one with --start_from repeats it."""
    out = tmp_path / "runs"
    start = [
        "adapter",
        "--data",
        str(data),
        "--condition",
        "depth",
        "--base",
        str(base),
        "--start_from",
        "depth",
    ]
    loop = ["--steps", "1", "--batch_size", "2", "--mixed_precision", "no"]
    agreed = ["--rank", "2", "--locality", "4", "--trigger", "auto", "--condition_lora", "true"]
    assert main([*start, *loop, *agreed, "--out", str(out / "one")]) == 0
    assert main([*start, *loop, "--out", str(out / "two")]) == 0
    config = out / "two" / "adapter" / "config.json"
    assert json.loads(config.read_text())["objective"]["rank"] == 64
    assert main(["adapter", "--config", str(config), "--out", str(out / "again")]) == 0


def test_an_adapter_of_another_base_is_refused(data, base, tmp_path):
    config = json.loads((own(base) / "config.json").read_text())
    next(iter(config["base"]["blocks"].values()))["heads"] += 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    (tmp_path / "other" / "adapter.safetensors").write_bytes((own(base) / "adapter.safetensors").read_bytes())
    with pytest.raises(ValueError, match="another base"):
        settings(data, base, start_from=str(tmp_path / "other")).build(tmp_path)


def test_whole_pairs_keep_nearly_all_of_a_picture():
    sizes = whole_buckets(128, 32)
    assert all(max(b.height, b.width) == 128 for b in sizes)
    assert nearest(280, 213, sizes) == Bucket(96, 128)
    assert nearest(321, 481, sizes) == Bucket(128, 96)
    assert nearest(900, 100, sizes) == Bucket(64, 128)
    with pytest.raises(ValueError, match="longest is 100; expected a multiple of 32, .* such as 96"):
        whole_buckets(100, 32)


def test_crops_are_enlarged_up_to_the_zoom(data, base, tmp_path):
    config = settings(data, base, crops=3, zoom=2.0, longest=32)
    views = config._crops()
    assert [view.zoom for view in views] == pytest.approx([1, 2 ** (1 / 3), 2 ** (2 / 3)])
    examples = config.build(tmp_path).examples
    pair = examples.read_one(examples.found[0])
    assert pair.image.shape[0] == pair.condition.shape[0] == 6  # each crop, and mirrored
    assert {tuple(found.shape[1:]) for found in examples.found} == {(8, 8), (6, 8)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zoom": 0.5, "crops": 2}, r"zoom is 0.5; it must be 0 \(none\), or from 1 to 16"),
        ({"zoom": 2.0}, "zoom is 2 with one crop, the whole picture: give --crops 4"),
        ({"longest": 32, "resolution": 32}, "longest is 32 and resolution 32: both say how large pairs are"),
    ],
)
def test_sizes_that_make_no_sense(changes, message, data, base):
    with pytest.raises(ValueError, match=message):
        settings(data, base, **changes)
