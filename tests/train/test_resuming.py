"""Does a run that was stopped go on as if it had not been?"""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from accelerate import Accelerator

from tests.train.line import Line, LineConfig, Wide, config, newest, train
from train.checkpoint import Checkpoint, read_checkpoint, read_state, whole_checkpoints, write_checkpoint
from train.loop import fit
from train.optimizers import make_optimizers


def test_resuming_is_bitwise_the_straight_run(tmp_path):
    straight = train(tmp_path / "straight")
    for _ in range(12):  # pause after every step
        train(tmp_path / "paused", seconds=0.0)
    paused = train(tmp_path / "paused")
    assert straight.keys() == paused.keys() == {"layer.weight", "layer.bias"}
    assert all(torch.equal(straight[k], paused[k]) for k in straight)
    exported = [
        torch.load(tmp_path / n / "export/layer.pt", weights_only=True) for n in ("straight", "paused")
    ]
    assert all(torch.equal(exported[0][k], exported[1][k]) for k in exported[0])


@pytest.fixture
def scaled(monkeypatch):
    """Makes runs scale their gradients, as fp16 does on a GPU, by a scaler that doubles every third step."""

    class Scaled(Accelerator):
        def __init__(self, **named):
            super().__init__(**named)
            self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)

    monkeypatch.setattr("train.stepping.Accelerator", Scaled)


def test_a_run_goes_on_with_its_scale_of_gradients(scaled, tmp_path):
    straight = train(tmp_path / "straight")
    assert newest(tmp_path / "straight").scaler["scale"] == 4.0 * 2**4
    for _ in range(5):  # stopped between two doublings
        train(tmp_path / "paused", seconds=0.0)
    assert newest(tmp_path / "paused").scaler == {
        **newest(tmp_path / "straight").scaler,
        "scale": 8.0,
        "_growth_tracker": 2,
    }
    paused = train(tmp_path / "paused")
    assert newest(tmp_path / "paused").scaler == newest(tmp_path / "straight").scaler
    assert all(torch.equal(straight[k], paused[k]) for k in straight)


def test_checkpoints_without_a_scale_start_with_a_new_one(scaled, tmp_path):
    train(tmp_path, seconds=0.0)
    (tmp_path / "checkpoints" / "step_00000001" / "scaler.json").unlink()
    assert newest(tmp_path).scaler == {}
    train(tmp_path, seconds=0.0)
    assert newest(tmp_path).scaler["_growth_tracker"] == 1


def test_other_formats_have_no_scale(tmp_path):
    train(tmp_path, seconds=0.0)
    assert newest(tmp_path).scaler == {}
    assert not (tmp_path / "checkpoints" / "step_00000001" / "scaler.json").exists()


def test_prodigy_resumes_bitwise(tmp_path):
    pytest.importorskip("prodigyopt")
    run = config(optimizer="prodigy", learning_rate=1.0)
    straight = train(tmp_path / "straight", run)
    for _ in range(12):
        train(tmp_path / "paused", run, seconds=0.0)
    paused = train(tmp_path / "paused", run)
    assert all(torch.equal(straight[k], paused[k]) for k in straight)


