"""How does a command get its pipeline: base, adapters, device and number format?"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.cli.options import add_model_options, device_and_dtype
from unicon.typed import named_place, positive

if TYPE_CHECKING:
    import torch

    from unicon.output import UniConOutput
    from unicon.pipeline import UniConPipeline

STABLE_DIFFUSION = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def add_run_options(parser: argparse.ArgumentParser, *, out: str, steps: int = 20) -> None:
    """The model options, and `--adapter` and `--steps`."""
    add_model_options(parser, out=out)
    parser.add_argument(
        "--adapter", action="append", default=[], metavar="[NAME=]FOLDER",
        help="load an adapter from a folder, or OWNER/NAME/FOLDER on the hub, beside those of the base or in "
        "the place of the one of its name; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive, default=steps, metavar="N",
        help=f"steps from pure noise to a clean picture (default {steps})",
    )  # fmt: skip


def add_style_option(parser: argparse.ArgumentParser) -> None:
    """`--style`, for commands that draw images."""
    parser.add_argument(
        "--style", action="append", default=[], metavar="[NAME=]FILE[,weight=N]",
        help="draw in a style (a LoRA file), all of it or N times; may be repeated",
    )  # fmt: skip


def condition_names(values: Sequence[str]) -> list[str]:
    """Names given as `--condition depth --condition edge` or `--condition depth,edge`, each once."""
    names = [name.strip() for value in values for name in value.split(",")]
    if not names or "" in names:
        raise ValueError(f"--condition {','.join(values)!r} names no condition; give one, such as depth")
    return list(dict.fromkeys(names))


def load_pipeline(args: argparse.Namespace, *, needs: Sequence[str] = ()) -> UniConPipeline:
    """The base of `--base`, its adapters, those of `--adapter` and the styles of `--style`, on the device,
    in the number format.

    Raises ValueError when the base cannot be loaded, or has no adapter for one of `needs`; before anything is
    loaded, where the files tell.
    """
    check_folder(Path(args.out))
    check_files(args, needs)
    device, dtype = device_and_dtype(args)
    pipe = _base(args.base, dtype)
    for text in args.adapter:
        name, folder = named_place(text)
        pipe.load_adapter(folder, name, replace=True)
    check_loaded(pipe.adapters, needs, base=args.base)
    for text in getattr(args, "style", ()):
        name, file, weight = _styled(text)
        pipe.load_style(file, name, weight=weight)
    for line in pipe.credits():
        print(f"style: {line}")
    return pipe.to(device)


def check_folder(out: Path) -> None:
    """ValueError where nothing can be written to `--out`, before anything is made for it."""
    place = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not place.is_dir():
        raise ValueError(f"--out {out}: {place} is a file; give a folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"--out {out}: nothing may be written to {place}; give another folder")


def _styled(text: str) -> tuple[str | None, str, float]:
    """Name, file and weight of a `--style`."""
    place, _, option = text.partition(",weight=")
    name, file = named_place(place)
    try:
        return name, file, float(option or 1)
    except ValueError:
        raise ValueError(
            f"--style {text}: weight {option!r} is no number; expected FILE,weight=0.5"
        ) from None


def style_file(text: str) -> str:
    """The file of a `--style`."""
    return _styled(text)[1]


def facts(pipe: UniConPipeline, args: argparse.Namespace, seed: int) -> dict[str, str]:
    """What a picture's file says about how it was made, with the credits of its styles."""
    styles = "\n".join(pipe.credits())
    made = {"prompt": args.prompt, "seed": str(seed), "base": stated_base(pipe, args.base)}
    return made | ({"styles": styles} if styles else {})


def stated_base(pipe: UniConPipeline, name: str) -> str:
    """What a result says of its base: OWNER/NAME@COMMIT of one from the hub, else its name alone."""
    from unicon.sources import named, split_config

    if Path(split_config(name)[0]).exists() or not pipe.commit:
        return named(name)
    return f"{name.partition('@')[0]}@{pipe.commit}"


def check_files(args: argparse.Namespace, needs: Sequence[str]) -> None:
    """ValueError for a base, an adapter or a style that is none by its files, and for a base on this machine
    without an adapter for one of `needs`."""
    from unicon.sources import adapter_name, find_style, saved_with

    folder = base_folder(args.base)
    if folder is not None and not (folder / "model_index.json").exists():
        raise ValueError(
            f"--base {args.base}: the folder holds no model_index.json; name a pipeline's own folder"
        )
    given = [adapter_name(text) for text in args.adapter]
    for text in getattr(args, "style", ()):
        find_style(style_file(text))
    if folder is not None:
        check_loaded([*saved_with(str(folder)).adapters, *given], needs, base=args.base)


def check_loaded(adapters: Collection[str], needs: Sequence[str], *, base: str) -> None:
    """ValueError naming the first condition in `needs` that none of the adapters answers to."""
    for name in needs:
        if name not in adapters:
            raise ValueError(
                f"condition {name!r}: {base} has no adapter of that name, only "
                f"{', '.join(adapters) or 'none'}; load one with --adapter {name}=FOLDER"
            )


def _base(name: str, dtype: torch.dtype) -> UniConPipeline:
    from unicon.pipeline import UniConPipeline

    _hide_loading_bars()
    return UniConPipeline.from_pretrained(name, dtype=dtype)


def _hide_loading_bars() -> None:
    """A bar per component hides what the command itself reports."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    of_diffusers.disable_progress_bar()
    of_transformers.disable_progress_bar()


def own_size_px(pipe: UniConPipeline) -> int:
    """The side of the pictures the base was trained on."""
    from unicon.bases import base_size

    return base_size(pipe.unet, pipe.vae).own_px


def generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One source of noise per sample, so that a picture does not depend on the batch it was made in."""
    import torch

    return [torch.Generator().manual_seed(seed) for seed in seeds]


def output_of(result: Any) -> UniConOutput:
    """The pipeline's result, which its signature types as an output or a tuple."""
    from unicon.output import UniConOutput

    assert isinstance(result, UniConOutput)
    return result


def base_folder(name: str) -> Path | None:
    """Where the base lies on this machine; None for one from the hub or in a single file."""
    from unicon.sources import find_base

    place = Path(find_base(name))
    return place if place.is_dir() else None
