"""Are pairs that are not trained on looked at, told, and without effect on what is learnt?"""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from accelerate.utils import LoggerType
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train.own_pairs import SIZES, run, settings, twenty
from train.curves import draw_curves
from train.pairs.examples import Found, PairReader
from train.validation import not_heeded
from unicon import UniConPipeline
from unicon.data.pairs import Pairs


class Wandb(types.ModuleType):
    """What accelerate calls of it, and what it was given."""

    def __init__(self):
        super().__init__("wandb")
        self.asked, self.fields, self.logged, self.is_finished = {}, {}, [], False
        self.config = types.SimpleNamespace(update=lambda fields, **how: self.fields.update(fields))

    def init(self, **asked):
        self.asked = asked
        return self

    def log(self, values, step=None):
        self.logged.append((step, values))

    def finish(self):
        self.is_finished = True

    Image = staticmethod(np.shape)


@pytest.fixture
def wandb(monkeypatch) -> Wandb:
    """In the place of the real one, behind accelerate's own tracker."""
    fake = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    both = [LoggerType.TENSORBOARD, LoggerType.WANDB]
    monkeypatch.setattr("accelerate.tracking._available_trackers", both)
    return fake


def test_pairs_that_are_not_trained_on_are_looked_at_and_change_nothing(base, tmp_path, wandb):
    twenty(tmp_path / "data")
    looked, blind = tmp_path / "looked", tmp_path / "blind"
    fast = ["--learning_rate", "0.1", "--warmup_steps", "2", "--ema_decay", "0.5", "--validation_steps", "1"]
    tracked = ["--trackers", "tensorboard,wandb", "--log_every", "1"]
    assert run(tmp_path / "data", base, looked, *fast, *tracked, "--validate_every", "1") == 0
    check_tracked(wandb, looked)
    (events,) = (looked / "adapter" / "adapter").glob("events*")
    check_events(EventAccumulator(str(events)).Reload(), looked)
    assert run(tmp_path / "data", base, blind, *fast, "--validate_every", "0") == 0
    rows = [json.loads(line) for line in (looked / "adapter" / "validation.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    for name in ("denoised_image", "denoised_map", "estimated", "read_back"):
        assert 0 < rows[0][name] != rows[0][f"{name}_of_another"]
    sheets = sorted((looked / "adapter" / "validation").iterdir())
    assert [sheet.name for sheet in sheets] == ["step_00000001.png", "step_00000002.png"]
    with PIL.Image.open(looked / "adapter" / "curves.png") as curves:
        assert curves.size == (800, 520)  # four numbers, each beside another pair's
    weights = [(out / "adapter" / "export" / "adapter.safetensors").read_bytes() for out in (looked, blind)]
    assert weights[0] == weights[1]
    objective = settings(tmp_path / "data", base).build(looked)
    assert len(objective.examples) == 18  # a tenth is held out


def check_tracked(wandb: Wandb, out: Path) -> None:
    """The same as the run's own files."""
    assert wandb.asked == {"project": "adapter", "dir": str(out / "adapter"), "name": out.name}
    assert (wandb.fields["loop.steps"], wandb.fields["objective.condition"]) == (2, "depth")
    rows = [json.loads(line) for line in (out / "adapter" / "metrics.jsonl").read_text().splitlines()]
    losses = [(step, given["loss"]) for step, given in wandb.logged if "loss" in given]
    assert losses == [(row["step"], row["loss"]) for row in rows]
    sheets = [given["validation"] for _, given in wandb.logged if "validation" in given]
    assert [[len(shape) for shape in sheet] for sheet in sheets] == [[3], [3]]
    assert [step for step, _ in wandb.logged] == sorted(step for step, _ in wandb.logged)  # or it drops some
    assert wandb.is_finished


def check_events(events: EventAccumulator, out: Path) -> None:
    """The same as the run's own files."""
    rows = [json.loads(line) for line in (out / "adapter" / "metrics.jsonl").read_text().splitlines()]
    assert [e.step for e in events.Images("validation")] == [1, 2]
    assert [e.step for e in events.Scalars("loss")] == [1, 2]
    assert [e.value for e in events.Scalars("loss")] == pytest.approx([row["loss"] for row in rows])
    assert len({e.value for e in events.Scalars("lr")}) == 2


def test_curves_of_runs_without_another_pairs_numbers_or_without_matplotlib(tmp_path, monkeypatch):
    rows = [{"step": 10, "likeness": 0.5}, {"step": 20, "likeness": 0.6, "fidelity": 0.1, "error": 0.2}]
    draw_curves(rows, tmp_path / "curves.png")
    with PIL.Image.open(tmp_path / "curves.png") as curves:
        assert curves.size == (800, 520)
    monkeypatch.setattr("train.curves.find_spec", lambda name: None)
    draw_curves(rows, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_a_base_in_half_precision_is_looked_at_in_another_half(base, tmp_path, capsys):
    """As `mini` is stored, and what mixed precision is on most processors."""
    twenty(tmp_path / "data")
    UniConPipeline.from_pretrained(base, adapters=(), dtype=torch.float16).save_pretrained(tmp_path / "half")
    more = ["--validate_every", "2", "--validation_steps", "1", "--mixed_precision", "bf16"]
    assert run(tmp_path / "data", tmp_path / "half", tmp_path / "out", *more) == 0
    (row,) = (tmp_path / "out" / "adapter" / "validation.jsonl").read_text().splitlines()
    both = {"denoised_image", "denoised_map"}
    assert set(not_heeded(json.loads(row))) == both  # after two steps
    assert "the other side is not heeded yet in denoised_image and denoised_map" in capsys.readouterr().out
    assert not_heeded({"denoised_map": 0.1, "denoised_map_of_another": 0.2, "estimated": 1.0}) == []


def test_what_is_held_out_is_not_trained_on_under_another_name():
    reader = PairReader(pairs=Pairs.of([], []), condition="depth", encoder=None, cache=None)
    contents = [str(n) for n in range(40)]
    contents[7] = contents[30]
    for keys, num_kept in ((contents, 37), ([""] * 40, 38)):  # without a cache nobody knows
        found = [Found(n, key, (4, 8, 8), n in (30, 31)) for n, key in enumerate(keys)]
        kept, held_out = reader.split(found, 2)
        assert [pair.index for pair in held_out] == [30, 31]
        assert len(kept) == num_kept
        assert all(pair.index not in (30, 31) for pair in kept)


def test_few_pairs_are_all_trained_on(data, base, tmp_path, capsys):
    objective = settings(data, base, clean_timestep=150).build(tmp_path)
    assert "warning" not in capsys.readouterr().err
    assert len(objective.examples) == len(SIZES)
    assert objective.validate() is None
