"""Does a run take the steps that it says, in its order, at its rate, and say what came of them?"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.train.line import Line, LineConfig, Wide, config, train
from train.checkpoint import whole_checkpoints
from train.loop import fit
from train.objectives.base import among
from train.optimizers import make_optimizers
from train.randomness import DataOrder, seed_of, step_generator
from train.schedules import rate_share


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


def test_a_torch_without_muon_says_what_to_do(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ValueError, match="upgrade torch to 2.9 or later, or choose --optimizer adamw"):
        make_optimizers(Wide(LineConfig()).trained(), config(optimizer="muon").loop)


@pytest.mark.parametrize(("optimizer", "package"), [("adamw8bit", "bitsandbytes"), ("prodigy", "prodigyopt")])
def test_optimizers_that_are_not_installed_say_what_to_do(optimizer, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=f"pip install {package}, or choose --optimizer adamw"):
        make_optimizers(Line(LineConfig()).trained(), config(optimizer=optimizer, learning_rate=1.0).loop)


def test_objectives_without_a_network_have_nothing_to_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="no network of a Line can; leave it out"):
        train(tmp_path, config(gradient_checkpointing=True))


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


class Torn(Line):
    """A finite loss, and in one step a gradient that is none."""

    def forward(self, items, draws):
        loss, parts = super().forward(items, draws)
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == 6:
            loss.register_hook(lambda gradient: gradient * float("nan"))
        return loss, parts


@pytest.mark.parametrize("steps", [6, 12])
def test_a_gradient_that_is_not_finite_stops_the_run_before_it_is_kept(tmp_path, steps):
    with pytest.raises(ValueError, match=r"the norm of the gradients is nan .* last checkpoint is untouched"):
        fit(Torn(LineConfig()), config(steps=steps, checkpoint_every=3), tmp_path)
    assert [step for step, _ in whole_checkpoints(tmp_path / "checkpoints")] == [3]
    assert not (tmp_path / "export").exists()


class Halves(Line):
    """Its second half of the points has no part `half`."""

    def forward(self, items, draws):
        loss, _ = super().forward(items, draws)
        return loss, {"half": among(torch.ones_like(loss), torch.from_numpy(items < 19))}


def test_parts_are_means_over_their_own_items_however_these_are_split(tmp_path):
    for name, micro in (("whole", 0), ("split", 1)):
        fit(Halves(LineConfig()), config(micro_batch=micro), tmp_path / name)
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        assert all(json.loads(line)["half"] == 1 for line in lines)


def test_signals_do_afterwards_what_they_did_before(tmp_path):
    before = [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)]
    train(tmp_path)
    assert [signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)] == before


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


def test_every_item_is_seen_once_per_epoch_whatever_the_batch_size():
    for batch in (4, 5, 7):
        steps = -(-3 * 35 // batch)
        order = DataOrder(1, batch, 35)
        seen = np.concatenate([order.items(s) for s in range(steps)])[: 3 * 35]
        assert all(sorted(epoch) == list(range(35)) for epoch in seen.reshape(3, 35))
        assert not np.array_equal(seen[:35], seen[35:70])


@pytest.mark.parametrize("seed", range(3))
def test_batches_of_groups_have_one_group_each_and_see_all_items_equally_often(seed):
    """Whatever their groups' sizes, here down to a single item: as often as batches have items, in as many
    epochs."""
    groups = np.array([0] * 10 + [7] * 3 + [3] * 4 + [5])
    order = DataOrder(seed, 4, len(groups), groups)
    batches = [order.items(step) for step in range(2 * len(groups))]
    assert all(len(batch) == 4 and len(set(groups[batch])) == 1 for batch in batches)
    halves = np.split(np.stack(batches), 2)
    assert all((np.bincount(half.ravel()) == 4).all() for half in halves)
    assert not np.array_equal(*halves)
    from_anywhere = DataOrder(seed, 4, len(groups), groups)
    for step in (30, 7, 31, 0):
        assert np.array_equal(from_anywhere.items(step), batches[step])


def test_a_run_of_one_epoch_favours_no_size():
    groups = np.array([0] * 20 + [1] * 7 + [2] * 2 + [3])
    runs = [DataOrder(seed, 8, len(groups), groups) for seed in range(400)]
    steps = range(-(-len(groups) // 8))
    seen = np.bincount(np.concatenate([run.items(step) for run in runs for step in steps]))
    often = [seen[groups == group].mean() / len(runs) for group in range(4)]
    # Four batches of eight for thirty items; filled up, the last item would be seen eight times.
    assert np.allclose(often, 32 / 30, atol=0.3)


def test_one_group_is_no_group():
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
