"""Do `unicon train` and `unicon eval` run our programs, whatever lies in the current folder?"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import nullcontext
from subprocess import CalledProcessError
from unittest import mock

import pytest
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher.api import LaunchConfig

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


# --- signals ----------------------------------------------------------------------------------------------

SAVES = """
import signal, sys, time
from pathlib import Path
ready, saved = map(Path, sys.argv[1:])
def save(number, frame):
    time.sleep(0.2)  # longer than the one who asked needs to look whether we have ended
    saved.write_text(signal.Signals(number).name)
    sys.exit(3)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, signal.SIG_IGN)
ready.touch()
time.sleep(60)
"""


@pytest.fixture
def saving(tmp_path):
    """A program that saves when it is asked to stop, as words; where it does, and a thread to ask us in."""
    ready, saved = tmp_path / "ready", tmp_path / "saved"

    def ask(*signals):
        def send():
            deadline = time.monotonic() + 60
            while not ready.exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            for number in signals:
                os.kill(os.getpid(), number)
                time.sleep(0.1)

        thread = threading.Thread(target=send)
        thread.start()
        return thread

    return [sys.executable, "-c", SAVES, str(ready), str(saved)], saved, ask


@pytest.mark.parametrize(
    "signals",
    [[signal.SIGTERM], [signal.SIGINT, signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]],
    ids=["term", "interrupt-term", "term-term"],
)
def test_a_request_to_stop_goes_on_to_the_launcher_which_may_save(saving, signals):
    """A second one changes nothing; an interrupt reaches it by itself, and is not the end of waiting."""
    words, saved, ask = saving
    before = signal.getsignal(signal.SIGTERM)
    thread = ask(*signals)
    assert launch.wait_for(words, dict(os.environ)) == 3
    thread.join()
    assert saved.read_text() == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_launchers_status_is_ours(tmp_path):
    assert launch.wait_for([sys.executable, "-c", "raise SystemExit(5)"], dict(os.environ)) == 5


def test_processes_that_were_asked_to_stop_have_time_to_save(monkeypatch):
    monkeypatch.delenv(launch.SHUTDOWN_TIMEOUT, raising=False)
    monkeypatch.setattr(launch, "num_accelerators", lambda: 0)
    assert launch.environment(2)[launch.SHUTDOWN_TIMEOUT] == "600"
    monkeypatch.setattr(launch, "num_accelerators", lambda: 2)
    assert launch.environment(2)[launch.SHUTDOWN_TIMEOUT] == "600"
    monkeypatch.setenv(launch.SHUTDOWN_TIMEOUT, "7")
    assert launch.environment(2)[launch.SHUTDOWN_TIMEOUT] == "7"


@pytest.mark.skipif(not hasattr(LaunchConfig, "shutdown_timeout"), reason="this torch always waits for 30 s")
def test_torch_heeds_it(monkeypatch):
    monkeypatch.setenv(launch.SHUTDOWN_TIMEOUT, str(launch.SECONDS_TO_SAVE))
    assert LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=1).shutdown_timeout == 600


# --- accelerators -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, num", [(None, 0), ("cuda", 4), ("xpu", 4), ("mps", 0)])
def test_accelerators_that_can_work_together_are_counted(monkeypatch, kind, num):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind or "cpu"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 4)
    assert launch.num_accelerators() == num


def test_more_processes_than_accelerators_are_refused(monkeypatch, capsys):
    monkeypatch.setattr(launch, "num_accelerators", lambda: 2)
    assert cli.main(["train", "--processes", "3", "depth"]) == 2
    assert "--processes 3, but this machine has 2 accelerator(s)" in capsys.readouterr().err


@pytest.mark.parametrize("num_accelerators, num, on_cpus", [(0, 2, True), (2, 2, False), (4, None, False)])
def test_processes_without_accelerators_are_told_and_share_the_cores(
    monkeypatch, num_accelerators, num, on_cpus
):
    for name in ("ACCELERATE_USE_CPU", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launch, "num_accelerators", lambda: num_accelerators)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    found = launch.environment(num)
    assert found.get("ACCELERATE_USE_CPU") == ("true" if on_cpus else None)
    assert found.get("OMP_NUM_THREADS") == ("4" if on_cpus else None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert launch.environment(num)["OMP_NUM_THREADS"] == "3"
