"""How do `unicon train` and `unicon eval` start our programs, in one process or many?

The programs are `main(arguments)` of `train/__main__.py` and `eval/__main__.py`, found by path: a `train.py`
in the current folder cannot win, as it would under `python -m train`. Their options are their own.
"""

from __future__ import annotations

import argparse
import os
import shlex
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
        return subprocess.call(command(args.command, args.rest, options), env=environment())
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


def environment() -> dict[str, str]:
    """Ours, and the word to accelerate that processes without an accelerator are to find each other.

    Without it `accelerate launch --multi_gpu` starts unconnected copies on a machine without one.
    """
    import torch

    if torch.accelerator.is_available():
        return dict(os.environ)
    return {**os.environ, "ACCELERATE_USE_CPU": "true"}
