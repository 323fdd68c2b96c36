"""How does a test run Python in a process of its own, away from what pytest has loaded?"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]

FORKING = multiprocessing.get_context("forkserver")
"""Starts processes as forks of one that has imported what follows and has done nothing else: the imports cost
8 s of a processor, most runs here a second or two. Nothing that starts threads is among them, as `datasets`
does: a fork has them no more."""
FORKING.set_forkserver_preload(["unicon.pipeline", "train.recipes", "train.stages", "train.loop"])


def python(code: str, *arguments: str, folder: Path = ROOT, path: Path = ROOT) -> str:
    """The output of `python -c code`, run in `folder` with `path` on its import path; fails if it fails."""
    done = run_python(code, *arguments, folder=folder, path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_python(
    code: str, *arguments: str, folder: Path = ROOT, path: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """`python -c code` as a finished process. The current folder comes before `path`, as for a user."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


class Forked:
    """A process of its own that runs a program as `__main__`, with what tests use of `subprocess.Popen`."""

    def __init__(
        self, program: str, arguments: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ):
        """`program` is a module or a path that ends in `.py`; what the process says is added to `log`."""
        given = (program, list(arguments), str(log), dict(environment or {}))
        self.process = FORKING.Process(target=_run, args=given)
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float = 600) -> int:
        """The exit code; a process that has none after `timeout` seconds is killed: TimeoutError."""
        self.process.join(timeout)
        code = self.process.exitcode
        if code is None:
            self.kill()
            raise TimeoutError(f"{self.process.name} has not ended after {timeout:g} s")
        return code


def _run(program: str, arguments: list[str], log: str, environment: dict[str, str]) -> None:
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(environment)
    if "OMP_NUM_THREADS" in environment:  # torch has read it already
        import torch

        torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    try:
        if program.endswith(".py"):
            sys.argv = [program, *arguments]
            sys.path.insert(0, str(Path(program).parent))
            runpy.run_path(program, run_name="__main__")
        else:
            sys.argv[1:] = arguments
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out


def launched(program: Path, arguments: Sequence[str], options: Sequence[str], log: Path) -> list[int]:
    """The exit codes of the processes that `accelerate launch OPTIONS program` would start.

    accelerate reads the options and says what is in their environment, and torch connects them, all as ever.
    What is left out is the launcher, which the tests of `--processes 2` start.
    """
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    from unicon.cli import launch

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    read = launch_command_parser().parse_args([*options, "--main_process_port", port, str(program)])
    args = _validate_launch_command(read)[0]
    assert args.multi_gpu
    with mock.patch.dict(os.environ, launch.environment()):
        environment = prepare_multi_gpu_env(args)
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for size in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        environment[size] = str(args.num_processes)
    ranks = [{"RANK": str(number), "LOCAL_RANK": str(number)} for number in range(args.num_processes)]
    started = [Forked(str(program), arguments, log, environment | rank) for rank in ranks]
    try:
        return [process.wait() for process in started]
    finally:
        for process in started:
            process.kill()
