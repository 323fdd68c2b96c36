"""How does a user see which noise levels a law trains, on the schedule of their base?"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.cli.files import write_bytes
from unicon.cli.options import DTYPES, device_and_dtype

if TYPE_CHECKING:
    from eval.emergence import Emergence
    from train.levels import LevelTable
    from unicon.sampling.levels import Schedule

EXAMPLE = """%(prog)s uniform style_friendly "0.8 style_friendly + 0.2 uniform" --out out/levels
  %(prog)s --calibrate --style woodcut.safetensors --out out/levels"""
DRAWS = 200_000
PROMPTS = ("a red chair", "a person", "a house by a tree", "a bottle on a table")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("laws", nargs="*", metavar="LAW", help='such as uniform, or "normal(-4, 2)"')
    parser.add_argument(
        "--base", default="mini", help="whose schedule: mini, a folder, a hub id (default mini)"
    )
    parser.add_argument(
        "--out", default="out/levels", metavar="DIR", help="folder to write (default out/levels)"
    )
    measured = parser.add_argument_group("measuring where a style is decided")
    measured.add_argument(
        "--calibrate",
        action="store_true",
        help="find the law for a style on this base, at its own resolution",
    )
    measured.add_argument("--style", metavar="FILE", help="a trained style; a first one may have any law")
    measured.add_argument(
        "--phrase", default="", metavar="WORDS", help="words that call it (default its own)"
    )
    measured.add_argument(
        "--references", metavar="DIR", help="pictures of the style (default: its own drawings)"
    )
    measured.add_argument(
        "--prompts", nargs="+", default=PROMPTS, metavar="TEXT", help="what is drawn (default four things)"
    )
    measured.add_argument("--steps", type=int, default=20, metavar="N", help="of a drawing (default 20)")
    measured.add_argument("--guidance-scale", type=float, default=2.0, metavar="S", help="default 2")
    measured.add_argument("--seed", type=int, default=0)
    measured.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default auto)")
    measured.add_argument(
        "--dtype", default="float32", choices=DTYPES, help="default float32: other formats move the numbers"
    )


def run(args: argparse.Namespace) -> None:
    """Print each law's numbers and draw it beside what is drawn from it, over log-SNR and over time."""
    from train.levels import parse_law

    if not args.laws and not args.calibrate:
        raise ValueError("name a law, such as uniform, or find one: --calibrate --style FILE")
    for name in () if args.calibrate else ("style", "phrase", "references"):
        if getattr(args, name):
            raise ValueError(
                f"--{name} has no effect without --calibrate; give it, too, or leave --{name} out"
            )
    schedule = base_schedule(args.base)
    laws = [*args.laws, _calibrated(args)] if args.calibrate else args.laws
    tables = {law: parse_law(law)(schedule) for law in laws}
    for law, table in tables.items():
        print(_line(law, table))
    print(write_bytes(Path(args.out) / "levels.png", _plot(schedule, tables)))


def _calibrated(args: argparse.Namespace) -> str:
    """The law that where a style is decided asks for; the measurement is printed, written and drawn."""
    from tqdm import tqdm

    from eval.emergence import style_emergence
    from unicon.cli.files import write_json
    from unicon.pipeline import UniConPipeline

    if not args.style and not args.phrase:
        raise ValueError("--calibrate needs a style: --style FILE, or --phrase WORDS that the base knows")
    if args.steps < 2:
        raise ValueError(f"--steps is {args.steps}; expected at least 2, for a law the more the better")
    device, dtype = device_and_dtype(args)
    pipe = UniConPipeline.from_pretrained(args.base, adapters=(), dtype=dtype)
    pipe.unload_style()
    if args.style:
        pipe.load_style(args.style)
    pipe.to(device)
    found = style_emergence(
        pipe,
        list(args.prompts),
        phrase=args.phrase,
        references=_references(args.references, pipe) if args.references else None,
        steps=args.steps,
        guidance_scale=args.guidance_scale,
        seed=args.seed,
        progress=lambda steps: tqdm(steps, desc="drawing", unit="run"),
    )
    law, out = found.law(), Path(args.out)
    for aspect in found.shares:
        print(
            f"{aspect}: half of it is decided at log-SNR {found.lost(aspect):.1f}; "
            f"mean {found.mean(aspect):.1f}, deviation {found.deviation(aspect):.1f}"
        )
    record = {**found.as_json(), "base": args.base, "style": args.style, "prompts": list(args.prompts)}
    print(write_json(out / "emergence.json", record))
    print(write_bytes(out / "emergence.png", _emergence_plot(found)))
    print(f'train it with: unicon train style --levels "{law}" ...')
    return law


