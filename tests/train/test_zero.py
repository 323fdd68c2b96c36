"""Does a run under DeepSpeed learn and keep what one process does?

accelerate takes DeepSpeed for GPUs alone, unless it is not told that there are none; DeepSpeed's own
collectives for CPUs, which would be compiled first, are left out. The rest is theirs, over gloo.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from accelerate import DeepSpeedPlugin
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from tests.programs import ROOT
from tests.tiny_base import save_tiny_base
from tests.train.line import Line, LineConfig, config, train
from tests.train.own_pairs import picture
from train import zero
from train.checkpoint import Checkpoint, read_checkpoint, whole_checkpoints
from train.command import main
from train.stepping import Stepper
from unicon.cli import launch
from unicon.cli import main as cli
from unicon.extras import MissingExtra

START = """
import os, signal, sys
from pathlib import Path
import deepspeed.ops
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from tests.train.line import config, Line, LineConfig
from train import command, stepping
from train.loop import fit
from unicon.processes import processes

deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
state = processes()  # over gloo; accelerate then takes what the launcher asked for
del os.environ["ACCELERATE_USE_CPU"]
folder = Path(sys.argv[1])

def run(name, seconds=float("inf"), **loop):
    done = fit(Line(LineConfig()), config(**loop), folder / name, stop_after=seconds)
    print(f"process {state.process_index} {name} done {done}")

"""

LINES = """
run("straight", micro_batch=3)
for _ in range(11):
    run("paused", 0.0, micro_batch=3)
run("paused", micro_batch=3)
for _ in range(3):
    run("mixed", 0.0)
