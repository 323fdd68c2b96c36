"""How is a recipe run from the command line?

`unicon train mini-fast --out runs/mini` is `accelerate launch -m train ...`. Running it again continues.
`unicon train --help` lists the recipes, `unicon train RECIPE --help` a recipe's stages or fields.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path

from unicon.extras import quiet_about_torchvision

RECIPES = {
    "adapter": "an adapter for a condition, from your own pairs (docs/training.md)",
    "photos": "mini's UNet trained on with labelled photographs (docs/real_data.md)",
    "photo-depth": "the same, its features asked for the depth of photographs, too",
    "style": "a style from a few pictures (docs/style.md)",
    "upscaler": "an adapter that enlarges, from pictures alone (docs/unclip.md)",
    "decoder": "a decoder adapter: pictures like another one (docs/unclip.md)",
    "prior": "a prior: what a picture of a text could show (docs/unclip.md)",
    "prior-ar": "the autoregressive one",
    "peers": "specialised models to compare one adapter with (docs/comparison.md)",
    "mini-fast": "the whole mini family from nothing, on two cores (docs/mini.md)",
    "mini": "the same with photographs, and for longer",
    "mini-again": "mini's own adapters trained on, with scenes that its base has not seen",
}
"""Name -> one line of help. Here, and not in `train.recipes`, so that help waits for no library."""


def main(argv: list[str] | None = None) -> int:
    """Parse, run the stages in order, return the exit status (0 complete, 3 paused)."""
    quiet_about_torchvision()
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    try:
        if args.help:
            print(help_text(args.recipe))
            return 0
        if args.recipe is None:
            raise ValueError("name a recipe; unicon train --help lists them")
        return _run(args, _assignments(rest))
    except (ValueError, OSError) as error:
        print(f"unicon train: {error}", *_notes(error), sep="\n", file=sys.stderr)
        return 2
    except Exception as error:
        from train.going_on import OUT_OF_MEMORY, is_out_of_memory

        if is_out_of_memory(error):
            print(f"unicon train: {error}", OUT_OF_MEMORY, *_notes(error), sep="\n", file=sys.stderr)
            return 2
        if sys.version_info < (3, 11):  # later ones show notes behind the traceback
            print(*_notes(error), sep="\n", file=sys.stderr)
        raise


def _notes(error: Exception) -> list[str]:
    """How a training that was stopped goes on (`train.going_on`)."""
    return list(getattr(error, "__notes__", ()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unicon train",
        usage="unicon train RECIPE[/STAGE] [options] [--field value ...]",
        description="Train a recipe; the same command continues it.",
        epilog="example: unicon train mini-fast --out runs/mini-fast\n"
        "         unicon train mini-fast/unet --out runs/mini-fast --steps 20000\n"
        "         unicon train adapter --data my_pairs --condition depth --rank 32 --dry-run",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="one of those below, or RECIPE/STAGE")
    parser.add_argument(
        "-h", "--help", action="store_true", help="this; behind a recipe, also its stages or fields"
    )
    parser.add_argument("--out", type=Path, default=None, help="folder of the family (default runs/FAMILY)")
    parser.add_argument("--as", dest="name", help="store the stage under another name (for comparisons)")
    parser.add_argument(
        "--photos", help="parquet file or folder with labelled photographs, for recipes that use them"
    )
    parser.add_argument("--pairs", help="pairs of photographs and maps, for recipes that use them")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes that render scenes")
    parser.add_argument("--config", type=Path, help="YAML or JSON file with fields; the command line wins")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="a few real steps of one training stage: what is trained, memory, speed, time; nothing is kept",
    )
    parser.add_argument(
        "--stop-after", type=float, default=math.inf, metavar="MINUTES", help="pause a stage after this long"
    )
    return parser


def help_text(recipe: str | None) -> str:
    """The options, and the recipes, or one recipe's stages or fields. ValueError for an unknown recipe."""
    parser = _parser()
    if recipe is None:
        parser.epilog = f"recipes:\n{_listed(RECIPES)}\n\n{parser.epilog}"
        return parser.format_help()
    from train.config import RunConfig
    from train.field_help import add_fields
    from train.recipes import stages_of
    from train.stage_kinds import Stage

    def told(stage: Stage) -> str:
        if isinstance(stage, RunConfig):
            return f"Train for {stage.loop.steps:,} steps; fields: unicon train {family}/{stage.name} --help"
        return (type(stage).__doc__ or "").splitlines()[0].replace("`", "")

    family, stages = stages_of(recipe)
    (stage, *others) = stages.values()
    parser.description = f"{recipe}: {RECIPES[family] if recipe == family else told(stage)}"
    told_of_all = _listed({name: told(each) for name, each in stages.items()})
    parser.epilog = f"stages, in order:\n{told_of_all}" if others else None
    if isinstance(stage, RunConfig) and not others:
        add_fields(parser, stage)
    return parser.format_help()


def _listed(lines: dict[str, str]) -> str:
    width = max(map(len, lines))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in lines.items())


def _assignments(rest: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    while rest:
        key = rest.pop(0)
        if not key.startswith("--"):
            raise ValueError(f"unexpected argument {key!r}; overrides are written --field value")
        key, equals, value = key[2:].partition("=")
        if not equals:
            if not rest:
                raise ValueError(f"--{key} needs a value")
            value = rest.pop(0)
        pairs[key] = value
    return pairs


def _run(args: argparse.Namespace, assignments: dict[str, str]) -> int:
    from train.config import read_assignments
    from train.recipes import stages_of
    from train.stages import run_stage
    from train.times import table
    from unicon.processes import processes

    family, stages = stages_of(args.recipe)
    given = list(assignments)
    if args.config is not None:
        assignments = {**read_assignments(args.config), **assignments}
    if (assignments or args.name or args.dry_run) and len(stages) > 1:
        choices = ", ".join(f"{family}/{stage}" for stage in stages)
        raise ValueError(f"overrides, --as and --dry-run need one stage: {choices}")
    folder = args.out or Path("runs") / family
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out {folder}: is a file; choose a folder, or a name that is free")
    for stage in stages.values():
        if not run_stage(stage, folder, args, assignments, given):
            return 3
    if "/" not in args.recipe and not args.dry_run and processes().is_main_process:
        print(table(folder, list(stages)))
    return 0
