"""Which arguments do all measurements share, and how do they become a pipeline?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from unicon.devices import pick_device, pick_dtype
from unicon.processes import share
from unicon.sources import adapter_name, saved_adapters
from unicon.typed import named_place, positive, temperature

if TYPE_CHECKING:
    from unicon.pipeline import UniConPipeline

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def add_run_arguments(top: argparse.ArgumentParser, *, steps: int) -> None:
    """--steps, --batch-size, --device, --dtype, --out."""
    top.add_argument(
        "--steps", type=positive, default=steps, metavar="N", help=f"denoising steps (default {steps})"
    )
    add_machine_arguments(top)
    add_dtype_argument(top)


def add_dtype_argument(top: argparse.ArgumentParser) -> None:
    """--dtype of the base."""
    top.add_argument(
        "--dtype", choices=["auto", *DTYPES], default="float32",
        help="auto: the fastest here (default float32)",
    )  # fmt: skip


def add_temperature_argument(top: argparse.ArgumentParser) -> None:
    """--temperature of estimates."""
    top.add_argument(
        "--temperature", type=temperature, default=1.0, metavar="T",
        help="of estimates: 1 samples (default), lower comes nearer their mean",
    )  # fmt: skip


def add_judge_argument(top: argparse.ArgumentParser, *, judge: str) -> None:
    """--judge, by default `judge`."""
    top.add_argument(
        "--judge", default=judge, metavar="READER",
        help="reads maps from generated pictures: mini (the small network that ships), base (the base "
        f"itself), or a folder of a judge, a regressor or another base (default {judge})",
    )  # fmt: skip


def add_reader_arguments(top: argparse.ArgumentParser, *, judge: str) -> None:
    """--judge, by default `judge`, and --regressor."""
    add_judge_argument(top, judge=judge)
    top.add_argument(
        "--regressor", metavar="READER",
        help="an exported regressor, or another of what --judge takes, measured beside the adapters",
    )  # fmt: skip


def add_machine_arguments(top: argparse.ArgumentParser, *, folder: str | None = None) -> None:
    """--batch-size, --device, --out: a file of results, or with `folder` one to write, by default that."""
    top.add_argument(
        "--batch-size", type=positive, default=16, metavar="N", help="samples per call (default 16)"
    )
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    if folder is None:
        top.add_argument("--out", metavar="FILE", help="append the results to this file of JSON lines")
    else:
        top.add_argument("--out", default=folder, metavar="DIR", help=f"folder to write (default {folder})")


def load_pipeline(
    base: str, device: str, dtype: str, conditions: Sequence[str], adapters: Sequence[str] = ()
) -> UniConPipeline:
    """The base, silent and in evaluation, with its adapters for `conditions` and no others; ValueError when
    one is missing, before anything is loaded.

    `adapters` are loaded beside them, [NAME=]FOLDER, and take the place of one of their name.
    """
    from unicon.pipeline import UniConPipeline  # measures of files take options alone

    place = pick_device(device)
    # Several processes take the first one's: near the limit each might find another.
    chosen = share().gathered([pick_dtype(place)])[0] if dtype == "auto" else DTYPES[dtype]
    given = [adapter_name(text) for text in adapters]
    needed = [name for name in dict.fromkeys(conditions) if name not in given]
    own = saved_adapters(base, needed)
    if missing := [name for name in needed if name not in own]:
        raise ValueError(
            f"base {base} has no adapter {', '.join(missing)}, only {', '.join([*own, *given]) or 'none'}: "
            "choose other --conditions, give an adapter's folder with --adapter where there is that "
            "option, or save the adapter below adapters/ in its folder"
        )
    pipe = UniConPipeline.from_pretrained(base, adapters=needed, dtype=chosen)
    for text, name in zip(adapters, given, strict=True):
        pipe.load_adapter(named_place(text)[1], name, replace=True)
    pipe = pipe.to(place)
    pipe.set_progress_bar_config(disable=True)
    return pipe
