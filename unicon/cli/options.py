"""Which options mean the same in every subcommand that runs a model or writes files?

A command takes them with `add_output_options` or `add_model_options`, and reads the checked values back
with `device_and_dtype`.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")


def add_output_options(parser: argparse.ArgumentParser, *, out: str) -> None:
    """`--out` (default `out`) and `--seed`."""
    parser.add_argument("--out", default=out, metavar="DIR", help=f"folder to write (default {out})")
    parser.add_argument("--seed", type=seed, default=0, help="every random number comes from it (default 0)")


def add_model_options(parser: argparse.ArgumentParser, *, out: str) -> None:
    """The output options, and `--base`, `--device`, `--dtype`."""
    add_output_options(parser, out=out)
    parser.add_argument(
        "--base", default="mini",
        help="the frozen model: mini, a folder, a checkpoint's FILE[,config=FOLDER of a base like it], or "
        "OWNER/NAME[@REVISION] on the hub (default mini)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    parser.add_argument(
        "--dtype", default="auto", choices=DTYPES, help="auto times this machine and takes the fastest"
    )


def seed(text: str) -> int:
    """A seed from the command line: a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0, got {text!r}")
    return int(text)


def device_and_dtype(args: argparse.Namespace) -> tuple[torch.device, torch.dtype]:
    """What `--device` and `--dtype` come to on this machine. ValueError for a device it does not have."""
    import torch

    from unicon.devices import pick_device, pick_dtype

    device = pick_device(args.device)
    return device, pick_dtype(device) if args.dtype == "auto" else getattr(torch, args.dtype)
