"""How does a user draw a picture and its maps together, from a prompt alone?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from unicon.cli.files import slug, write_picture
from unicon.cli.generate import add_text_options, chunks
from unicon.cli.models import (
    add_run_options,
    add_style_option,
    condition_names,
    facts,
    generators,
    load_pipeline,
    output_of,
)
from unicon.cli.run_marks import DRAWN, drawing_mark, of_its_own
from unicon.typed import positive

if TYPE_CHECKING:
    from unicon.output import UniConOutput
    from unicon.pipeline import UniConPipeline

EXAMPLE = '%(prog)s "a woman waving on a lawn" --conditions depth,pose --num 2'


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="what the picture shows")
    parser.add_argument(
        "--condition", "--conditions", action="append", required=True, metavar="NAME[,NAME]",
        help="the maps drawn with the picture: names of loaded adapters; may be repeated",
    )  # fmt: skip
    add_text_options(parser)
    parser.add_argument("--height", type=positive, metavar="PX", help="default: the base's own")
    parser.add_argument("--width", type=positive, metavar="PX", help="default: the base's own")
    add_style_option(parser)
    add_run_options(parser, out="out/joint")


def run(args: argparse.Namespace) -> None:
    names = condition_names(args.condition)
    pipe = load_pipeline(args, needs=names)
    pipe.set_progress_bar_config(desc="drawing", leave=False)
    mark = drawing_mark(args)
    for seeds in chunks(range(args.seed, args.seed + args.num), args.batch):
        result = draw(pipe, args, names, seeds)
        for place, seed in enumerate(seeds):
            for path in write(pipe, result, args, place, seed, mark):
                print(path)


def draw(pipe: UniConPipeline, args: argparse.Namespace, names: list[str], seeds: range) -> UniConOutput:
    """A picture and its maps per seed."""
    result = pipe(
        args.prompt,
        outputs=["image", *names],
        height=args.height,
        width=args.width,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance_scale,
        guidance_interval=args.guidance_interval,
        negative_prompt=args.negative_prompt,
        num_images_per_prompt=len(seeds),
        generator=generators(seeds),
    )
    return output_of(result)


def write(
    pipe: UniConPipeline, result: UniConOutput, args: argparse.Namespace, place: int, seed: int, mark: str
) -> list[Path]:
    """Write sample `place` of a run of this mark and return the files."""
    pictures = {"image": result.images[place]} | {n: maps[place] for n, maps in result.conditions.items()}
    made = {**facts(pipe, args, seed), DRAWN: mark}
    ends = [f"_{name}.png" for name in pictures]
    stem = of_its_own(Path(args.out) / f"{slug(args.prompt)}_seed{seed}", mark, ends)
    written = zip(ends, pictures.values(), strict=True)
    return [write_picture(Path(f"{stem}{end}"), picture, made) for end, picture in written]
