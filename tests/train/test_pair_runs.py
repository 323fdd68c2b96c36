"""What does a run on own pairs say beforehand, which fields does it take, and whose folder is it?"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from accelerate.utils import LoggerType

from tests.train.own_pairs import run, settings
from train.command import main
from train.config import read_assignments

REFUSED = [
    (["--condition", "edge"], "--condition depth, this one has --condition edge"),
    (["--rank", "3"], "--rank 2, this one has --rank 3"),
    (["--start_from", "depth"], "no --start_from, this one has --start_from depth"),
    (["--trigger", "far, "], "--trigger auto, this one has --trigger far, "),
]


def test_a_run_folder_is_of_one_run(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run(data, base, out) == 0
    (data / "depth").rename(data / "edge")
    whole = {path: path.read_bytes() for path in (out / "adapter").rglob("*") if path.is_file()}
    for more, message in REFUSED:
        for steps in ("2", "3"):  # done, and to go on
            assert run(data, base, out, *more, "--steps", steps) == 2
            told = capsys.readouterr().err
            assert f"holds a run with {message}: choose another --out" in told
    assert {path: path.read_bytes() for path in whole} == whole


def test_the_same_data_by_another_path_is_the_same_run(data, base, tmp_path, monkeypatch, capsys):
    assert run(data, base, tmp_path / "runs") == 0
    monkeypatch.chdir(tmp_path)
    assert run(Path("data"), base, tmp_path / "runs", "--learning_rate", "1e-5") == 0
    assert "done before" in capsys.readouterr().out
    (tmp_path / "elsewhere").mkdir()
    data.rename(tmp_path / "elsewhere" / "data")
    assert run(tmp_path / "elsewhere" / "data", base, tmp_path / "runs") == 0
    shutil.copytree(tmp_path / "elsewhere" / "data", data)
    assert run(tmp_path / "elsewhere" / "data", base, tmp_path / "runs") == 2
    assert "holds a run with --data " in capsys.readouterr().err


def test_a_dry_run_says_what_a_run_costs_and_keeps_nothing(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    assert run(data, base, out, "--dry-run", "--steps", "1000") == 0
    said = capsys.readouterr().out
    trained = re.search(r"trained: ([\d,]+) parameters, [\d.]+% of", said)
    assert trained
    objective = settings(data, base).build(tmp_path / "other")
    assert int(trained[1].replace(",", "")) == sum(p.numel() for p in objective.trained().values())
    for part in (
        '"steps": 1000',
        "each seen 333 times",
        "peak memory: ",
        " steps a second",
        "for 1,000 steps",
    ):
        assert part in said
    assert not (out / "adapter").exists()  # encoded pairs are kept


def test_fields_from_a_file_and_the_command_line_wins(data, base, tmp_path, capsys):
    out = tmp_path / "runs"
    fields = "rank: 3\nmixed_precision: no\nloop:\n  steps: 50\n  betas: [0.8, 0.9]\ntrigger: a map of \n"
    (tmp_path / "mine.yaml").write_text(fields)
    assert read_assignments(tmp_path / "mine.yaml")["mixed_precision"] == "no"  # to YAML it is false
    assert run(data, base, out, "--config", str(tmp_path / "mine.yaml")) == 0  # with steps and rank, too
    config = json.loads((out / "adapter" / "config.json").read_text())
    assert config["objective"]["trigger"] == "a map of"
    assert config["loop"]["betas"] == [0.8, 0.9]
    assert (config["loop"]["steps"], config["objective"]["rank"]) == (2, 2)
    before = (out / "adapter" / "export" / "adapter.safetensors").read_bytes()
    again = ["adapter", "--config", str(out / "adapter" / "config.json"), "--out", str(tmp_path / "again")]
    assert main(again) == 0
    assert (tmp_path / "again" / "adapter" / "export" / "adapter.safetensors").read_bytes() == before
    for content, message in [
        ("rnak: 3", "--rnak is not a field of this recipe; did you mean --rank?"),
        ("- 1", "holds no fields"),
        ("{", "cannot be read"),
    ]:
        (tmp_path / "mine.yaml").write_text(content)
        assert main(["adapter", "--config", str(tmp_path / "mine.yaml"), "--out", str(out)]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wandb", "--trackers wandb: not installed here; pip install wandb, or choose from tensorboard"),
        ("comet_ml", "not installed here; pip install comet-ml, or"),
        ("tensorbord", "accelerate knows no such tracker; did you mean tensorboard?"),
    ],
)
def test_a_tracker_that_is_not_there_is_told_before_anything_is_encoded(
    name, told, data, base, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("accelerate.tracking._available_trackers", [LoggerType.TENSORBOARD])
    assert run(data, base, tmp_path / "runs", "--trackers", name) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "runs" / "cache").exists()
