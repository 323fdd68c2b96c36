"""Is a run's folder that of one run, and is what stands in it about the steps that the run has taken?"""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from tests.train.line import Line, LineConfig, config
from train.config import LoopConfig, RunConfig, as_json
from train.loop import fit
from train.objectives.base_unet import BaseUnetConfig
from train.objectives.decoder import SceneDecoderTraining
from train.objectives.joint import SceneJointConfig
from train.objectives.vae import VaeConfig
from train.run_log import CONFIG, CURVES, SHEETS, VALIDATION, check_same_run


class Looked(Line):
    """Has something to look at."""

    def validate(self):
        return {"denoised_image": 1.0, "denoised_image_of_another": 2.0}, Image.new("RGB", (4, 4))


def fitted(folder, **settings) -> None:
    fit(Looked(LineConfig()), config(validate_every=4, keep_checkpoints=3), folder, **settings)


def sheets(folder) -> list[str]:
    return sorted(path.name for path in (folder / SHEETS).iterdir())


def looks(folder) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / VALIDATION).read_text().splitlines()]


def test_sheets_of_steps_that_are_taken_again_are_removed(tmp_path):
    """Where a run begins anew, and where it goes on from an earlier step; others' pictures stay."""
    fitted(tmp_path)
    every = [f"step_{step:08d}.png" for step in (4, 8, 12)]
    assert sheets(tmp_path) == every
    (tmp_path / SHEETS / "mine.png").touch()
    for step in (8, 12):
        shutil.rmtree(tmp_path / "checkpoints" / f"step_{step:08d}")
    (tmp_path / CURVES).touch()  # where matplotlib is not installed, none was drawn
    fitted(tmp_path, stop_after=0.0)
    assert sheets(tmp_path) == ["mine.png", every[0]]
    assert looks(tmp_path) == [4]
    assert not (tmp_path / CURVES).exists()
    shutil.rmtree(tmp_path / "checkpoints")
    fitted(tmp_path, stop_after=0.0)
    assert sheets(tmp_path) == ["mine.png"]
    assert looks(tmp_path) == []


def test_a_run_that_goes_on_keeps_what_it_has(tmp_path):
    fitted(tmp_path)
    (tmp_path / CURVES).touch()
    fit(Looked(LineConfig()), config(steps=13), tmp_path)
    assert len(sheets(tmp_path)) == 3
    assert looks(tmp_path) == [4, 8, 12]
    assert (tmp_path / CURVES).exists()


def run_of(objective) -> RunConfig:
    return RunConfig(name="stage", objective=objective, loop=LoopConfig(steps=2, batch_size=2))


JOINT = {"condition": "depth", "maps": "depth"}


@pytest.mark.parametrize(
    "before, now, said",
    [
        (VaeConfig(), VaeConfig(photo_shards=""), "--photo_shards photos, this one has no --photo_shards"),
        (VaeConfig(), VaeConfig(scenes="more"), "--scenes scenes, this one has --scenes more"),
        (VaeConfig(), VaeConfig(num_scenes=4), "--num_scenes 8192, this one has --num_scenes 4"),
        (BaseUnetConfig(), BaseUnetConfig(channels=(96,)), r"--channels \[96, 144, 192\], this one has"),
        (
            SceneDecoderTraining(),
            SceneDecoderTraining(base="mini"),
            "--base unet/export, this one has --base",
        ),
        (
            SceneJointConfig(**JOINT),
            SceneJointConfig(**JOINT, skip_blocks=("mid_block",)),
            r"--skip_blocks \[\], this one has --skip_blocks \['mid_block'\]",
        ),
        (
            SceneJointConfig(**JOINT),
            SceneJointConfig(**JOINT, latents="other"),
            r"--latents latents, this one has --latents other: choose another --out \(there, --start_from",
        ),
    ],
)
def test_a_stage_that_was_trained_on_or_from_something_else_is_not_done(before, now, said, tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / CONFIG).write_text(as_json(run_of(before)))
    check_same_run(tmp_path, run_of(before))
    with pytest.raises(ValueError, match=f"holds a run with {said}"):
        check_same_run(tmp_path, run_of(now))


def test_rates_weights_and_shares_may_change_on_the_way(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / CONFIG).write_text(as_json(run_of(VaeConfig())))
    check_same_run(tmp_path, run_of(VaeConfig(half_weight=0.0, latent_noise=0.0)))
