"""How does a user get maps of photographs: depth, edges, normals, poses?

What a photo has in the output folder from a run of the same settings is kept. Nothing of a photo's metadata
goes into its maps.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unicon.cli.map_files import COLOURED, RAW, in_the_way, is_done, write
from unicon.cli.models import (
    STABLE_DIFFUSION,
    add_run_options,
    base_folder,
    condition_names,
    generators,
    load_pipeline,
    output_of,
    stated_base,
)
from unicon.cli.photo_batches import Photo, PhotoFile, Reader, find_photos, left_out
from unicon.cli.run_marks import RUN, Results, refusal, run_mark, run_settings
from unicon.cli.shares import add_processes_option, launched
from unicon.processes import share
from unicon.typed import positive, temperature, work_sizes

if TYPE_CHECKING:
    from unicon.limits import Limits
    from unicon.output import UniConOutput
    from unicon.pipeline import UniConPipeline

PUBLISHED, PUBLISHED_ADAPTERS = ("depth", "edge", "pose"), "lixirui142/unicon"
"""Conditions with an adapter for Stable Diffusion on the hub, and where that is."""
MOST_NAMED = 8
"""Photos in a command that is printed."""

EXAMPLE = "%(prog)s photos/ --recursive --condition depth --condition edge --ensemble 5"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help="picture files, or folders of them")
    parser.add_argument("--recursive", action="store_true", help="also the folders within a folder")
    parser.add_argument(
        "--condition", "--conditions", action="append", required=True, metavar="NAME[,NAME]",
        help="what to estimate: names of loaded adapters; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--ensemble", type=positive, default=1, metavar="N",
        help="estimates per photo, combined by their median (edges: their mean; poses: the joints most agree "
        "on); above 1 their deviation is written, too",
    )  # fmt: skip
    parser.add_argument(
        "--temperature", type=temperature, default=1.0, metavar="T",
        help="1 draws one of the maps that fit (default); lower comes nearer to their mean, more spreads "
        "ensembles",
    )  # fmt: skip
    parser.add_argument("--batch", type=positive, default=4, metavar="N", help="photos at a time (default 4)")
    parser.add_argument(
        "--size", type=work_sizes, metavar="PX[,PX]",
        help="longer side that photos are worked on at; 0: as they are (default: the base's own); several: "
        "an ensemble of --ensemble estimates at each; maps have the photo's size",
    )  # fmt: skip
    parser.add_argument(
        "--mirrored", action="store_true",
        help="estimate mirror images as well: an ensemble of twice as many",
    )  # fmt: skip
    parser.add_argument(
        "--colour", action="store_true", help="show depth in colours, near pale, far dark; others have none"
    )
    parser.add_argument(
        "--raw", choices=RAW, default="png16",
        help="how the values themselves are written: a PNG of 16 bits, a .npy file of floats, both, neither",
    )  # fmt: skip
    parser.add_argument("--again", action="store_true", help="also photos whose maps are there already")
    add_processes_option(parser)
    add_run_options(parser, out="out/estimate")


def run(args: argparse.Namespace) -> int:
    if (code := launched(args, args.given)) is not None:
        return code
    names = condition_names(args.condition)
    if args.colour:
        _check_colour(names)
    out, ours = Path(args.out), share()
    earlier = Results(out)
    photos = find_photos(args.photos, recursive=args.recursive, but=earlier)
    settings = run_settings(args, _asked(args))
    todo = [f for f in ours.of(photos) if args.again or not is_done(f, out, names, settings)]
    refused = {f: taken for f in todo if (taken := in_the_way(f, out, names, settings)) is not None}
    mine = [f for f in todo if f not in refused]
    num_left = len(ours.gathered(todo))
    if ours.is_first:
        earlier.say(len(photos), num_left, "have their maps")
    if not num_left:
        return 0
    reader, far = Reader(files=mine, batch_size=args.batch), []
    reader.failures += [refusal(file, taken) for file, taken in refused.items()]
    if mine:
        limits = _limits(args.base)
        pipe = load_pipeline(args, needs=names)
        far = estimate_all(pipe, args, names, reader, limits=limits, settings=settings)
    failures, far = ours.gathered(reader.failures), ours.gathered(far)
    if ours.is_first:
        _report_far(args, names, far, num_photos=num_left)
    return left_out(failures, len(photos), ours=ours)


def _asked(args: argparse.Namespace) -> list[object]:
    """Every setting that changes a map's values or how they are written."""
    from unicon.conditions.ensembles import TOGETHER

    views = [args.ensemble, args.size, args.mirrored]
    several = args.ensemble > 1 or args.mirrored or isinstance(args.size, tuple)
    together = sorted(TOGETHER.items()) if several else []
    return [args.seed, args.steps, args.temperature, args.dtype, *views, *together, args.raw, args.colour]