def test_muon_steps_the_matrices_and_resumes_bitwise(tmp_path):
    run = config(optimizer="muon", learning_rate=0.01)
    wide = Wide(LineConfig())
    muon, adamw = make_optimizers(wide.trained(), run.loop)
    assert [id(p) for p in muon.param_groups[0]["params"]] == [id(wide.wide.weight)]
    assert len(adamw.param_groups[0]["params"]) == 3

    fit(Wide(LineConfig()), run, tmp_path / "straight")
    for _ in range(12):  # pause after every step
        fit(Wide(LineConfig()), run, tmp_path / "paused", stop_after=0.0)
    straight, paused = (
        read_checkpoint(whole_checkpoints(tmp_path / name / "checkpoints")[-1][1])
        for name in ("straight", "paused")
    )
    assert straight.step == paused.step == 12
    assert all(torch.equal(straight.trained[k], paused.trained[k]) for k in straight.trained)
    logged = [json.loads(line) for line in (tmp_path / "straight" / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1]["loss"] < logged[0]["loss"]


def test_a_run_is_continued_with_its_new_rate_and_only_its_own_optimizer(tmp_path):
    train(tmp_path / "cut", config(learning_rate=1e-2), seconds=0.0)
    fit(Line(LineConfig()), config(learning_rate=1e-9, steps=4, warmup_steps=0), tmp_path / "cut")
    first, last = (read_checkpoint(path) for _, path in whole_checkpoints(tmp_path / "cut" / "checkpoints"))
    for name in first.trained:  # weight decay and momentum move them as little as the rate says
        torch.testing.assert_close(last.trained[name], first.trained[name], atol=1e-7, rtol=0)
    assert last.optimizers[0]["param_groups"][0]["initial_lr"] == 1e-9
    with pytest.raises(ValueError, match="was trained with --optimizer adamw, this run has muon"):
        fit(Line(LineConfig()), config(optimizer="muon"), tmp_path / "cut")


def test_the_number_format_is_chosen_once(tmp_path, monkeypatch):
    asked = []

    def probe(device):
        asked.append(device)
        return torch.bfloat16 if len(asked) == 1 else torch.float32

    monkeypatch.setattr("train.stepping.pick_dtype", probe)
    for number in range(3):
        train(tmp_path, config(mixed_precision="auto"), seconds=0.0)
        train(tmp_path / str(number), seconds=0.0)  # another run of this process, in another format
    assert len(asked) == 1
    assert read_state(whole_checkpoints(tmp_path / "checkpoints")[-1][1])["mixed_precision"] == "bf16"


def test_records_of_steps_that_are_taken_again_are_dropped(tmp_path):
    train(tmp_path, config(keep_checkpoints=3, log_every=1))
    for _, path in whole_checkpoints(tmp_path / "checkpoints")[1:]:
        shutil.rmtree(path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "lo')  # cut in the middle of a line
    train(tmp_path, config(keep_checkpoints=3, log_every=1))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 13))


def test_a_lost_newest_checkpoint_does_not_change_the_run(tmp_path):
    straight = train(tmp_path / "straight")
    train(tmp_path / "cut", config(keep_checkpoints=3))
    newest = whole_checkpoints(tmp_path / "cut/checkpoints")[-1][1]
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    again = train(tmp_path / "cut", config(keep_checkpoints=3))
    assert all(torch.equal(straight[k], again[k]) for k in straight)


def test_another_recipes_checkpoint_is_refused(tmp_path):
    train(tmp_path)
    other = Line(LineConfig())
    other.extra = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="holds other tensors than this recipe trains"):
        fit(other, config(steps=20), tmp_path)


def test_old_checkpoints_are_pruned_and_partial_ones_ignored(tmp_path):
    tensor = {"a": torch.zeros(2)}
    (tmp_path / ".partial_00000009_1").mkdir(parents=True)
    for step in (1, 2, 3, 4):
        write_checkpoint(tmp_path, Checkpoint(step, tensor, {}, {}), keep=2)
    assert [step for step, _ in whole_checkpoints(tmp_path)] == [3, 4]
    write_checkpoint(tmp_path, Checkpoint(2, tensor, {}, {}), keep=2)
    assert [step for step, _ in whole_checkpoints(tmp_path)] == [2, 3, 4], "what was just written stays"


def test_an_average_may_begin_and_end_on_the_way(tmp_path):
    train(tmp_path / "late", config(ema_decay=0.0, steps=400, learning_rate=0.05), seconds=math.inf)
    before = newest(tmp_path / "late").trained
    train(tmp_path / "late", config(ema_decay=0.999, steps=401, learning_rate=0.05))
    exported = torch.load(tmp_path / "late" / "export" / "layer.pt", weights_only=True)
    torch.testing.assert_close(exported["bias"], before["layer.bias"], atol=0.02, rtol=0)
    train(tmp_path / "ends", config(ema_decay=0.9), seconds=0.0)
    trained = train(tmp_path / "ends", config(ema_decay=0.0))
    exported = torch.load(tmp_path / "ends" / "export" / "layer.pt", weights_only=True)
    assert torch.equal(exported["bias"], trained["layer.bias"])


def test_what_a_killed_write_left_is_removed(tmp_path):
    left = tmp_path / "checkpoints" / ".step_00000004_5740"
    left.mkdir(parents=True)
    train(tmp_path)
    assert not left.exists()
