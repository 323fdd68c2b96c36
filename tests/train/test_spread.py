"""Does a run whose weights are spread over processes learn and keep what one process does?

accelerate takes FSDP for accelerators alone, so the program below tells its state that this is one; from
there on everything is accelerate's and torch's own, over gloo.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.utils import DistributedType
from safetensors.torch import load_file

from tests.programs import launched
from tests.tiny_base import save_tiny_base
from tests.train.own_pairs import picture
from train.checkpoint import read_checkpoint, whole_checkpoints
from train.command import main
from unicon.cli import launch
from unicon.cli import main as cli

PROGRAM = """
import sys
from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
import train.stepping, train.command
import torch
from torch.distributed.tensor import DTensor

class Spread(Accelerator):
    def __init__(self, **settings):
        super().__init__(**settings)
        state = AcceleratorState()
        state.distributed_type = DistributedType.FSDP
        state.fsdp_plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="transformer_based_wrap",
            transformer_cls_names_to_wrap=["BasicTransformerBlock"], cpu_ram_efficient_loading=False,
        )

train.stepping.Accelerator = Spread
made = train.stepping.Stepper.__init__
def init(self, objective, *more, **settings):
    made(self, objective, *more, **settings)
    spread = [p for p in objective.parameters() if isinstance(p, DTensor)]
    print("spread", len(spread), "of", len(list(objective.parameters())), flush=True)
train.stepping.Stepper.__init__ = init
sys.exit(train.command.main(sys.argv[1:]))
"""


@pytest.fixture
def recipe(tmp_path) -> list[str]:
    """A command without --out, and beside it the program that spreads what it trains."""
    base = save_tiny_base(tmp_path / "tiny", {})
    for name, seed in (("image", 0), ("depth", 100)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(20):
            picture(seed + i, (40, 40)).save(tmp_path / "data" / name / f"{i:02}.png")
    (tmp_path / "program.py").write_text(PROGRAM)
    data = ["--data", str(tmp_path / "data"), "--condition", "depth", "--base", str(base)]
    return ["adapter", *data, "--batch_size", "4", "--learning_rate", "0.01", "--rank", "2"]


def spread(tmp_path: Path, command: Sequence[str], *more: str) -> tuple[list[int], str]:
    """Exit codes of two processes that share the weights, and what they said."""
    options = launch.launch_options(cli.parse(["train", "--launch", "--config_file cpu"]))
    log, out = tmp_path / f"{len(more)}.log", ["--out", str(tmp_path / "two")]
    codes = launched(tmp_path / "program.py", [*command, *out, *more], options, log)
    return codes, log.read_text()


def exports(tmp_path: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What two processes and what one made."""
    two, one = (load_file(tmp_path / n / "adapter/export/adapter.safetensors") for n in ("two", "one"))
    assert two.keys() == one.keys()
    return two, one


@pytest.mark.slow
def test_an_adapter_from_spread_weights_is_that_of_one_process(tmp_path, recipe):
    """Validated on the way, stopped, continued spread, and by one process from there."""
    recipe = [*recipe, "--mixed_precision", "no"]
    look = ["--validate_every", "2", "--validation_steps", "1", "--checkpoint_every", "1", "--steps", "4"]
    codes, said = spread(tmp_path, [*recipe, *look], "--stop-after", "0")
    assert codes == [3, 3], said
    assert "stopped at step 1 of 4" in said
    codes, said = spread(tmp_path, [*recipe, *look])
    assert codes == [0, 0], said
    assert "4 steps done" in said
    assert said.count("spread ") == 2
    assert main([*recipe, *look, "--out", str(tmp_path / "one")]) == 0
    two, one = exports(tmp_path)
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6)
    states = [
        read_checkpoint(whole_checkpoints(tmp_path / n / "adapter/checkpoints")[-1][1])
        for n in ("two", "one")
    ]
    for number, state in states[1].optimizers[0]["state"].items():
        found = states[0].optimizers[0]["state"][number]
        torch.testing.assert_close(found["exp_avg"], state["exp_avg"], rtol=1e-3, atol=1e-7)
    assert main([*recipe, "--steps", "5", "--validate_every", "0", "--out", str(tmp_path / "two")]) == 0


@pytest.mark.slow
def test_spread_weights_in_bfloat16_are_exported_in_float32(tmp_path, recipe):
    """Autocast computes in bfloat16; nothing that is kept is rounded to it."""
    recipe = [*recipe, "--mixed_precision", "bf16", "--validate_every", "0", "--steps", "4"]
    codes, said = spread(tmp_path, recipe)
    assert codes == [0, 0], said
    # In bfloat16 another batch rounds otherwise: one process takes as many at once as each of the two.
    assert main([*recipe, "--micro_batch", "2", "--out", str(tmp_path / "one")]) == 0
    two, one = exports(tmp_path)
    for name in one:
        assert two[name].dtype == torch.float32
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5)
    assert any(not torch.equal(two[n], two[n].bfloat16().float()) for n in two)


CONFIGS = sorted(launch.CONFIGS.glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_files_are_accelerates(path):
    read = load_config_from_file(str(path))
    assert isinstance(read, ClusterConfig)
    given = yaml.safe_load(path.read_text())
    assert {name: read.to_dict()[name] for name in given} == given
    assert read.distributed_type == DistributedType(given["distributed_type"])
    options = launch.launch_options(cli.parse(["train", "--launch", f"--config_file {path.stem}"]))
    assert options == ["--config_file", str(path)]


def test_what_each_config_file_starts():
    kinds = {path.stem: yaml.safe_load(path.read_text()) for path in CONFIGS}
    assert set(kinds) == {"cpu", "ddp", "deepspeed", "fsdp2", "multi_node"}
    assert kinds["fsdp2"]["fsdp_config"]["fsdp_version"] == 2
    assert kinds["multi_node"]["num_machines"] > 1
    known = "cpu, ddp, deepspeed, fsdp2, multi_node"
    with pytest.raises(ValueError, match=f"--config_file fsdp: no such file; .*: {known}"):
        launch.launch_options(cli.parse(["train", "--launch", "--config_file fsdp"]))
