"""How does a user draw, edit or complete a picture, under any maps?"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.cli.files import slug, write_picture
from unicon.cli.given import GivenMap, add_map_options, read_map, say_work_size
from unicon.cli.models import (
    add_run_options,
    add_style_option,
    facts,
    generators,
    load_pipeline,
    output_of,
    own_size_px,
)
from unicon.cli.rarest import add_keep_options, check_keep, check_keep_size, drawn_in, keep_rarest
from unicon.cli.run_marks import DRAWN, drawing_mark, of_its_own
from unicon.typed import fraction, interval, positive, work_size
from unicon.usual_guidance import IN_WORDS

if TYPE_CHECKING:
    from PIL import Image

    from unicon.pictures import Frame
    from unicon.pipeline import UniConPipeline

EXAMPLE = '%(prog)s "a red chair on a wooden floor" --depth map.png,noise=0.4 --pose pose.png --num 4'
GUIDANCE_HELP = f"how strictly the prompt is followed, 1 is off (default {IN_WORDS})"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", metavar="PROMPT", help="what the picture shows")
    add_map_options(parser)
    parser.add_argument(
        "--image", metavar="FILE", help="a picture to edit (with --noise) or to complete (with --mask)"
    )
    parser.add_argument(
        "--noise", type=fraction, metavar="N",
        help="0 to 1: how much of --image is redrawn; without --image, how loosely the maps are followed",
    )  # fmt: skip
    parser.add_argument(
        "--mask", metavar="FILE", help="white where --image is drawn anew, black where it is kept"
    )
    add_like_options(parser)
    add_text_options(parser)
    add_size_options(parser)
    parser.add_argument(
        "--upscale", type=float, metavar="SCALE",
        help="draw the finished picture once more, so many times as large as it was drawn, beside itself (up "
        "to 4)",
    )  # fmt: skip
    add_keep_options(parser)
    add_style_option(parser)
    add_run_options(parser, out="out/generate")


def add_like_options(parser: argparse.ArgumentParser) -> None:
    """`--like` and how it is followed, `--decoder`, `--prior`."""
    parser.add_argument("--like", metavar="FILE", help="a picture whose content is drawn again, differently")
    for name, kind, default, what in (
        ("scale", float, 1.0, "how much of it is heeded, 0 is none"),
        ("guidance-scale", float, 1.0, "how strictly, beside the prompt's own; 1 is off"),
        ("noise-level", int, 0, "0 to 999: more of it keeps less"),
    ):
        parser.add_argument(
            f"--like-{name}", type=kind, default=default, metavar="N", help=f"{what} (default {default})"
        )
    parser.add_argument(
        "--decoder", metavar="FOLDER", help="a decoder adapter, in the place of the base's own"
    )
    parser.add_argument(
        "--prior", nargs="?", const="", metavar="FOLDER",
        help="let a prior choose the content from the prompt: the base's own, or one in a folder",
    )  # fmt: skip


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """`--negative-prompt`, `--guidance-scale`, `--guidance-interval`, `--num` and `--batch`."""
    parser.add_argument("--negative-prompt", metavar="TEXT", help="what the picture must not show")
    parser.add_argument(
        "--guidance-scale", type=float, default=None, metavar="N",
        help=GUIDANCE_HELP,
    )  # fmt: skip
    parser.add_argument(
        "--guidance-interval", type=interval, default=(0.0, 1.0), metavar="LOW,HIGH",
        help="guide between these shares of noise alone: 0,0.7 leaves the beginning free, for more varied "
        "pictures (default 0,1)",
    )  # fmt: skip
    parser.add_argument(
        "--num",
        type=positive,
        default=1,
        metavar="N",
        help="pictures, of seeds SEED, SEED + 1, ... (default 1)",
    )
    parser.add_argument(
        "--batch", type=positive, default=4, metavar="N", help="pictures at a time (default 4)"
    )


def add_size_options(parser: argparse.ArgumentParser) -> None:
    """`--size` for given pictures, `--height` and `--width`."""
    parser.add_argument(
        "--size", type=work_size, metavar="PX",
        help="longer side of the result, and of the work on it; 0: that of the given pictures (default: "
        "drawn at the base's own, and resized to the given pictures')",
    )  # fmt: skip
    for side in ("height", "width"):
        parser.add_argument(
            f"--{side}", type=positive, metavar="PX",
            help="of the result, and of the work on it; given pictures are resized to it",
        )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    from unicon.upscaling import Upscaling, lowres_adapter, upscale

    _check(args)
    check_keep(args)
    given = read(args)
    larger = None if args.upscale is None else Upscaling(scale=args.upscale, num_inference_steps=args.steps)
    pipe = load_pipeline(args, needs=[each.name for each in args.maps])
    if larger is not None:
        lowres_adapter(pipe)  # before anything is drawn
    if args.decoder is not None:
        pipe.load_decoder(args.decoder, replace=True)
    if args.prior:
        pipe.unload_prior()
        pipe.load_prior(args.prior)
    sizes = result_sizes(args, given, own_size_px(pipe))
    check_keep_size(args, (sizes.width, sizes.height))
    mark = drawing_mark(args)
    folder = drawn_in(args, mark)
    say_work_size(given.pictures, (sizes.work_width, sizes.work_height))
    pipe.set_progress_bar_config(desc="drawing", leave=False)
    for seeds in chunks(range(args.seed, args.seed + args.num), args.batch):
        drawn = draw(pipe, args, given, sizes, seeds)
        if larger is not None:
            drawn = upscale(pipe, drawn, larger, generator=generators(seeds))
        for seed, picture in zip(seeds, drawn, strict=True):
            stem = of_its_own(folder / f"{slug(args.prompt)}_seed{seed}", mark)
            path = write_picture(Path(f"{stem}.png"), picture, {**facts(pipe, args, seed), DRAWN: mark})
            if args.keep is None:
                print(path)
    if args.keep is not None:
        for path in keep_rarest(args, mark):
            print(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The pictures of the command line, read: `image`, `mask`, and the maps by condition."""

    pictures: dict[str, Image.Image]
    like: Image.Image | None = None
    """In its own size: CLIP sees it in another than the base."""

    def get(self, name: str) -> Image.Image | None:
        return self.pictures.get(name)


