"""How are a base's limits measured: which pictures are familiar to it?"""

from __future__ import annotations

import argparse
from pathlib import Path

from unicon.cli.files import write_json
from unicon.cli.models import load_pipeline, own_size_px
from unicon.cli.options import add_model_options
from unicon.typed import positive

EXAMPLE = "%(prog)s --base runs/family --out runs/family --num 200"
AT_ONCE = 8


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num", type=positive, default=200, metavar="N",
        help="held-out scenes, of seeds SEED, SEED + 1, ... (default 200)",
    )  # fmt: skip
    parser.add_argument(
        "--photos", metavar="FOLDER", help="measure a folder of familiar photographs instead of scenes"
    )
    parser.add_argument(
        "--percentile", type=float, default=99.0, metavar="P",
        help="share of these pictures, in percent, that counts as familiar (default 99)",
    )  # fmt: skip
    add_model_options(parser, out="out/limits")
    parser.set_defaults(adapter=[])


def run(args: argparse.Namespace) -> None:
    from unicon.limits import FILE, as_json, limits_over

    pipe = load_pipeline(args)
    found = _measured(pipe, args)
    limits = limits_over(found, percentile=args.percentile, source=_source(args))
    print(write_json(Path(args.out) / FILE, as_json(limits)))
    print(f"reconstruction up to {limits.reconstruction:.4f}, surprise up to {limits.surprise:.4f}; "
          f"keep the file beside the base's model_index.json")  # fmt: skip


def _measured(pipe, args: argparse.Namespace) -> list:
    from tqdm import tqdm

    from unicon.limits import strangeness

    found, waiting = [], []
    total = args.num if args.photos is None else None
    for picture in tqdm(_pictures(args, own_size_px(pipe)), total=total, desc="measuring", leave=False):
        waiting.append(picture)
        if len(waiting) == AT_ONCE:
            found += strangeness(pipe, waiting)
            waiting = []
    return found + (strangeness(pipe, waiting) if waiting else [])


def _pictures(args: argparse.Namespace, side_px: int):
    from PIL import Image

    from unicon.data.photos import list_photos, load_photo
    from unicon.data.scenes import SceneConfig, render

    if args.photos is not None:
        yield from (load_photo(path) for path in list_photos(args.photos)[: args.num])
        return
    config = SceneConfig(size=side_px, second_view=False)
    for seed in range(args.seed, args.seed + args.num):
        yield Image.fromarray(render(seed, config).image)


def _source(args: argparse.Namespace) -> str:
    if args.photos is not None:
        return f"photographs of {Path(args.photos).name}"
    return f"scenes of seeds {args.seed} to {args.seed + args.num - 1}"
