"""Does a whole family train from nothing, and load as one pipeline?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.judge import load_judge_network
from train import recipes
from train.checkpoint import whole_checkpoints
from train.command import main
from train.config import override
from train.objectives.clip import fit_tokenizer
from train.stage_kinds import AssembleStage, CropStage, RenderStage
from train.times import read_times
from unicon.limits import read_limits

_TINY_VAE = {"channels": "[8, 16]", "blocks": "[1, 1]", "latent_channels": "4", "crop": "16"}
_TINY_CLIP = {
    "text_width": "48",
    "text_layers": "1",
    "image_width": "40",
    "image_layers": "1",
    "projection": "16",
}
_TINY_UNET = {"channels": "[16, 16]", "head_width": "8"}
_TINY_JUDGE = {"channels": "[8, 8]", "blocks": "[1, 1]"}
_TINY_PRIOR = {"channels": "16", "layers": "1", "heads": "2"}


def _tiny(stage):
    """The same stage with two steps on a few scenes."""
    if isinstance(stage, RenderStage):
        return RenderStage(num=1)
    if isinstance(stage, CropStage):
        return CropStage(num=1)
    if isinstance(stage, AssembleStage):
        return AssembleStage(num_familiar=2)
    if not hasattr(stage, "loop"):
        return stage
    sizes = {"vae": _TINY_VAE, "clip": _TINY_CLIP, "unet": _TINY_UNET, "regressor": _TINY_UNET}
    size = {
        **sizes,
        "prior": _TINY_PRIOR,
        "prior-ar": _TINY_PRIOR,
        "decoder": {"token_width": "8"},
        "judge": _TINY_JUDGE,
        "lowres": {"skip_blocks": '["mid_block"]'},
    }.get(stage.name, {})
    # In bfloat16, whose autocast refuses more than float32 does.
    loop = {"steps": "2", "batch_size": "2", "mixed_precision": "bf16", "num_scenes": "4"}
    return override(stage, {**loop, **size})


@pytest.mark.slow
def test_every_stage_runs_and_the_pipeline_loads(tmp_path, monkeypatch):
    from unicon import UniConPipeline

    monkeypatch.setattr("train.shards.SCENES_PER_SHARD", 4)
    stages = {name: _tiny(stage) for name, stage in recipes.FAMILIES["mini-fast"].items()}
    monkeypatch.setitem(recipes.FAMILIES, "mini-fast", stages)
    assert main(["mini-fast", "--out", str(tmp_path), "--workers", "1"]) == 0
    pipe = UniConPipeline.from_pretrained(tmp_path / "pipeline")
    pipe.set_progress_bar_config(disable=True)
    assert set(pipe.adapters) == {"depth", "edge", "pose", "appearance", "lowres"}
    out = pipe("a red ball", outputs=["image", "depth"], num_inference_steps=2, output_type="np")
    assert np.isfinite(out.images).all()
    assert np.isfinite(out.maps["depth"]).all()
    like = pipe("a red ball", prior=True, num_inference_steps=2, output_type="np").images
    assert np.isfinite(like).all()
    assert not any(str(tmp_path) in path.read_text() for path in (tmp_path / "pipeline").glob("**/*.json"))
    limits = read_limits(tmp_path / "pipeline")
    assert limits is not None
    assert limits.num_pictures == 2
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/export/**/*.safetensors")}
    # vae, two encoders, unet, five adapters, two priors, decoder, judge, regressor and its triggers
    assert len(trained) == 15
    assert load_judge_network(tmp_path / "pipeline" / "judge").config["channels"] == [8, 8]
    times = read_times(tmp_path)
    assert times.keys() == stages.keys()
    assert all(each.is_whole and each.seconds > 0 for each in times.values())
    assert main(["mini-fast", "--out", str(tmp_path), "--workers", "1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in trained} == trained  # nothing was left to train
    more = ["mini-fast/prior", "--out", str(tmp_path), "--steps", "3"]
    assert main(more) == 0
    assert whole_checkpoints(tmp_path / "prior" / "checkpoints")[-1][0] == 3  # it went on
    assert main(["mini-fast/prior", "--out", str(tmp_path)]) == 0  # two steps are done
    assert whole_checkpoints(tmp_path / "prior" / "checkpoints")[-1][0] == 3


def test_the_tokenizer_encodes_any_text(tmp_path):
    tokenizer = fit_tokenizer(
        ["a red ball", "a blue ball in a room"] * 3, tmp_path, vocabulary=700, max_tokens=24
    )
    for text in ("a red ball", "ein blauer würfel, 3 €"):
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")
    again = fit_tokenizer(["other words"], tmp_path, vocabulary=700, max_tokens=24)
    assert again("a red ball").input_ids == tokenizer("a red ball").input_ids  # fitted once
