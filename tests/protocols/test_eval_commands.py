"""Do the measurement commands run from arguments to records on a whole tiny base?"""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from eval.protocols.setup import load_pipeline
from eval.records import read
from tests.commands import refusal, run
from tests.tiny_base import tiny_vae_of_the_mini_family


@pytest.fixture
def few(base, cache, splits, tmp_path):
    """Arguments that keep a run on scenes tiny, and the file it writes."""
    sizes = ["--num", "4", "--validation-num", "2", "--training-num", "2", "--steps", "2", "--device", "cpu"]
    return [*sizes, "--base", str(base), "--cache", str(cache), "--out", str(tmp_path / "out.jsonl")]


def test_estimation_with_regressor_and_ensemble(few, regressor, tmp_path, capsys):
    text = run(
        capsys, "scenes", *few, "--conditions", "depth,edge", "--seeds", "2", "--ensemble", "2",
        "--ensemble-num", "2", "--ensemble-temperature", "1.5", "--regressor", str(regressor),
    )  # fmt: skip
    records = read(tmp_path / "out.jsonl")
    rows = {(r.name, r.settings["prediction"]): r for r in records}
    own = rows["scenes/estimate/depth/standard", "adapter"]
    assert own.settings["num_seeds"] == 2
    assert own.numbers["num"] == 4
    assert "metres" in own.settings["convention"]
    assert {"abs_rel", "abs_rel_deviation", "delta1"} <= set(own.numbers)
    assert "f1" in rows["scenes/estimate/edge/standard", "regressor"].numbers
    together = rows["scenes/estimate/depth/standard", "adapter, ensemble of 2"]
    assert 0 <= together.numbers["interval_coverage"] <= 1
    assert (own.settings["temperature"], together.settings["temperature"]) == (1.0, 1.5)
    assert "### scenes/estimate/edge/standard" in text


@pytest.mark.parametrize("direction", ["generate", "joint"])
def test_generation_read_by_the_regressor(direction, few, regressor, tmp_path, capsys):
    arguments = ["--conditions", "depth", "--seeds", "1", "--direction", direction, "--judge", str(regressor)]
    run(capsys, "scenes", *few, *arguments)
    first, *others = read(tmp_path / "out.jsonl")
    assert first.name == f"scenes/{direction}/depth/standard"
    assert first.settings["read_by"] == str(regressor)
    assert len(others) == 2


def test_reconstruction_of_a_base_and_of_its_vae_alone(base, cache, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(photos / "a.png")
    sizes = ["--num", "4", "--validation-num", "2", "--size", "32", "--cache", str(cache), "--device", "cpu"]
    out = tmp_path / "vae.jsonl"
    for folder in (base, base / "vae"):
        run(capsys, "vae", "--base", str(folder), *sizes, "--photos", str(photos), "--out", str(out))
    records = read(out)
    kinds = [r.settings["kind"] for r in records[:5]]
    assert kinds == ["pictures of scenes", "photographs", "depth maps", "edge maps", "pose maps"]
    assert [r.numbers for r in records[:5]] == [r.numbers for r in records[5:]]
    assert records[0].settings["factor"] == 4
    assert records[1].numbers["num"] == 1
    assert "f1" in records[3].numbers


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["--conditions", "normal"], "no exact map of normal on scenes"),
        (["--seeds", "0"], "argument --seeds: expected a whole number from 1"),
        (["--num", "1"], "--num is 1; the shuffled references"),
        (["--ensemble", "4", "--direction", "joint"], "--ensemble is 4; it takes 2 or more"),
        (["--judge", "nowhere", "--direction", "joint"], "nowhere is no regressor"),
    ],
)
def test_scenes_refuses(arguments, text, few, tmp_path, capsys):
    assert text in refusal(capsys, "scenes", *few, *arguments)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_base_without_the_adapter_is_refused_before_anything_is_rendered(base, tmp_path, capsys):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(base, bare, ignore=shutil.ignore_patterns("pose"))
    arguments = [
        "--base",
        str(bare),
        "--conditions",
        "pose",
        "--cache",
        str(tmp_path / "cache"),
        "--device",
        "cpu",
    ]
    assert "has no adapter pose, only" in refusal(capsys, "scenes", *arguments)
    assert not (tmp_path / "cache").exists()


def test_only_adapters_that_are_measured_or_given_are_loaded(base, monkeypatch):
    own = base / "adapters" / "pose"
    pipe = load_pipeline(str(base), "cpu", "float32", ["edge", "depth"], [f"depth={own}"])
    assert set(pipe.adapters) == {"edge", "depth"}
    assert pipe.adapters["depth"].config.condition == "pose"
    assert not load_pipeline(str(base), "cpu", "float32", []).adapters
    monkeypatch.setattr("unicon.pipeline.UniConPipeline.from_pretrained", None)
    with pytest.raises(ValueError, match="has no adapter lines, only .*depth.*, sketch: choose other"):
        load_pipeline(str(base), "cpu", "float32", ["lines", "edge"], [f"sketch={own}"])


def test_a_vae_of_the_mini_familys_kind_is_measured(cache, tmp_path, capsys):
    tiny_vae_of_the_mini_family().save_pretrained(tmp_path / "vae")
    sizes = ["--num", "2", "--validation-num", "2", "--size", "32", "--cache", str(cache), "--device", "cpu"]
    text = run(capsys, "vae", "--base", str(tmp_path / "vae"), *sizes)
    assert "depth maps" in text


def test_vae_refuses(base, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"_class_name": "VQModel"}')
    assert "holds a VQModel; a VAE here is one of AutoencoderKL, AutoencoderTiny, AutoencoderDC" in refusal(
        capsys, "vae", "--base", str(tmp_path / "other")
    )
    assert "holds no VAE" in refusal(capsys, "vae", "--base", str(tmp_path))
    assert "--size is 30; this VAE takes multiples of 4" in refusal(
        capsys, "vae", "--base", str(base), "--size", "30"
    )
