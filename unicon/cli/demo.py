"""How does a user see every direction at work, and how good it is, with one command?

Held-out scenes are rendered, drawn and read in all directions (`demo_stages`), scored (`demo_errors`), and
written as a labelled contact sheet, single pictures and `report.json`. Nothing is written before all is done.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from unicon.cli.files import write_json, write_picture
from unicon.cli.generate import GUIDANCE_HELP
from unicon.cli.models import add_run_options, load_pipeline, own_size_px
from unicon.typed import positive

if TYPE_CHECKING:
    from PIL import Image

    from unicon.cli.demo_stages import Outcome, Row, Studio
    from unicon.data.scenes import Scene
    from unicon.pipeline import UniConPipeline

EXAMPLE = "%(prog)s --out out/demo --photo holiday.jpg"
SEEDS_APART = 100
"""Scene seeds lie this far apart for neighbouring --seed, so that runs do not share scenes."""
TRAINING_SEEDS = 1_000_000
"""Training scenes have seeds from here on."""
FEWEST_JOINTS = 12
"""Visible joints of a figure that is worth drawing; of 18."""
WAYS = {
    "estimation": "the estimated maps against the scenes' exact ones",
    "generation": "the map read back from the picture against the scene whose map it was drawn from",
    "joint": "the drawn map against the map read from the picture drawn with it",
    "meaning": "pictures drawn from an embedding against the scene: any, from that of the scene's own "
    "picture; prior, from the one that the prior makes of the caption, whose own cosine is embedding_cosine",
    "best_possible": "the exact maps scored like estimated ones: drawing and reading them loses a little",
    "read_back_by": "the same pipeline's own estimation, which is no independent judge",
    "depth": "AbsRel and delta1 in metres after a fit of scale and shift; for joint, the correlation and the "
    "mean difference after that fit, as shares of the map's range",
    "edge": "F1 of one-pixel lines within 2 px",
    "pose": "share of visible joints within a tenth of the figure's larger side (PCK@0.1)",
    "appearance": "cosine of the base's own image embeddings; left out for a base without an image encoder",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--photo", metavar="FILE", help="a photograph to estimate (default: the packaged one)"
    )
    parser.add_argument(
        "--scenes", type=positive, default=4, metavar="N",
        help="held-out scenes that are drawn and measured; the sheet shows one per condition (default 4)",
    )  # fmt: skip
    parser.add_argument(
        "--guidance-scale", type=float, default=None, metavar="N",
        help=GUIDANCE_HELP,
    )  # fmt: skip
    add_run_options(parser, out="out/demo")


def run(args: argparse.Namespace) -> None:
    seconds: dict[str, float] = {}
    photo = read_photo(args.photo)
    with timed(seconds, "loading"):
        pipe = load_pipeline(args)
        conditions = usable(pipe, base=args.base)
    with timed(seconds, "scenes"):
        scenes = list(pick_scenes(args.seed * SEEDS_APART, args.scenes, own_size_px(pipe)))
    outcomes = perform(studio_of(args, pipe, scenes, conditions, photo), seconds)
    files = write(Path(args.out), outcomes, conditions)
    report = report_of(args, pipe, scenes, outcomes, seconds, photo=photo is not None)
    files.append(write_json(Path(args.out) / "report.json", report))
    summarise(outcomes, seconds)
    print(f"{Path(args.out) / 'sheet.png'}, report.json and {len(files) - 2} pictures in {args.out}")


def studio_of(
    args: argparse.Namespace, pipe: UniConPipeline, scenes: Sequence[Scene], conditions: Sequence[str],
    photo: Image.Image | None,
) -> Studio:  # fmt: skip
    """What the stages work with, as asked for on the command line."""
    from unicon.cli.demo_stages import Studio

    return Studio(
        pipe=pipe,
        scenes=scenes,
        conditions=conditions,
        photo=photo,
        steps=args.steps,
        seed=args.seed,
        guidance_scale=args.guidance_scale,
    )


def read_photo(name: str | None) -> Image.Image | None:
    """The user's photograph, else the packaged one, else none, with a word about that."""
    import unicon.mini
    from unicon.data.photos import load_photo

    packaged = Path(unicon.mini.__file__).with_name("photo.jpg")
    if name is None and not packaged.exists():
        print("no photograph: name one with --photo FILE to see its maps", file=sys.stderr)
        return None
    return load_photo(name or packaged)


def usable(pipe: UniConPipeline, *, base: str) -> list[str]:
    """The demo's conditions for which an adapter is loaded; ValueError when there is none."""
    from unicon.cli.demo_stages import CONDITIONS

    found = [name for name in CONDITIONS if name in pipe.adapters]
    if not found:
        raise ValueError(
            f"--base {base} has no adapter for {', '.join(CONDITIONS)}; load one with --adapter FOLDER"
        )
    if missing := [name for name in CONDITIONS if name not in found]:
        print(f"no adapter for {', '.join(missing)}: left out", file=sys.stderr)
    return found