def read(args: argparse.Namespace) -> Given:
    """Every file of the command line, before a model is loaded: a misspelt name costs no time."""
    from unicon.data.photos import load_photo

    named = {name: getattr(args, name) for name in ("image", "mask")}
    pictures = {name: load_photo(path) for name, path in named.items() if path is not None}
    like = None if args.like is None else load_photo(args.like)
    return Given(pictures=pictures | {each.name: read_map(each) for each in args.maps}, like=like)


def result_sizes(args: argparse.Namespace, given: Given, own_px: int) -> Frame:
    """The result's size and the one it is drawn in: the same where one was asked for, or where the picture is
    drawn once more, larger. Raises ValueError for a height or width asked for that is too large."""
    from unicon.call.framing import check_affordable, result_size
    from unicon.pictures import Frame

    sizes = {name: (p.height, p.width) for name, p in given.pictures.items() if name != "mask"}
    height, width = result_size(sizes, own_px, args.height, args.width)
    if not sizes or args.height or args.width:
        insist = f", or give --size {max(height, width)} to insist" if sizes else ""
        remedy = f"Draw it smaller, and enlarge it with --upscale or unicon upscale{insist}"
        check_affordable((height, width), own_px, remedy)
        return Frame.of(height, width, 1)
    drawn = Frame.of(height, width, 1, own_px if args.size is None else args.size)
    if args.size is None and args.upscale is None:
        return drawn
    return Frame.of(drawn.work_height, drawn.work_width, 1)


def draw(
    pipe: UniConPipeline, args: argparse.Namespace, given: Given, sizes: Frame, seeds: range
) -> list[Image.Image]:
    """One picture per seed."""
    result = pipe(
        args.prompt,
        image=image_branch(args, given),
        conditions={each.name: map_branch(args, each, given) for each in args.maps},
        outputs=["image"],
        height=sizes.height,
        width=sizes.width,
        processing_resolution=max(sizes.work_height, sizes.work_width),
        num_inference_steps=args.steps,
        guidance_scale=args.guidance_scale,
        guidance_interval=args.guidance_interval,
        negative_prompt=args.negative_prompt,
        like=given.like,
        like_scale=args.like_scale,
        like_guidance_scale=args.like_guidance_scale,
        like_noise_level=args.like_noise_level,
        prior=args.prior is not None,
        num_images_per_prompt=len(seeds),
        generator=generators(seeds),
    )
    return output_of(result).images


def image_branch(args: argparse.Namespace, given: Given) -> Any:
    """The picture to edit or to complete, or none."""
    from unicon.branch import Branch

    if args.image is None:
        return None
    return Branch(map=given.get("image"), noise=args.noise, mask=given.get("mask"))


def map_branch(args: argparse.Namespace, each: GivenMap, given: Given) -> Any:
    """A condition. Without an image `--noise` is meant for the maps; a map's own setting comes first."""
    from unicon.branch import Branch

    shared = args.noise if args.image is None else None
    noise = each.noise if each.noise is not None else shared
    return Branch(map=given.get(each.name), noise=noise, hold=each.hold, weight=each.weight)


def chunks(seeds: range, size: int) -> list[range]:
    """The seeds in runs of at most `size`."""
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


def _check(args: argparse.Namespace) -> None:
    names = [each.name for each in args.maps]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"condition {twice.pop()!r} is given twice; give each condition one map")
    if args.image is not None and args.mask is None and not args.noise:
        raise ValueError(
            "--image is kept as it is: say with --noise how much of it is redrawn (for example 0.6), "
            "or with --mask where"
        )
    if args.mask is not None and args.image is None:
        raise ValueError(
            "--mask says which part of a picture to keep, but no picture is given; add --image FILE"
        )
    if args.noise is not None and args.image is None and not args.maps:
        raise ValueError(
            f"--noise {args.noise} has nothing to start from; give --image, or a map such as --depth FILE"
        )
    if args.prior is not None and not args.prompt.strip():
        raise ValueError("--prior chooses the content from the prompt, which is empty: say what is shown")
    check_size(args, given=bool(args.maps or args.image))
    _check_parts(args)


def _check_parts(args: argparse.Namespace) -> None:
    """ValueError for a `--decoder` or a `--prior` that is none, before a base is loaded."""
    from unicon.priors import find_prior
    from unicon.sources import find_decoder

    if args.decoder is not None:
        find_decoder(args.decoder)
    if args.prior:
        find_prior(args.prior)


def check_size(args: argparse.Namespace, *, given: bool) -> None:
    """ValueError for a size that says two things, or nothing."""
    if args.size is not None and (args.height or args.width):
        raise ValueError("--size is the longer side of the result: give it, or --height and --width")
    if args.size is not None and not given:
        raise ValueError(
            f"--size {args.size} is the longer side of a result that has the given pictures' ratio, but none "
            "is given; use --height and --width"
        )
