"""Is what another run made of something else told from a stage's own?"""

from __future__ import annotations

import argparse

import pytest
import torch
from safetensors.torch import save_file

from train import stages
from train.made import MADE, check_made, read_made, weights_of
from train.stage_kinds import EncodeStage, PairStage, PhotoStage, RenderStage


@pytest.fixture
def carried_out(monkeypatch):
    """Names of the stages that were carried out: each leaves a folder."""
    names = []

    def carry_out(stage, folder, args):
        (folder / stage.name).mkdir(parents=True, exist_ok=True)
        names.append(stage.name)

    monkeypatch.setattr(stages, "_carry_out", carry_out)
    return names


def run(stage, folder, **given) -> bool:
    args = argparse.Namespace(**{"photos": None, "pairs": None, "dry_run": False, **given})
    return stages.run_stage(stage, folder, args, {})


def test_scenes_of_other_seeds_are_not_added_to(carried_out, tmp_path):
    assert run(RenderStage(num=4, first_seed=1000), tmp_path)
    assert run(RenderStage(num=8, first_seed=1000), tmp_path)  # more of the same
    with pytest.raises(ValueError, match="scenes was made of first_seed 1000, this run has 2000: choose"):
        run(RenderStage(num=4, first_seed=2000), tmp_path)
    assert carried_out == ["scenes"] * 2
    (tmp_path / "scenes").rmdir()
    assert run(RenderStage(num=4, first_seed=2000), tmp_path)
    assert read_made(tmp_path) == {"scenes": {"first_seed": "2000"}}


@pytest.mark.parametrize("option, stage", [("photos", PhotoStage()), ("pairs", PairStage(condition="depth"))])
def test_other_photographs_are_not_taken_for_those_that_were_read(option, stage, carried_out, tmp_path):
    family = tmp_path / "family"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert run(stage, family, **{option: str(tmp_path / "one")})
    assert run(stage, family)  # goes on with what it has
    assert run(stage, family, **{option: str(tmp_path / "two" / ".." / "one")})
    with pytest.raises(ValueError, match=rf"was made of --{option} .*one, this run has .*two"):
        run(stage, family, **{option: str(tmp_path / "two")})


def export(family, value: float) -> None:
    for place in ("vae/export", "clip/export/text_encoder"):
        (family / place).mkdir(parents=True, exist_ok=True)
        save_file({"weight": torch.full((2,), value)}, family / place / "model.safetensors")


def test_latents_of_other_encoders_or_scenes_are_not_learnt_from(carried_out, tmp_path):
    export(tmp_path, 1.0)
    latents = EncodeStage(name="latents", source="scenes")
    run(RenderStage(num=4, first_seed=1000), tmp_path)
    run(latents, tmp_path)
    assert run(latents, tmp_path)
    export(tmp_path, 2.0)  # the family's autoencoder was trained on
    with pytest.raises(ValueError, match="latents was made of encoders .*, or remove that folder, and it is"):
        run(latents, tmp_path)
    export(tmp_path, 1.0)
    assert run(latents, tmp_path)
    (tmp_path / "scenes").rmdir()
    run(RenderStage(num=4, first_seed=2000), tmp_path)
    with pytest.raises(ValueError, match="latents was made of first_seed 1000, this run has 2000"):
        run(latents, tmp_path)


def test_of_what_was_there_before_nothing_is_said(carried_out, tmp_path):
    (tmp_path / "scenes").mkdir()
    for seed in (1000, 2000):
        assert run(RenderStage(num=4, first_seed=seed), tmp_path)
    assert not (tmp_path / MADE).exists()


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / MADE).write_text("[1]")
    with pytest.raises(ValueError, match=r"made\.json: is damaged .*; remove it"):
        check_made(tmp_path, "scenes", {"first_seed": "1"})


def test_weights_are_known_wherever_they_lie(tmp_path):
    for name, value in (("one", 1.0), ("same", 1.0), ("other", 2.0)):
        export(tmp_path / name, value)
    one, same, other = (weights_of(tmp_path / name / "vae/export") for name in ("one", "same", "other"))
    assert one == same != other
