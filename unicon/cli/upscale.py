"""How does a user make pictures larger?"""

from __future__ import annotations

import argparse
from pathlib import Path

from unicon.cli.files import write_picture
from unicon.cli.given import fraction
from unicon.cli.models import add_run_options, add_style_option, facts, generators, load_pipeline

EXAMPLE = """%(prog)s photo.jpg --scale 2 --adapter runs/upscaler/upscaler/export
  %(prog)s old_scans --scale 3 --noise 0.3"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="picture files, or folders of them")
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
    add_style_option(parser)
    add_run_options(parser, out="out/upscale")


def run(args: argparse.Namespace) -> None:
    from unicon.data.photos import list_photos, load_photo
    from unicon.upscaling import Upscaling, lowres_adapter, upscale

    settings = Upscaling(
        scale=args.scale,
        noise=args.noise,
        prompt=args.prompt,
        num_inference_steps=args.steps,
        guidance_scale=args.guidance_scale,
        tile_size=args.tile_size,
        keep_colours=not args.free_colours,
    )
    targets = _targets([path for place in args.photos for path in list_photos(place)], args)
    photos = {path: load_photo(path) for path in targets}
    pipe = load_pipeline(args)
    lowres_adapter(pipe)
    for number, (path, photo) in enumerate(photos.items(), start=1):
        pipe.set_progress_bar_config(desc=f"enlarging {number} of {len(photos)}", leave=False)
        (larger,) = upscale(pipe, photo, settings, generator=generators([args.seed]))
        print(write_picture(targets[path], larger, facts(pipe, args.prompt, args.seed)))


def _targets(paths: list[Path], args: argparse.Namespace) -> dict[Path, Path]:
    """Where each picture is written; ValueError for two of one name."""
    found: dict[Path, Path] = {}
    for path in paths:
        target = Path(args.out) / f"{path.stem}_x{args.scale:g}.png"
        if target in found:
            raise ValueError(
                f"{path}: {found[target]} has the same name; enlarge them in two calls of two --out"
            )
        found[target] = path
    return {path: target for target, path in found.items()}
