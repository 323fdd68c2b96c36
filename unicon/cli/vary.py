"""How does a user draw a picture again through its embedding: varied, mixed, changed or in another's map?"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.cli.files import write_picture
from unicon.cli.given import GivenMap, add_map_shortcuts, fit, given_map, read_map
from unicon.cli.models import add_run_options, facts, load_pipeline, own_size_px
from unicon.cli.run_marks import DRAWN, drawing_mark, of_its_own
from unicon.typed import check_idle, positive

if TYPE_CHECKING:
    from PIL import Image

    from unicon.manipulations import Drawing
    from unicon.pipeline import UniConPipeline

EXAMPLE = """%(prog)s chair.png
  %(prog)s chair.png --to lamp.png
  %(prog)s chair.png --text "a blue chair" --instead-of "a red chair"
  %(prog)s chair.png --map-of room.png --condition depth
  %(prog)s chair.png --pictures my_pictures
  %(prog)s chair.png --to lamp.png --fixed-noise --depth room_depth.png"""

ETAS = (0.0, 0.5, 1.0)
NUM = 5
MOST_CHANGE = 0.5


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", metavar="PICTURE", help="what it shows is kept, or changed from")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--to", metavar="FILE", help="pictures on the way to another one")
    how.add_argument("--text", metavar="TEXT", help="change it towards a text, more and more")
    how.add_argument("--map-of", metavar="FILE", help="draw it in the map of another picture (--condition)")
    how.add_argument("--pictures", metavar="DIR", help="keep more and more principal components of these")
    parser.add_argument("--instead-of", default="", metavar="TEXT", help="with --text: what it is now")
    parser.add_argument(
        "--fixed-noise", action="store_true", help="with --to: one composition, instead of both pictures' own"
    )
    parser.add_argument(
        "--condition", dest="maps", action="append", default=[], type=map_or_name, metavar="NAME[=FILE]",
        help="a map that all pictures are drawn in, weight=N behind a comma; may be repeated. Without a "
        "file: which map --map-of takes from its picture (default depth)",
    )  # fmt: skip
    add_map_shortcuts(parser)
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what the picture shows, in words")
    parser.add_argument(
        "--guidance-scale", type=float, default=1.0, metavar="N",
        help="how strictly --prompt is followed, 1 is off (default 1)",
    )  # fmt: skip
    parser.add_argument("--like-scale", type=float, default=1.0, metavar="N", help="of the decoder adapter")
    parser.add_argument(
        "--like-guidance-scale", type=float, default=1.0, metavar="N",
        help="how strictly what pictures show is followed, beside the prompt's own; 1 is off (default 1)",
    )  # fmt: skip
    parser.add_argument("--num", type=positive, metavar="N", help=f"pictures in a row (default {NUM})")
    parser.add_argument(
        "--batch", type=positive, default=4, metavar="N", help="pictures at a time (default 4)"
    )
    parser.add_argument(
        "--decoder", metavar="FOLDER", help="a decoder adapter, in the place of the base's own"
    )
    add_run_options(parser, out="out/vary", steps=50)


def map_or_name(text: str) -> GivenMap | str:
    """Read `NAME=FILE[,weight=N]`, or a name alone."""
    return text if text.isidentifier() else given_map(text)


def run(args: argparse.Namespace) -> None:
    from unicon.data.photos import list_photos, load_photo
    from unicon.sheets import contact_sheet
    from unicon.sources import find_decoder

    maps, condition = _check(args)
    if args.decoder is not None:
        find_decoder(args.decoder)  # before a base is loaded
    names = ("picture", "to", "map_of")
    given = {n: load_photo(getattr(args, n)) for n in names if getattr(args, n) is not None}
    drawn_in = {each.name: read_map(each) for each in maps}
    others = [] if args.pictures is None else [load_photo(path) for path in list_photos(args.pictures)]
    pipe = load_pipeline(args, needs=[*drawn_in, *([condition] if args.map_of else [])])
    if args.decoder is not None:
        pipe.load_decoder(args.decoder, replace=True)
    pipe.set_progress_bar_config(desc="drawing", leave=False)
    given = _alike(fit(given, own_size_px(pipe)))
    drawn_in = _of_size(fit(drawn_in, own_size_px(pipe)), given["picture"].size)
    asked = VarySettings(
        condition=condition,
        num=args.num or NUM,
        drawing=_drawing(args, maps, drawn_in),
    )
    mark = drawing_mark(args, num=asked.num)
    grid = _grid(pipe, args, asked, given, others)
    start = [given["picture"], given.get("to"), given.get("map_of")]
    shown = [*(each for each in start if each is not None), *drawn_in.values()]
    width = max(len(shown), len(grid.columns))
    rows = {"given": shown, **grid.rows}
    cells = [[*row, *([None] * (width - len(row)))] for row in rows.values()]
    labels = [*grid.columns, *([""] * (width - len(grid.columns)))]
    sheet = contact_sheet(cells, row_labels=list(rows), column_labels=labels)
    stem = of_its_own(Path(args.out) / f"{Path(args.picture).stem}_{grid.name}_seed{args.seed}", mark)
    print(write_picture(Path(f"{stem}.png"), sheet, {**facts(pipe, args, args.seed), DRAWN: mark}))


@dataclass(frozen=True, kw_only=True, slots=True)
class VarySettings:
    """What the options come to."""

    condition: str
    """Whose map `--map-of` takes."""
    num: int
    drawing: Drawing


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Rows of pictures that are compared."""

    name: str
    columns: list[str]
    rows: dict[str, list[Image.Image]]


