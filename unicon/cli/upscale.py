"""How does a user make pictures larger?

What a photo has in the output folder from a run of the same settings is kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from unicon.cli.files import write_picture
from unicon.cli.models import add_run_options, add_style_option, facts, generators, load_pipeline
from unicon.cli.photo_batches import PhotoFile, Reader, find_photos, left_out
from unicon.cli.run_marks import RUN, Results, are_marked, of_another, refusal, run_mark, run_settings
from unicon.typed import fraction

if TYPE_CHECKING:
    from unicon.pipeline import UniConPipeline
    from unicon.upscaling import Upscaling

EXAMPLE = """%(prog)s photo.jpg --scale 2 --adapter runs/upscaler/upscaler/export
  %(prog)s old_scans --scale 3 --noise 0.3"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="picture files, or folders of them")
    parser.add_argument("--recursive", action="store_true", help="also the folders within a folder")
    parser.add_argument(
        "--scale", type=float, default=2.0, metavar="N", help="new sides in old ones, up to 4 (default 2)"
    )
    parser.add_argument(
        "--noise", type=fraction, default=0.0, metavar="N",
        help="0 believes the picture as it is; more (0.1 to 0.5) redraws what is blurred or compressed",
    )  # fmt: skip
    parser.add_argument(
        "--prompt", default="", metavar="TEXT", help="what every part of the picture shows (default: nothing)"
    )
    parser.add_argument("--guidance-scale", type=float, default=1.0, metavar="N", help="1 is off (default 1)")
    parser.add_argument(
        "--tile-size", type=int, default=0, metavar="PX",
        help="side of the parts that are drawn together (default 0: the base's own)",
    )  # fmt: skip
    parser.add_argument(
        "--free-colours", action="store_true", help="do not hold on to the picture's colours at a coarse look"
    )
    parser.add_argument("--again", action="store_true", help="also photos that are enlarged already")
    add_style_option(parser)
    add_run_options(parser, out="out/upscale")


def run(args: argparse.Namespace) -> int:
    from unicon.upscaling import Upscaling, lowres_adapter

    if args.guidance_scale != 1 and not args.prompt:
        raise ValueError("--guidance-scale has no effect without --prompt; give it, too, or leave it out")
    settings = Upscaling(
        scale=args.scale,
        noise=args.noise,
        prompt=args.prompt,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance_scale,
        tile_size=args.tile_size,
        keep_colours=not args.free_colours,
    )
    earlier = Results(Path(args.out))
    found = find_photos(args.photos, recursive=args.recursive, but=earlier)
    asked = run_settings(args, [args.seed, args.dtype, asdict(settings)])
    marks = {file: run_mark(file, asked) for file in found}
    files = [f for f in found if args.again or not are_marked([_target(args, f)], marks[f])]
    earlier.say(len(found), len(files), "are enlarged")
    if not files:
        return 0
    refused = {f: taken for f in files if (taken := of_another([_target(args, f)], marks[f])) is not None}
    reader = Reader(files=[f for f in files if f not in refused], batch_size=1)
    pipe = load_pipeline(args)
    lowres_adapter(pipe)
    _enlarge(pipe, args, reader, settings, marks)
    not_written = [refusal(file, taken) for file, taken in refused.items()]
    return left_out(not_written + reader.failures, len(found))


def _enlarge(
    pipe: UniConPipeline,
    args: argparse.Namespace,
    reader: Reader,
    settings: Upscaling,
    marks: Mapping[PhotoFile, str],
) -> None:
    """One photo after the other, so that a folder of any size can be enlarged."""
    from unicon.upscaling import upscale

    for number, (photo,) in enumerate(reader.batches(), start=1):
        place = number + len(reader.failures)
        pipe.set_progress_bar_config(desc=f"enlarging {place} of {len(reader.files)}", leave=False)
        (larger,) = upscale(pipe, photo.picture, settings, generator=generators([args.seed]))
        about = {**facts(pipe, args, args.seed), RUN: marks[photo.file]}
        print(write_picture(_target(args, photo.file), larger, about))


def _target(args: argparse.Namespace, file: PhotoFile) -> Path:
    """Where a photo's enlarged picture is written."""
    return Path(args.out) / f"{file.stem}_x{args.scale:g}.png"
