"""How do `unicon train` and `unicon eval` start our programs, in one process or many?

The programs are `main(arguments)` of `train/__main__.py` and `eval/__main__.py`, found by path: a `train.py`
in the current folder cannot win, as it would under `python -m train`. Their options are their own.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from unicon.cli import launcher, runner
from unicon.cli.ours import ROOT, ours
from unicon.extras import MissingExtra, install_command

CONFIGS = ROOT / "train" / "configs"
"""Config files of `accelerate launch` for the usual machines."""

SHUTDOWN_TIMEOUT = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
"""How many seconds torch's launcher waits for processes that were asked to stop, before it kills them."""
SECONDS_TO_SAVE = 600
"""A step, a look at held-out pairs and a checkpoint may take minutes. By itself torch waits for 30 s, and
older versions of it do so whatever is set."""

EXAMPLE = """%(prog)s --help
  %(prog)s NAME --processes 2
  %(prog)s NAME --launch="--config_file fsdp2"
"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [--processes N | --launch=OPTIONS] [--debug] ..."
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--processes", type=int, default=1, metavar="N", help="processes on this machine (default 1)"
    )
    how.add_argument("--launch", metavar="OPTIONS", help="start through `accelerate launch OPTIONS`")
    parser.set_defaults(help_text=parser.format_help)


def run(args: argparse.Namespace) -> int | None:
    if args.processes < 1:
        raise ValueError(f"--processes must be at least 1, got {args.processes}")
    if args.rest[:1] in (["-h"], ["--help"]):
        print(args.help_text(), "\nAll other arguments go to the program itself:\n", sep="")
    elif args.processes > 1 or args.launch is not None:
        options = launch_options(args)
        if str(CONFIGS / "deepspeed.yaml") in options and find_spec("deepspeed") is None:
            raise MissingExtra(f"deepspeed is not installed; install it with: {install_command('deepspeed')}")
        num = None if args.launch is not None else args.processes
        if num is not None and 0 < num_accelerators() < num:
            raise ValueError(
                f"--processes {num}, but this machine has {num_accelerators()} accelerator(s), one for each: "
                "start fewer, or hide them to use processors (CUDA_VISIBLE_DEVICES=)"
            )
        return wait_for(command(args.command, args.rest, options), environment(num))
    return ours(f"{args.command}.__main__").main(args.rest)


def launch_options(args: argparse.Namespace) -> list[str]:
    """The options of `accelerate launch`: the user's own, or those for several processes on this machine."""
    if args.launch is not None:
        return named_config(shlex.split(args.launch))
    return [
        "--multi_gpu", "--num_processes", str(args.processes), "--num_machines", "1",
        "--mixed_precision", "no", "--dynamo_backend", "no",
    ]  # fmt: skip


def named_config(options: list[str]) -> list[str]:
    """The options, with the name of one of our config files (`fsdp2`) as its path.

    Raises ValueError for a name that is none of ours.
    """
    if "--config_file" not in options[:-1]:
        return options
    place = options.index("--config_file") + 1
    if not Path(options[place]).suffix and not Path(options[place]).is_file():
        known = {path.stem: str(path) for path in sorted(CONFIGS.glob("*.yaml"))}
        if options[place] not in known:
            raise ValueError(
                f"--config_file {options[place]}: no such file; give one that `accelerate config` wrote, or "
                f"one of ours: {', '.join(known)}"
            )
        options[place] = known[options[place]]
    return options


def command(package: str, arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """The command line that starts `package` under accelerate with this very Python."""
    accelerate = [sys.executable, str(launcher.__file__), *options]
    return [*accelerate, str(runner.__file__), package, *arguments]


def wait_for(words: Sequence[str], environment: dict[str, str]) -> int:
    """Run the launcher and return its exit code. A request to stop goes on to it (an interrupt does so by
    itself), and its processes may save and end."""
    with subprocess.Popen(words, env=environment) as process:
        before = signal.signal(signal.SIGTERM, lambda number, _: process.send_signal(number))
        try:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:
                    continue
        finally:
            signal.signal(signal.SIGTERM, before)


def num_accelerators() -> int:
    """How many there are that processes can work on together; Apple's is none of them."""
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return 0 if found is None or found.type == "mps" else torch.accelerator.device_count()


def environment(num: int | None = None) -> dict[str, str]:
    """Ours, for `num` processes of this machine (None: as the user's own options say).

    Where they cannot have an accelerator each, accelerate is told that they are to find each other without:
    `accelerate launch --multi_gpu` would start unconnected copies. They share the cores, of which accelerate
    would give them one each.

    Processes that were asked to stop have time to save. What the user has set goes before ours.
    """
    ours = {SHUTDOWN_TIMEOUT: str(SECONDS_TO_SAVE)}
    if num_accelerators() >= (num or 1):
        return {**ours, **os.environ}
    threads = {} if num is None else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // num))}
    return {**ours, **threads, **os.environ, "ACCELERATE_USE_CPU": "true"}