run("bf16", mixed_precision="bf16", validate_every=5)
run("again", mixed_precision="bf16", micro_batch=4)
"""

KILLED = """
step = stepping.Stepper.__call__
def call(self, number):
    if number == 6 and state.process_index == 1 and not (folder / "was_killed").exists():
        (folder / "was_killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, number)
stepping.Stepper.__call__ = call
run("killed", micro_batch=3)
"""

ADAPTER = """
made = stepping.Stepper.__init__
def init(self, objective, *more, **settings):
    before = {name: p.dtype for name, p in objective.named_parameters()}
    made(self, objective, *more, **settings)
    assert {name: p.dtype for name, p in objective.named_parameters()} == before
    assert isinstance(self.optimizers[0].optimizer, DeepSpeedZeroOptimizer)
    (part,) = self.optimizers[0].optimizer.optimizer.param_groups[0]["params"]
    print("spread", part.numel(), "of", sum(p.numel() for p in self.trained.values()), flush=True)
stepping.Stepper.__init__ = init
sys.exit(command.main(sys.argv[2:]))
"""


def launched(folder, program: str, *more: str) -> tuple[int, str]:
    pytest.importorskip("deepspeed", reason="the extra deepspeed is not installed")
    (folder / "program.py").write_text(START + program)
    options = launch.launch_options(cli.parse(["train", "--launch", "--config_file deepspeed"]))
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, str(folder / "program.py")]
    done = subprocess.run(
        [*command, str(folder), *more],
        cwd=ROOT, env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def newest(folder) -> Checkpoint:
    return read_checkpoint(whole_checkpoints(folder / "checkpoints")[-1][1])


def assert_near(found: Checkpoint, other: Checkpoint, **tolerance) -> None:
    """The same weights, average and optimizer's state, in one form; equal where no tolerance is given."""
    tolerance = tolerance or {"rtol": 0, "atol": 0}
    assert found.step == other.step
    for one, two in ((found.trained, other.trained), (found.average, other.average)):
        torch.testing.assert_close(dict(one), dict(two), **tolerance)
    torch.testing.assert_close(found.optimizers[0]["state"], other.optimizers[0]["state"], **tolerance)
    assert found.optimizers[0]["param_groups"] == other.optimizers[0]["param_groups"]


@pytest.mark.slow
def test_lines_of_two_processes_are_those_of_one(tmp_path):
    """In micro-batches of unequal size, paused after every step, killed, and continued without DeepSpeed."""
    status, said = launched(tmp_path, LINES)
    assert status == 0, said
    assert said.count("straight done True") == said.count("paused done True") == 2
    train(tmp_path / "one", config())
    straight, one = newest(tmp_path / "straight"), newest(tmp_path / "one")
    assert_near(newest(tmp_path / "paused"), straight)
    assert_near(straight, one, rtol=1e-5, atol=1e-6)
    logged = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("straight", "one")
    ]
    assert len(logged[0]) == len(logged[1])
    for two, alone in zip(*logged, strict=True):
        assert two["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-5)
        assert two["grad_norm"] > config().loop.clip_norm  # so clipping was at work

    assert newest(tmp_path / "mixed").step == 3
    train(tmp_path / "mixed", config())
    assert_near(newest(tmp_path / "mixed"), one, rtol=1e-5, atol=1e-6)

    status, said = launched(tmp_path, KILLED)
    assert status != 0
    assert newest(tmp_path / "killed").step == 4
    status, said = launched(tmp_path, KILLED)
    assert status == 0, said
    assert_near(newest(tmp_path / "killed"), straight)

    # bf16 rounds otherwise in another batch, so one process takes the same ones. All that is kept is float32.
    train(tmp_path / "one_bf16", config(mixed_precision="bf16", micro_batch=4))
    bf16 = newest(tmp_path / "bf16")
    assert bf16.fixed["mixed_precision"] == "bf16"
    assert all(value.dtype == torch.float32 for value in bf16.trained.values())
    assert_near(newest(tmp_path / "again"), bf16)
    assert_near(bf16, newest(tmp_path / "one_bf16"), rtol=1e-5, atol=1e-6)
    first, other = (each.optimizers[0]["state"][0]["exp_avg"] for each in (bf16, straight))
    assert not torch.allclose(first, other, rtol=1e-4, atol=0)  # so bf16 was at work


@pytest.mark.slow
def test_an_adapter_under_deepspeed_is_that_of_one_process(tmp_path):
    """Validated on the way, stopped, continued, and by one process from there."""
    base = save_tiny_base(tmp_path / "tiny")
    for name, seed in (("image", 0), ("depth", 100)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(20):
            picture(seed + i, (40, 40)).save(tmp_path / "data" / name / f"{i:02}.png")
    recipe = ["adapter", "--data", str(tmp_path / "data"), "--condition", "depth", "--base", str(base)]
    loop = ["--batch_size", "4", "--learning_rate", "0.01", "--mixed_precision", "no", "--rank", "2"]
    look = ["--validate_every", "2", "--validation_steps", "1", "--checkpoint_every", "1", "--steps", "4"]
    two = [*recipe, *loop, *look, "--micro_batch", "1", "--out", str(tmp_path / "two")]
    status, said = launched(tmp_path, ADAPTER, *two, "--stop-after", "0")
    assert "stopped at step 1 of 4" in said, said
    status, said = launched(tmp_path, ADAPTER, *two)
    assert "4 steps done" in said, said
    part, whole = (int(word) for word in said.split("spread ", 1)[1].split("\n")[0].split(" of "))
    assert whole / 2 <= part < whole / 2 + 4  # filled up to a round number

    assert main([*recipe, *loop, *look, "--out", str(tmp_path / "one")]) == 0
    exports = [load_file(tmp_path / n / "adapter/export/adapter.safetensors") for n in ("two", "one")]
    torch.testing.assert_close(*exports, rtol=1e-4, atol=1e-6)
    states = [newest(tmp_path / n / "adapter").optimizers[0]["state"] for n in ("two", "one")]
    torch.testing.assert_close(*states, rtol=1e-3, atol=1e-7)
    assert (
        main([*recipe, *loop, "--steps", "5", "--validate_every", "0", "--out", str(tmp_path / "two")]) == 0
    )


@pytest.mark.parametrize(
    "loop, said",
    [
        ({"optimizer": "muon"}, "--optimizer muon under DeepSpeed, .*: choose --optimizer adamw"),
        ({"optimizer": "prodigy", "learning_rate": 1.0}, "--optimizer prodigy under DeepSpeed"),
        ({"mixed_precision": "fp16"}, "--mixed_precision fp16 under DeepSpeed: choose bf16 or no"),
    ],
)
def test_what_deepspeed_cannot_do_is_refused_before_anything_is_lost(monkeypatch, loop, said):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match=said):
        Stepper(Line(LineConfig()), config(**loop).loop)


def plugin(**settings) -> DeepSpeedPlugin:
    return DeepSpeedPlugin(**{"zero_stage": 2, "zero3_init_flag": False, **settings})


@pytest.mark.parametrize(
    "plugin, said",
    [
        (plugin(zero_stage=3), "ZeRO stage 3: only stage 2 is supported; .*--config_file fsdp2"),
        (plugin(zero_stage=1), "ZeRO stage 1: only stage 2"),
        (plugin(offload_optimizer_device="cpu"), "offload_optimizer_device and offload_param_device to none"),
    ],
)
def test_other_stages_and_offloading_are_refused(plugin, said):
    accelerator = SimpleNamespace(distributed_type=DistributedType.DEEPSPEED, deepspeed_plugin=plugin)
    with pytest.raises(ValueError, match=said):
        zero.configure(accelerator, config().loop, 4, "no")


def test_the_engine_takes_our_batch_clipping_and_format():
    own = {"bf16": {"enabled": True}, "gradient_clipping": 9.0, "zero_optimization": {"stage": 2}}
    accelerator = SimpleNamespace(
        distributed_type=DistributedType.DEEPSPEED, deepspeed_plugin=plugin(hf_ds_config=own)
    )
    zero.configure(accelerator, config(clip_norm=0.7, batch_size=8).loop, 4, "bf16")
    found = accelerator.deepspeed_plugin.deepspeed_config
    assert (found["train_batch_size"], found["train_micro_batch_size_per_gpu"]) == (8, 4)
    assert (found["gradient_accumulation_steps"], found["gradient_clipping"]) == (1, 0.7)
    assert found["torch_autocast"]["dtype"] == "bfloat16"
    assert not found["bf16"]["enabled"]


def test_where_accelerate_or_deepspeed_is_missing_it_is_said(monkeypatch):
    alone = SimpleNamespace(distributed_type=DistributedType.MULTI_CPU)
    with pytest.raises(ValueError, match="on GPUs alone, and there are none: choose --processes N"):
        zero.configure(alone, config().loop, 4, "no")
    monkeypatch.setattr(launch, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"deepspeed is not installed; .*\[deepspeed\]"):
        launch.run(cli.parse(["train", "--launch", "--config_file deepspeed"]))
