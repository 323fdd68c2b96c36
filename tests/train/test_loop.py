"""Does a run follow the same trajectory however it is cut, split or stopped?"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch.optim.optimizer import register_optimizer_step_pre_hook

from train.checkpoint import Checkpoint, read_checkpoint, read_state, whole_checkpoints, write_checkpoint
from train.config import LoopConfig, RunConfig, override
from train.loop import fit
from train.objectives.base import Draws, Objective
from train.optimizers import make_optimizers
from train.randomness import DataOrder, seed_of, step_generator
from train.schedules import rate_share


@dataclass(frozen=True, kw_only=True, slots=True)
class LineConfig:
    slope: float = 2.0
    name: str = "line"


class Line(Objective):
    """Learn y = slope * x + 1 from noisy points: small, but with data order, draws and two tensors."""

    def __init__(self, config: LineConfig):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 1)
        self.frozen = torch.nn.Linear(3, 3).requires_grad_(False)
        self.config = config
        self.points = torch.randn(37, 3)

    @property
    def num_items(self) -> int:
        return len(self.points)

    def draw(self, generator, items):
        return Draws(noise=torch.randn(len(items), generator=generator))

    def forward(self, items, draws):
        x = self.points[items]
        target = self.config.slope * x.sum(1) + 1 + 0.1 * draws["noise"]
        loss = (self.layer(x)[:, 0] - target).square()
        return loss, {"twice": 2 * loss}

    def export(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.layer.state_dict(), folder / "layer.pt")


def config(**loop) -> RunConfig:
    defaults = dict(  # noqa: C408
        steps=12, batch_size=8, warmup_steps=2, checkpoint_every=4, log_every=3, mixed_precision="no"
    )
    return RunConfig(name="line", objective=LineConfig(), loop=LoopConfig(**{**defaults, **loop}))


def train(
    folder: Path, run: RunConfig | None = None, seconds: float = float("inf")
) -> dict[str, torch.Tensor]:
    fit(Line(LineConfig()), run or config(), folder, stop_after=seconds)
    return read_checkpoint(whole_checkpoints(folder / "checkpoints")[-1][1]).trained


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


def test_a_run_is_adamw_on_what_is_drawn_and_exports_the_average(tmp_path):
    """Against the same written out in plain torch."""
    run = config(
        steps=8, batch_size=8, warmup_steps=3, decay_share=0.5, betas=(0.8, 0.9), weight_decay=0.3,
        ema_decay=0.3, clip_norm=0.7, learning_rate=0.05, seed=4,
    )  # fmt: skip
    line, loop = Line(LineConfig()), run.loop
    parameters = list(line.layer.parameters())
    average = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, betas=(0.8, 0.9), weight_decay=0.3)
    for step in range(8):
        items = DataOrder(4, 8, len(line.points)).items(step)
        draws = line.draw(step_generator(4, step), torch.from_numpy(items))
        optimizer.zero_grad()
        line(items, draws)[0].mean().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.7)
        optimizer.param_groups[0]["lr"] = 0.05 * rate_share(loop, step)
        optimizer.step()
        decay = min(0.3, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, parameters, strict=True)]
    trained = train(tmp_path, run)
    exported = torch.load(tmp_path / "export" / "layer.pt", weights_only=True)
    for name, parameter, mean in zip(("weight", "bias"), parameters, average, strict=True):
        torch.testing.assert_close(trained[f"layer.{name}"], parameter.detach())
        torch.testing.assert_close(exported[name], mean)
        assert not torch.allclose(mean, parameter, atol=1e-3)


class Wide(Line):
    """The same with a matrix that is large enough for Muon."""

    def __init__(self, config: LineConfig):
        super().__init__(config)
        self.wide = torch.nn.Linear(16, 16)
        self.layer = torch.nn.Linear(16, 1)
        self.points = torch.randn(37, 16)

    def forward(self, items, draws):
        x = self.points[items]
        error = self.layer(self.wide(x).tanh())[:, 0] - self.config.slope * x[:, 0]
        return error.square(), {}


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


def test_a_torch_without_muon_says_what_to_do(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match="upgrade torch to 2.9 or later, or choose --optimizer adamw"):
        make_optimizers(Wide(LineConfig()).trained(), config(optimizer="muon").loop)


@pytest.fixture
def scaled(monkeypatch):
    """Makes runs scale their gradients, as fp16 does on a GPU, by a scaler that doubles every third step."""

    class Scaled(Accelerator):
        def __init__(self, **named):
            super().__init__(**named)
            self.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)

    monkeypatch.setattr("train.stepping.Accelerator", Scaled)


def newest(folder: Path) -> Checkpoint:
    return read_checkpoint(whole_checkpoints(folder / "checkpoints")[-1][1])


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


@pytest.mark.parametrize(("optimizer", "package"), [("adamw8bit", "bitsandbytes"), ("prodigy", "prodigyopt")])
def test_optimizers_that_are_not_installed_say_what_to_do(optimizer, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"pip install {package}, or choose --optimizer adamw"):
        make_optimizers(Line(LineConfig()).trained(), config(optimizer=optimizer, learning_rate=1.0).loop)


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


def test_objectives_without_a_network_have_nothing_to_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="no network of a Line can; leave it out"):
        train(tmp_path, config(gradient_checkpointing=True))


def test_a_lost_newest_checkpoint_does_not_change_the_run(tmp_path):
    straight = train(tmp_path / "straight")
    train(tmp_path / "cut", config(keep_checkpoints=3))
    newest = whole_checkpoints(tmp_path / "cut/checkpoints")[-1][1]
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    again = train(tmp_path / "cut", config(keep_checkpoints=3))
    assert all(torch.equal(straight[k], again[k]) for k in straight)


@pytest.mark.parametrize("micro_batch", [1, 3, 8])
def test_accumulation_follows_the_same_trajectory(tmp_path, micro_batch):
    whole, split = train(tmp_path / "whole"), train(tmp_path / "split", config(micro_batch=micro_batch))
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=1e-5, atol=1e-6)


def test_metrics_config_and_versions_are_kept(tmp_path):
    train(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 4, 7, 8, 11, 12]
    assert all(line["twice"] == pytest.approx(2 * line["loss"]) for line in lines)
    assert json.loads((tmp_path / "config.json").read_text())["objective"]["type"] == "LineConfig"
    assert {"commit", "torch"} <= json.loads((tmp_path / "versions.json").read_text()).keys()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr("train.randomness.DataOrder.close", lambda order: closed.append(order))
    objective = Line(LineConfig(slope=float("inf")))
    with pytest.raises(ValueError, match="loss is .* continue from it with a lower --learning_rate"):
        fit(objective, config(checkpoint_every=100), tmp_path)
    assert not whole_checkpoints(tmp_path / "checkpoints")
    assert len(closed) == 1


def test_another_recipes_checkpoint_is_refused(tmp_path):
    train(tmp_path)
    other = Line(LineConfig())
    other.extra = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="holds other tensors than this recipe trains"):
        fit(other, config(steps=20), tmp_path)


def test_gradients_are_clipped(tmp_path):
    stepped = []

    def note(optimizer, *_):
        gradients = [p.grad.flatten() for group in optimizer.param_groups for p in group["params"]]
        stepped.append(torch.cat(gradients).norm().item())

    watching = register_optimizer_step_pre_hook(note)
    try:
        fit(Line(LineConfig(slope=1e6)), config(steps=3, clip_norm=1e-3, ema_decay=0.0), tmp_path)
    finally:
        watching.remove()
    assert stepped == pytest.approx([1e-3] * 3, rel=1e-4)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["grad_norm"] > 1  # measured before clipping


def test_a_clip_norm_of_0_clips_nothing_and_the_norm_is_logged(tmp_path):
    found = {norm: train(tmp_path / norm, config(clip_norm=float(norm))) for norm in ("0", "1e9")}
    start = Line(LineConfig()).trained()
    for name, tensor in found["0"].items():
        assert torch.equal(tensor, found["1e9"][name])
        assert not torch.equal(tensor, start[name])
    for line in (tmp_path / "0" / "metrics.jsonl").read_text().splitlines():
        assert json.loads(line)["grad_norm"] > 0


def test_old_checkpoints_are_pruned_and_partial_ones_ignored(tmp_path):
    tensor = {"a": torch.zeros(2)}
    (tmp_path / ".partial_00000009_1").mkdir(parents=True)
    for step in (1, 2, 3, 4):
        write_checkpoint(tmp_path, Checkpoint(step, tensor, {}, {}), keep=2)
    assert [step for step, _ in whole_checkpoints(tmp_path)] == [3, 4]
    write_checkpoint(tmp_path, Checkpoint(2, tensor, {}, {}), keep=2)
    assert [step for step, _ in whole_checkpoints(tmp_path)] == [2, 3, 4], "what was just written stays"


def test_every_item_is_seen_once_per_epoch_whatever_the_batch_size():
    for batch in (4, 5, 7):
        steps = -(-3 * 35 // batch)
        order = DataOrder(1, batch, 35)
        seen = np.concatenate([order.items(s) for s in range(steps)])[: 3 * 35]
        assert all(sorted(epoch) == list(range(35)) for epoch in seen.reshape(3, 35))
        assert not np.array_equal(seen[:35], seen[35:70])


def test_batches_of_groups_have_one_group_each_and_skip_none():
    groups = np.array([0] * 10 + [7] * 3 + [3] * 4)
    order = DataOrder(0, 4, len(groups), groups)
    per_epoch = 3 + 1 + 1
    for epoch in range(2):
        batches = [order.items(epoch * per_epoch + i) for i in range(per_epoch)]
        assert all(len(batch) == 4 and len(set(groups[batch])) == 1 for batch in batches)
        assert set(np.concatenate(batches)) == set(range(len(groups)))
    assert [order.items(i).tolist() for i in range(5)] != [order.items(i + 5).tolist() for i in range(5)]
    one = DataOrder(0, 4, 10, np.zeros(10, int))
    assert all(np.array_equal(one.items(s), DataOrder(0, 4, 10).items(s)) for s in range(6))


def test_seeds_and_generators_are_stable():
    assert seed_of(1, "step", 2) == seed_of(1, "step", 2) != seed_of(1, "step", 3)
    assert torch.equal(
        torch.rand(3, generator=step_generator(0, 5)), torch.rand(3, generator=step_generator(0, 5))
    )


def test_the_rate_warms_up_stays_and_decays():
    loop = config(steps=100, warmup_steps=10).loop
    rates = [rate_share(loop, s) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:80] == [1.0] * 70
    assert rates[-1] == pytest.approx(0.05)
    loop = config(steps=100, warmup_steps=10, decay_share=1.0, decay="cosine").loop
    assert rate_share(loop, 0) == pytest.approx(0.1)
    cosine = (1 + np.cos(np.pi * np.arange(25, 100) / 100)) / 2
    assert [rate_share(loop, s) for s in range(25, 100)] == pytest.approx(cosine)
    assert rate_share(replace(loop, decay_share=0.0), 99) == 1.0


def test_overrides_reach_both_sections():
    run = override(config(), {"steps": "7", "slope": "3", "loop.learning_rate": "1", "betas": "[0.5, 0.9]"})
    assert (run.loop.steps, run.objective.slope, run.loop.betas) == (7, 3.0, (0.5, 0.9))


@dataclass(frozen=True, kw_only=True, slots=True)
class KindsConfig:
    mirrored: bool = False
    num: int = 3
    rate: float = 0.5
    sizes: tuple[int, ...] = (4, 8)
    shares: tuple[float, float] = (0.9, 0.99)
    words: tuple[str, ...] = ("a dog", "a cat")
    text: str = ""


KINDS = RunConfig(name="kinds", objective=KindsConfig(), loop=LoopConfig(steps=1, batch_size=1))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("mirrored", "True", True),
        ("mirrored", "FALSE", False),
        ("num", "1e4", 10_000),
        ("num", "8.0", 8),
        ("num", "9007199254740993", 2**53 + 1),
        ("rate", "2", 2.0),
        ("rate", ".5", 0.5),
        ("sizes", "[16, 3.2e1]", (16, 32)),
        ("shares", "[0, 1]", (0.0, 1.0)),
        ("words", '["a house"]', ("a house",)),
        ("text", "3", "3"),
    ],
)
def test_values_as_they_are_written(name, text, value):
    found = getattr(override(KINDS, {name: text}).objective, name)
    assert found == value
    kinds = [type(each) for each in (found if isinstance(found, tuple) else (found,))]
    assert kinds == [type(each) for each in (value if isinstance(value, tuple) else (value,))]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("mirrored", "yes", "true or false"),
        ("mirrored", "1", "true or false"),
        ("num", "1.5", "a whole number, such as --num 3"),
        ("num", "true", "a whole number, such as --num 3"),
        ("num", "inf", "a whole number, such as --num 3"),
        ("rate", "fast", "a number, such as --rate 0.5"),
        ("rate", "true", "a number, such as --rate 0.5"),
        ("sizes", "[4, true]", "a list, such as --sizes '[4, 8]'"),
        ("shares", "0.9,0.99", "a list, such as --shares '[0.9, 0.99]'"),
        ("shares", "0.9", "a list, such as --shares '[0.9, 0.99]'"),
        ("shares", "[0.9]", "a list, such as --shares '[0.9, 0.99]'"),
        ("shares", '["0.9", 1]', "a list, such as --shares '[0.9, 0.99]'"),
        ("words", "a dog", 'a list, such as --words \'["a dog", "a cat"]\''),
        ("words", "[1]", 'a list, such as --words \'["a dog", "a cat"]\''),
    ],
)
def test_values_of_another_kind_are_answered_with_one_that_fits(name, text, expected):
    with pytest.raises(ValueError, match=re.escape(f"--{name} got {text!r}; expected {expected}")):
        override(KINDS, {name: text})


@pytest.mark.parametrize(
    "assignments, message",
    [
        ({"stepz": "3"}, "did you mean --steps"),
        ({"validate_every": "-1"}, "validate_every must be a whole number of at least 0, got -1"),
        ({"optimizer": "prodigy"}, "which finds its own: give --learning_rate 1"),
        ({"steps": "many"}, "--steps got 'many'; expected a whole number, such as --steps 12"),
        ({"optimizer": "muon", "mixed_precision": "fp16"}, "unscaled twice; choose bf16 or no"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; known: adamw, muon, adamw8bit, prodigy"),
        ({"steps": "0"}, "steps must be a whole number of at least 1, got 0"),
        ({"learning_rate": "-1"}, "learning_rate must be a number above 0, got -1.0"),
        ({"learning_rate": "NaN"}, "learning_rate must be a number above 0, got nan"),
        ({"clip_norm": "-1"}, "clip_norm must be a number of at least 0, got -1.0"),
        ({"weight_decay": "-0.1"}, "weight_decay must be a number of at least 0, got -0.1"),
        ({"betas": "[0.9, 1]"}, "each of betas must be a number of at least 0 and below 1, got 1"),
        ({"ema_decay": "1"}, "ema_decay must be a number of at least 0 and below 1, got 1.0"),
        ({"decay": "cosin"}, "decay is 'cosin'; did you mean cosine?"),
        ({"decay_share": "2"}, "decay_share must be a number from 0 to 1, got 2.0"),
        ({"mixed_precision": "fp8"}, "choose auto, no, bf16 or fp16"),
    ],
)
def test_bad_overrides_are_named(assignments, message):
    with pytest.raises(ValueError, match=message):
        override(config(), assignments)