def pick_scenes(first_seed: int, num: int, size_px: int) -> Iterator[Scene]:
    """Held-out scenes with a second view and at least one figure that can be seen well."""
    from tqdm import tqdm

    from unicon.data.scenes import SceneConfig, render

    config = SceneConfig(size=size_px, require_kinds=("person",))
    seed = first_seed % TRAINING_SEEDS
    with tqdm(total=num, desc="  scenes", leave=False) as bar:
        while bar.n < num:
            scene = render(seed % TRAINING_SEEDS, config)
            seed += 1
            if scene.second_image is not None and _shows_a_figure(scene):
                bar.update()
                yield scene


def _shows_a_figure(scene: Scene) -> bool:
    return any(joints[:, 2].sum() >= FEWEST_JOINTS for joints in scene.joints)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Enter the time of a block into `seconds`."""
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 2)


def perform(studio: Studio, seconds: dict[str, float]) -> dict[str, Outcome]:
    """Every stage in order, its time, and a line when it is done."""
    from unicon.cli.demo_stages import STAGES

    outcomes = {}
    for number, (name, stage) in enumerate(STAGES.items(), start=1):
        with timed(seconds, name):
            outcomes[name] = stage(studio)
        print(f"{number}/{len(STAGES)} {name.replace('_', ' ')}: {seconds[name]:.1f} s", file=sys.stderr)
    return outcomes


def write(out: Path, outcomes: dict[str, Outcome], conditions: Sequence[str]) -> list[Path]:
    """The sheet, and every picture on it."""
    rows = [row for outcome in outcomes.values() for row in outcome.rows]
    files = [write_picture(out / "sheet.png", sheet(rows, conditions))]
    for row in rows:
        for condition in conditions:
            if condition in row.pictures:
                picture = _shown(row, condition, conditions)
                files.append(write_picture(out / f"{condition}_{row.name}.png", picture))
    return list(dict.fromkeys(files))


def sheet(rows: Sequence[Row], conditions: Sequence[str]) -> Image.Image:
    """Two panels of rows, so that the whole fits a screen."""
    from unicon.sheets import side_by_side

    half = -(-len(rows) // 2)
    return side_by_side([_panel(part, conditions) for part in (rows[:half], rows[half:]) if part])


def _panel(rows: Sequence[Row], conditions: Sequence[str]) -> Image.Image:
    """A column per condition, each on a scene of its own where there are as many."""
    from unicon.sheets import contact_sheet

    return contact_sheet(
        [[_shown(row, c, conditions) if c in row.pictures else None for c in conditions] for row in rows],
        row_labels=[row.label for row in rows],
        column_labels=conditions,
        notes=[[_note(row, c, conditions) for c in conditions] for row in rows],
    )


def _shown(row: Row, condition: str, conditions: Sequence[str]) -> Image.Image:
    pictures = row.pictures[condition]
    return pictures[conditions.index(condition) % len(pictures)]


def _note(row: Row, condition: str, conditions: Sequence[str]) -> str:
    notes = row.notes.get(condition) or [""]
    return notes[conditions.index(condition) % len(notes)]


def report_of(
    args: argparse.Namespace, pipe: UniConPipeline, scenes: Sequence[Scene], outcomes: dict[str, Outcome],
    seconds: dict[str, float], *, photo: bool,
) -> dict[str, object]:  # fmt: skip
    """Everything one must know about this run."""
    from datetime import datetime, timezone

    from eval.records import commit, versions

    return {
        "errors": {name: outcome.errors for name, outcome in outcomes.items() if outcome.errors},
        "best_possible": best_possible(scenes),
        "how_measured": WAYS,
        "scenes": [{"seed": scene.seed, "caption": scene.caption} for scene in scenes],
        "photograph": (args.photo or "packaged") if photo else None,
        "seconds": {**seconds, "total": round(sum(seconds.values()), 2)},
        "base": args.base,
        "device": str(pipe.device),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "steps": args.steps,
        "guidance_scale": pipe.usual_guidance_scale if args.guidance_scale is None else args.guidance_scale,
        "seed": args.seed,
        "commit": commit(),
        "versions": versions(),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def best_possible(scenes: Sequence[Scene]) -> dict[str, dict[str, float]]:
    """The errors of the exact maps themselves."""
    from unicon.cli.demo_errors import against_scenes
    from unicon.cli.demo_stages import CONDITIONS
    from unicon.conditions.arrays import as_map
    from unicon.data.scenes import exact_map

    found = {}
    for condition in CONDITIONS:
        maps = [as_map(exact_map(scene, condition), condition) for scene in scenes]
        score = against_scenes(condition, maps, scenes)
        if score is not None:
            found[condition] = score.numbers
    return found


def summarise(outcomes: dict[str, Outcome], seconds: dict[str, float]) -> None:
    """The errors as a small table, and the time."""
    for name, outcome in outcomes.items():
        for condition, numbers in outcome.errors.items():
            values = ", ".join(f"{key} {value:.3f}" for key, value in numbers.items())
            print(f"  {name:<12} {condition:<11} {values}")
    print(f"{sum(seconds.values()):.0f} s in all")
