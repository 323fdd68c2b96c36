"""How does a user draw a picture again through its embedding: varied, mixed, changed or in another's map?"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.cli.files import write_picture
from unicon.cli.given import fit
from unicon.cli.models import add_run_options, facts, load_pipeline, own_size_px, positive

if TYPE_CHECKING:
    from PIL import Image

    from unicon.manipulations import Drawing
    from unicon.pipeline import UniConPipeline

EXAMPLE = """%(prog)s chair.png --decoder runs/decoder/decoder/export
  %(prog)s chair.png --to lamp.png
  %(prog)s chair.png --text "a blue chair" --instead-of "a red chair"
  %(prog)s chair.png --map-of room.png --condition depth
  %(prog)s chair.png --pictures my_pictures"""

ETAS = (0.0, 0.5, 1.0)
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
    parser.add_argument("--condition", default="depth", metavar="NAME", help="of --map-of (default depth)")
    parser.add_argument("--prompt", default="", metavar="TEXT", help="what the picture shows, in words")
    parser.add_argument("--num", type=positive, default=5, metavar="N", help="pictures in a row (default 5)")
    parser.add_argument("--like-scale", type=float, default=1.0, metavar="N", help="of the decoder adapter")
    parser.add_argument("--decoder", metavar="FOLDER", help="a decoder adapter, where the base has none")
    add_run_options(parser, out="out/vary", steps=50)


def run(args: argparse.Namespace) -> None:
    from unicon.data.photos import list_photos, load_photo
    from unicon.sheets import contact_sheet

    names = ("picture", "to", "map_of")
    given = {n: load_photo(getattr(args, n)) for n in names if getattr(args, n) is not None}
    others = [] if args.pictures is None else [load_photo(path) for path in list_photos(args.pictures)]
    pipe = load_pipeline(args, needs=[args.condition] if args.map_of else [])
    if args.decoder is not None:
        pipe.load_decoder(args.decoder)
    pipe.set_progress_bar_config(desc="drawing", leave=False)
    given = _alike(fit(given, own_size_px(pipe)))
    grid = _grid(pipe, args, given, others)
    start = [given["picture"], given.get("to"), given.get("map_of")]
    shown = [each for each in start if each is not None]
    width = max(len(shown), len(grid.columns))
    rows = {"given": shown, **grid.rows}
    cells = [[*row, *([None] * (width - len(row)))] for row in rows.values()]
    labels = [*grid.columns, *([""] * (width - len(grid.columns)))]
    sheet = contact_sheet(cells, row_labels=list(rows), column_labels=labels)
    path = Path(args.out) / f"{Path(args.picture).stem}_{grid.name}_seed{args.seed}.png"
    print(write_picture(path, sheet, facts(pipe, args, args.seed)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Rows of pictures that are compared."""

    name: str
    columns: list[str]
    rows: dict[str, list[Image.Image]]


def _grid(
    pipe: UniConPipeline, args: argparse.Namespace, given: dict[str, Image.Image], others: list[Image.Image]
) -> Grid:
    """What the options ask for."""
    import torch

    from unicon import manipulations as do

    picture, drawing = given["picture"], _drawing(args)
    steps = [i / max(args.num - 1, 1) for i in range(args.num)]
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
        drawn = do.swap(pipe, picture, given["map_of"], args.condition, drawing=drawing)
        return Grid(name="swap", columns=["what it shows", "whose map"], rows={"drawn": drawn})
    if args.pictures is not None:
        components = do.PrincipalComponents.of(torch.cat([pipe.embed(each) for each in others]))
        most = len(components.directions)
        nums = sorted({max(1, round(most**s)) for s in steps})
        drawn = do.reconstruct(pipe, picture, components, nums, drawing=drawing)
        return Grid(name="components", columns=[str(n) for n in nums], rows={"components": drawn})
    rows = {f"eta {eta}": do.variations(pipe, picture, args.num, eta=eta, drawing=drawing) for eta in ETAS}
    return Grid(name="variations", columns=[str(i + 1) for i in range(args.num)], rows=rows)


def _drawing(args: argparse.Namespace) -> Drawing:
    from unicon.manipulations import Drawing

    return Drawing(
        prompt=args.prompt, num_inference_steps=args.steps, like_scale=args.like_scale, seed=args.seed
    )


def _alike(given: dict[str, Image.Image]) -> dict[str, Any]:
    """All in the first one's size: their noises are mixed, their maps shared."""
    from PIL import Image

    size = given["picture"].size
    return {
        name: each if each.size == size else each.resize(size, Image.Resampling.LANCZOS)
        for name, each in given.items()
    }
