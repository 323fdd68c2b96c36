"""How does a user see which noise levels a law trains, on the schedule of their base?"""

from __future__ import annotations

import argparse
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unicon.cli.files import write_bytes

if TYPE_CHECKING:
    from train.levels import LevelTable
    from unicon.sampling.levels import Schedule

EXAMPLE = '%(prog)s uniform style_friendly "0.8 style_friendly + 0.2 uniform" --out out/levels'
DRAWS = 200_000


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("laws", nargs="+", metavar="LAW", help='such as uniform, or "normal(-4, 2)"')
    parser.add_argument(
        "--base", default="mini", help="whose schedule: mini, a folder, a hub id (default mini)"
    )
    parser.add_argument(
        "--out", default="out/levels", metavar="DIR", help="folder to write (default out/levels)"
    )


def run(args: argparse.Namespace) -> None:
    """Print each law's numbers and draw it beside what is drawn from it, over log-SNR and over time."""
    from train.levels import parse_law

    schedule = base_schedule(args.base)
    tables = {law: parse_law(law)(schedule) for law in args.laws}
    for law, table in tables.items():
        print(_line(law, table))
    print(write_bytes(Path(args.out) / "levels.png", _plot(schedule, tables)))


def base_schedule(base: str) -> Schedule:
    """The noise schedule of a base; of its parts only that is read."""
    from diffusers import DDIMScheduler

    from unicon.sampling.levels import Schedule
    from unicon.sources import find_base

    return Schedule.from_scheduler(DDIMScheduler.load_config(find_base(base), subfolder="scheduler"))


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
    over_time.legend(fontsize=8)
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