def _grid(
    pipe: UniConPipeline, args: argparse.Namespace, asked: VarySettings, given: dict[str, Image.Image],
    others: list[Image.Image],
) -> Grid:  # fmt: skip
    """What the options ask for."""

    from unicon import manipulations as do

    picture, drawing, num = given["picture"], asked.drawing, asked.num
    steps = [i / max(num - 1, 1) for i in range(num)]
    if args.to is not None:
        drawn = do.interpolate(
            pipe, picture, given["to"], steps, fixed_noise=args.fixed_noise, drawing=drawing
        )
        return Grid(name="to", columns=[f"{s:.2f}" for s in steps], rows={"on the way": drawn})
    if args.text is not None:
        amounts = [MOST_CHANGE * s for s in steps]
        drawn = do.change_by_text(
            pipe, picture, args.text, amounts, instead_of=args.instead_of, drawing=drawing
        )
        return Grid(name="text", columns=[f"{a:.2f}" for a in amounts], rows={args.text[:24]: drawn})
    if args.map_of is not None:
        drawn = do.swap(pipe, picture, given["map_of"], asked.condition, drawing=drawing)
        return Grid(name="swap", columns=["what it shows", "whose map"], rows={"drawn": drawn})
    if args.pictures is not None:
        components = do.PrincipalComponents.of(pipe.embed(others))
        most = len(components.directions)
        nums = sorted({max(1, round(most**s)) for s in steps})
        drawn = do.reconstruct(pipe, picture, components, nums, drawing=drawing)
        return Grid(name="components", columns=[str(n) for n in nums], rows={"components": drawn})
    drawn = do.variation_rows(pipe, picture, num, ETAS, drawing=drawing)
    rows = {f"eta {eta}": row for eta, row in zip(ETAS, drawn, strict=True)}
    return Grid(name="variations", columns=[str(i + 1) for i in range(num)], rows=rows)


def _drawing(args: argparse.Namespace, maps: list[GivenMap], drawn_in: dict[str, Image.Image]) -> Drawing:
    from unicon.branch import Branch
    from unicon.manipulations import Drawing

    return Drawing(
        prompt=args.prompt,
        conditions={each.name: Branch(map=drawn_in[each.name], weight=each.weight) for each in maps},
        num_inference_steps=args.steps,
        guidance_scale=args.guidance_scale,
        like_scale=args.like_scale,
        like_guidance_scale=args.like_guidance_scale,
        seed=args.seed,
        batch=args.batch,
    )


def _check(args: argparse.Namespace) -> tuple[list[GivenMap], str]:
    """The maps that are given, and the condition of `--map-of`. ValueError for options that would have no
    effect, and for maps that contradict each other."""
    if args.text is not None and not args.text.strip():
        raise ValueError("--text is empty: say what the picture is to become")
    check_idle(args, ["instead_of"], "text")
    check_idle(args, ["fixed_noise"], "to")
    if args.guidance_scale != 1 and not args.prompt.strip():
        raise ValueError("--guidance-scale has no effect without --prompt, which it follows; give it, too")
    if args.num is not None and args.map_of is not None:
        raise ValueError("--num has no effect with --map-of, which draws one picture; leave it out")
    return _maps(args)


def _maps(args: argparse.Namespace) -> tuple[list[GivenMap], str]:
    maps = [each for each in args.maps if isinstance(each, GivenMap)]
    names = [each for each in args.maps if isinstance(each, str)]
    if names and args.map_of is None:
        raise ValueError(
            f"--condition {names[0]} has no effect without --map-of: give its map, --condition "
            f"{names[0]}=FILE, or with --map-of the picture it is taken from"
        )
    if len(names) > 1:
        raise ValueError(f"--map-of takes one map from its picture, got {', '.join(names)}; keep one")
    condition = names[0] if names else "depth"
    every = [each.name for each in maps] + ([] if args.map_of is None else [condition])
    if twice := {name for name in every if every.count(name) > 1}:
        raise ValueError(f"condition {twice.pop()!r} is given twice; give each condition one map")
    if noisy := [each.name for each in maps if each.noise is not None or each.hold]:
        raise ValueError(f"{noisy[0]}: maps are held clean here, so leave out noise and hold")
    return maps, condition


def _alike(given: dict[str, Image.Image]) -> dict[str, Any]:
    """All in the first one's size: their noises are mixed, their maps shared."""
    from PIL import Image

    size = given["picture"].size
    return {
        name: each if each.size == size else each.resize(size, Image.Resampling.LANCZOS)
        for name, each in given.items()
    }


def _of_size(maps: dict[str, Image.Image], size: tuple[int, int]) -> dict[str, Image.Image]:
    """Maps in the picture's size, a pixel of rounding resized. ValueError for one of another shape."""
    for name, each in maps.items():
        if max(abs(a - b) for a, b in zip(each.size, size, strict=True)) > 1:
            raise ValueError(
                f"{name}: the map has {each.width} x {each.height} px where the picture has "
                f"{size[0]} x {size[1]}; give one of the picture's shape"
            )
    return {name: each if each.size == size else each.resize(size) for name, each in maps.items()}