def _check_colour(names: Sequence[str]) -> None:
    """Say which conditions `--colour` does nothing for; ValueError if that is all of them."""
    plain = [name for name in names if name not in COLOURED]
    if not plain:
        return
    told = f"--colour shows {', '.join(COLOURED)} in colours; {', '.join(plain)}"
    if len(plain) == len(names):
        raise ValueError(f"{told} would look as without it: leave --colour out")
    print(f"{told}: written as without it", file=sys.stderr)


def estimate_all(
    pipe: UniConPipeline,
    args: argparse.Namespace,
    names: list[str],
    reader: Reader,
    *,
    limits: Limits | None,
    settings: str,
) -> list[PhotoFile]:
    """Estimate, write and print; returns the photos that are far from what the base knows."""
    from tqdm import tqdm

    pipe.set_progress_bar_config(disable=True)
    far: list[PhotoFile] = []
    with tqdm(total=len(reader.files), desc="estimating", unit="photo", leave=False) as bar:
        for photos in reader.batches():
            far += judge(pipe, photos, limits)
            result = estimate(pipe, args, names, photos)
            for place, photo in enumerate(photos):
                about = {RUN: run_mark(photo.file, settings), "base": stated_base(pipe, args.base)}
                for path in write(result, args, place, Path(args.out) / photo.file.stem, about, pipe.kinds):
                    tqdm.write(str(path), file=sys.stdout)
            bar.update(len(photos))
    return far


def estimate(
    pipe: UniConPipeline, args: argparse.Namespace, names: list[str], photos: Sequence[Photo]
) -> UniConOutput:
    """The maps of photographs of one size. Member m of every photo has seed + m, whatever the batch; further
    views go on from there."""
    result = pipe(
        image=[photo.picture for photo in photos],
        outputs=names,
        processing_resolution=args.size,
        mirrored=args.mirrored,
        num_inference_steps=args.steps,
        ensemble_size=args.ensemble,
        temperature=args.temperature,
        generator=generators([args.seed + m for _ in photos for m in range(args.ensemble)]),
    )
    return output_of(result)


def judge(pipe: UniConPipeline, photos: Sequence[Photo], limits: Limits | None) -> list[PhotoFile]:
    """The photos beyond the base's limits, each with a line that says by how much."""
    if limits is None:
        return []
    from unicon.limits import strangeness

    far = []
    for photo, found in zip(photos, strangeness(pipe, [p.picture for p in photos]), strict=True):
        if exceeded := limits.exceeded(found):
            numbers = ", ".join(
                f"{name} {value:.3g}, limit {top:.3g}" for name, (value, top) in exceeded.items()
            )
            print(f"{photo.file.path}: far from what the base knows ({numbers})", file=sys.stderr)
            far.append(photo.file)
    return far


def _limits(base: str) -> Limits | None:
    from unicon.limits import read_limits

    folder = base_folder(base)
    return None if folder is None else read_limits(folder)


def _report_far(args: argparse.Namespace, names: list[str], far: list[PhotoFile], *, num_photos: int) -> None:
    """At the end, where it is not scrolled away."""
    if not far:
        return
    lines = [
        f"{len(far)} of {num_photos} photos are far from what --base {args.base} knows; their maps "
        "are likely poor."
    ]
    if published := [name for name in names if name in PUBLISHED]:
        lines += ["A base that knows photographs:", f"  {command_for_photos(args, published, far)}"]
    if others := [name for name in names if name not in PUBLISHED]:
        lines.append(f"For {', '.join(others)} no adapter is published: train one, see docs/training.md.")
    print("\n".join(lines), file=sys.stderr)


def _typed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def command_for_photos(args: argparse.Namespace, names: Sequence[str], files: Sequence[PhotoFile]) -> str:
    """The same estimate of `PUBLISHED` conditions on Stable Diffusion, with the options that were given.

    Of many files it names what the user named.
    """
    parser = argparse.ArgumentParser()
    configure(parser)
    defaults = vars(parser.parse_args(["photo", "--condition", "depth"]))
    said = {name: value for name in defaults if (value := getattr(args, name)) != defaults[name]}
    words = [str(file.path) for file in files]
    if len(files) > MOST_NAMED:
        words = [*args.photos, *(["--recursive"] if args.recursive else [])]
    for name in names:
        words += ["--condition", name, "--adapter", f"{PUBLISHED_ADAPTERS}/{name}"]
    words += ["--base", STABLE_DIFFUSION]
    for name, value in said.items():
        if name not in ("photos", "recursive", "condition", "base", "adapter", "again"):
            words += [f"--{name}"] if value is True else [f"--{name}", _typed(value)]
    return shlex.join(["unicon", "estimate", *words])
