"""Do `unicon train` and `unicon eval` run our programs, whatever lies in the current folder?"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from subprocess import CalledProcessError
from unittest import mock

import pytest
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from tests.programs import ROOT, python
from unicon.cli import launch, launcher
from unicon.cli import main as cli
from unicon.cli.ours import found_first, ours

UNICON = "from unicon.cli.main import main; raise SystemExit(main())"


@pytest.fixture
def decoys(tmp_path):
    """A folder in which every name of ours is taken."""
    for name in ("train", "eval", "adapters"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('decoy')")
    return tmp_path


@pytest.mark.parametrize("package", ["train", "eval"])
def test_a_decoy_in_the_current_folder_does_not_win(decoys, package):
    assert f"usage: unicon {package}" in python(UNICON, package, "--help", folder=decoys)


@pytest.mark.slow
def test_a_decoy_does_not_win_in_launched_processes(decoys):
    # A command that fails would not do: the launcher ends the others as soon as one has failed.
    said = python(UNICON, "eval", "--processes", "2", "text", "--help", folder=decoys)
    assert said.count("usage: unicon eval text") == 2


def test_a_foreign_package_that_is_already_loaded_is_refused(tmp_path, monkeypatch):
    (tmp_path / "json_decoy.py").write_text("")
    monkeypatch.setitem(sys.modules, "train", __import__("json"))
    with pytest.raises(ValueError, match="the package 'train' was loaded from .*json.*run `unicon doctor`"):
        ours("train")


def test_found_first_follows_the_order_of_the_path(decoys):
    assert found_first("train", [str(decoys), str(ROOT)]) == decoys / "train.py"
    assert found_first("train", [str(ROOT), str(decoys)]) == ROOT / "train" / "__init__.py"
    assert found_first("train", []) is None


def test_unknown_arguments_go_on_to_the_program(monkeypatch):
    monkeypatch.setattr(launch, "ours", lambda name: Program(name))
    assert cli.main(["train", "tiny", "--steps", "5", "--debug"]) == 0
    assert Program.called == ("train.__main__", ["tiny", "--steps", "5"])


class Program:
    """Stands where `train.__main__` does and keeps what it was called with."""

    called = None

    def __init__(self, name):
        self.name = name

    def main(self, arguments):
        Program.called = (self.name, arguments)


def test_several_processes_are_started_by_accelerate():
    args = cli.parse(["eval", "--processes", "3", "depth"])
    words = launch.command("eval", args.rest, launch.launch_options(args))
    assert words[:2] == [sys.executable, launcher.__file__]
    assert words[-2:] == ["eval", "depth"]
    assert words[words.index("--num_processes") + 1] == "3"


def ended(*statuses):
    """What torch raises of processes that ended so."""
    failures = [ProcessFailure(rank, 0, status, "<N/A>") for rank, status in enumerate(statuses)]
    return ChildFailedError("unicon", dict(enumerate(failures)))


@pytest.mark.parametrize(
    "error, status",
    [
        (ended(2, -15), 2), (ended(1, 1), 1), (CalledProcessError(2, "unicon"), 2),
        (ended(-9, -15), None), (ended(-15), None), (ended(1, -11), None), (ended(3, 3), 3), (ended(4), None),
        (CalledProcessError(-9, "unicon"), None),
    ],
)  # fmt: skip
def test_the_launcher_is_silent_where_processes_have_told_their_error_themselves(monkeypatch, error, status):
    monkeypatch.setattr("accelerate.commands.launch.main", mock.Mock(side_effect=error))
    with nullcontext() if status else pytest.raises(type(error)):
        assert launcher.main() == status


def test_own_launch_options_replace_ours():
    args = cli.parse(["train", "--launch", "--config_file 'a b.yaml'", "depth"])
    assert launch.launch_options(args) == ["--config_file", "a b.yaml"]


def test_no_process_is_refused(capsys):
    assert cli.main(["train", "--processes", "0"]) == 2
    assert "--processes must be at least 1, got 0" in capsys.readouterr().err