def _references(folder: str, pipe: Any) -> Any:
    """Pictures of a style as a tensor (n, 3, H, W) of the base's own size."""
    import numpy as np

    from unicon.bases import base_size
    from unicon.data.photos import centred_square, list_photos, load_photo
    from unicon.pictures import as_pictures

    size = base_size(pipe.unet, pipe.vae).own_px
    squares = [centred_square(np.asarray(load_photo(path)), size) for path in list_photos(folder)]
    return as_pictures(squares, "references")


def _emergence_plot(found: Emergence) -> bytes:
    """A PNG: how much of each aspect is there when the style was at work up to a log-SNR."""
    from unicon.extras import need

    need("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for aspect, shares in found.shares.items():
        axes.plot(found.log_snr, shares[1:], marker=".", label=aspect)
    axes.axhline(0, color="grey", linewidth=0.5)
    axes.axhline(1, color="grey", linewidth=0.5)
    axes.set_xlabel("log-SNR up to which the style is at work (lower is noisier)")
    axes.set_ylabel("share of the style that is there")
    axes.legend(fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def base_schedule(base: str) -> Schedule:
    """The noise schedule of a base; of its parts only that is read."""
    from diffusers import DDIMScheduler

    from unicon.sampling.levels import Schedule
    from unicon.sources import explained, find_base, located, split_config, without_network

    base = find_base(base)
    place, revision = located(found := split_config(base)[1] or base)
    with explained(found):
        config = DDIMScheduler.load_config(
            place, subfolder="scheduler", revision=revision, local_files_only=without_network(place)
        )
    return Schedule.from_scheduler(config)


def _line(law: str, table: LevelTable) -> str:
    import torch

    steps = len(table.mass)
    mean = float((table.mass * (torch.arange(steps) + 0.5)).sum())
    late, peak = float(table.mass[round(0.9 * steps) :].sum()), float(table.mass.max()) * steps
    return (
        f"{law}: mean timestep {mean:.0f} of {steps}; {late:.0%} of it in the last tenth; at most {peak:.1f} "
        "times as often as uniform; "
        f"{table.on_schedule:.0%} of the whole law lies on this schedule"
    )


def _plot(schedule: Schedule, tables: dict[str, LevelTable]) -> bytes:
    """A PNG: bars are draws, lines the law itself."""
    import torch

    from unicon.extras import need

    need("matplotlib", extra="eval")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), dpi=120, layout="constrained")
    over_snr, over_time = figure.subplots(1, 2)
    ends = schedule.at_timestep(torch.arange(schedule.last_timestep + 1)).log_snr.clamp(-20, 20)
    for number, (law, table) in enumerate(tables.items()):
        drawn = table.timesteps(torch.rand(DRAWS, generator=torch.Generator().manual_seed(0)))
        colour = f"C{number}"
        snr = schedule.at_timestep(drawn).log_snr.clamp(-20, 20)
        _draw(over_snr, snr, ends.flip(0), table.mass.flip(0), colour, law)
        _draw(over_time, drawn, torch.arange(len(ends)).double(), table.mass, colour, law)
    over_snr.set_xlabel("log-SNR (lower is noisier)")
    over_time.set_xlabel("timestep (higher is noisier)")
    over_snr.set_ylabel("density")
    # Outside: finding the best place among so many points takes a second, and matplotlib warns of it.
    figure.legend(*over_time.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8)
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axes: Any, drawn: Any, edges: Any, mass: Any, colour: str, law: str) -> None:
    """A histogram of draws, and the density between edges as a line."""
    widths = edges.diff()
    there = widths > 0
    middles = ((edges[1:] + edges[:-1]) / 2)[there]
    axes.hist(drawn.numpy(), bins=80, density=True, color=colour, alpha=0.25)
    axes.plot(middles.numpy(), (mass[there] / widths[there]).numpy(), color=colour, label=law, linewidth=1.2)
