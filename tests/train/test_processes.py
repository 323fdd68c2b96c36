"""Do two processes follow the trajectory of one, and leave a run together?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.programs import launched
from tests.tiny_base import save_tiny_base
from tests.train.line import config, train
from tests.train.own_pairs import picture
from train.checkpoint import read_checkpoint, whole_checkpoints
from train.command import main
from unicon.cli import launch, runner
from unicon.cli import main as cli

PROGRAM = """
import sys
from pathlib import Path
from tests.train.line import config, Line, LineConfig
from train.loop import fit
from train.stages import processes

state = processes()
# The second process alone is out of time at once: both must stop, or they wait for each other for ever.
seconds = 0.0 if state.process_index == 1 and sys.argv[2] == "pause" else float("inf")
done = fit(Line(LineConfig()), config(), Path(sys.argv[1]), stop_after=seconds)
print(f"process {state.process_index} done {done}")
"""


def two(program: Path, arguments: list[str], log: Path) -> str:
    options = launch.launch_options(cli.parse(["train", "--processes", "2"]))
    codes = launched(program, arguments, options, log)
    assert codes == [0, 0], log.read_text()
    return log.read_text()


def run_two(folder, mode: str) -> str:
    (folder / "program.py").write_text(PROGRAM)
    return two(folder / "program.py", [str(folder / "run"), mode], folder / f"{mode}.log")


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    assert run_two(tmp_path, "pause").count("done False") == 2
    assert [step for step, _ in whole_checkpoints(tmp_path / "run" / "checkpoints")] == [1]
    assert run_two(tmp_path, "whole").count("done True") == 2
    assert (tmp_path / "run" / "export" / "layer.pt").exists()
    found = read_checkpoint(whole_checkpoints(tmp_path / "run" / "checkpoints")[-1][1]).trained
    one = train(tmp_path / "one", config())
    for name in one:
        torch.testing.assert_close(found[name], one[name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_the_number_of_processes_may_change_on_the_way(tmp_path):
    """One, two, one."""
    for _ in range(4):
        train(tmp_path / "run", config(), seconds=0.0)
    assert run_two(tmp_path, "pause").count("done False") == 2
    found = train(tmp_path / "run", config())
    one = train(tmp_path / "one", config())
    for name in one:
        torch.testing.assert_close(found[name], one[name], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_an_adapter_from_two_processes_is_that_of_one(tmp_path):
    """With a cache that both fill, and pairs of two sizes."""
    base = save_tiny_base(tmp_path / "tiny", {})
    for name, seed in (("image", 0), ("depth", 100)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(6):
            picture(seed + i, (96, 64) if i < 3 else (64, 64)).save(tmp_path / "data" / name / f"{i}.png")
    recipe = ["adapter", "--data", str(tmp_path / "data"), "--condition", "depth", "--base", str(base)]
    loop = ["--steps", "4", "--batch_size", "4", "--learning_rate", "0.01", "--mixed_precision", "no"]
    arguments = ["train", *recipe, *loop, "--out", str(tmp_path / "two")]
    two(Path(runner.__file__), arguments, tmp_path / "two.log")
    assert main([*recipe, *loop, "--out", str(tmp_path / "one")]) == 0
    found, one = (load_file(tmp_path / n / "adapter/export/adapter.safetensors") for n in ("two", "one"))
    assert found.keys() == one.keys()
    for name in one:
        torch.testing.assert_close(found[name], one[name], rtol=1e-4, atol=1e-6)
