"""How many pairs, and how many steps, does an adapter need; and what are pictures without maps worth?

    python benchmarks/amount.py --scenes runs/mini/scenes [--out runs/amount] [--stop-after MINUTES]
    python benchmarks/amount.py --tables     # of what is there so far

A depth adapter of the mini base is trained as a user would train it (`unicon train adapter`) on --pairs
rendered scenes and on 25, 5 and 1 % of them, for the same number of steps; on 5 % with the other 95 % broken
apart, half of them pictures without a map and half maps without a picture (`--unpaired true`); and on all of
them for a half and a quarter of the steps, each with a rate that falls to zero at its end. Smaller sets are
parts of the larger ones.

Measured on scenes that nothing was trained on: `estimate`, AbsRel of the depth estimated from a picture;
`generate`, that of the depth which the judge (mini's own adapter, or --judge) reads from a picture drawn from
an exact map. `another scene's` is the first number with the wrong picture: where the two meet, nothing was
learnt about pictures.

Running it again goes on: each result is a line of results.jsonl, a training half done continues.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import cycle
from pathlib import Path

from eval.metrics.summary import markdown_table, over_seeds
from eval.protocols import scenes
from eval.protocols.drawing import Painter
from eval.protocols.readers import PipelineReader, load_judge
from eval.protocols.scene_set import scene_set
from eval.records import Record, append, read
from train.command import main as train
from train.shards import open_shards
from unicon.bases import base_size
from unicon.devices import pick_device, pick_dtype
from unicon.mini import mini_folder
from unicon.pipeline import UniConPipeline
from unicon.sheets import picture

CONDITION = "depth"
RESULTS = "results.jsonl"
OF_MINI = {"rank": 12, "locality": 11, "clean_timestep": 150, "learning_rate": 4e-3}
"""What mini's own adapters have (docs/training.md)."""
NUMBERS = {"estimate": "estimate", "another scene's": "another", "generate": "generate"}
"""Columns of the table, and what they are called in results."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One training: which share of the pairs, what else, and which share of the steps."""

    pairs: float = 1.0
    unpaired: bool = False
    """Whether the rest of the pairs is there too, each as a picture or a map alone."""
    steps: float = 1.0

    @property
    def name(self) -> str:
        return f"pairs_{self.pairs:g}{'_and_halves' if self.unpaired else ''}_steps_{self.steps:g}"

    @property
    def title(self) -> str:
        rest = " + the rest without a partner" if self.unpaired else ""
        return f"{self.pairs:.0%} of the pairs{rest}"


RUNS = (
    Run(),
    Run(pairs=0.05),
    Run(pairs=0.25),
    Run(pairs=0.05, unpaired=True),
    Run(pairs=0.01),
    Run(steps=0.5),
    Run(steps=0.25),
)
"""What decides most, first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is spent; part of every result."""

    pairs: int = 2048
    steps: int = 240
    batch_size: int = 24
    num: int = 60
    """Scenes that are measured on."""
    seeds: int = 3
    """Of sampling; each adapter is trained once."""
    drawing_steps: int = 20
    judge_steps: int = 1


def write_pairs(source: Path, folder: Path, num: int) -> Path:
    """The first `num` scenes of some shards as a user would have them: image/, depth/, caption/."""
    if folder.exists():
        return folder
    shards = open_shards(source, num)
    if len(shards) < num:
        raise ValueError(f"{source} holds {len(shards)} scenes, {num} were asked for; lower --pairs")
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    for part in ("image", CONDITION, "caption"):
        (temporary / part).mkdir(parents=True)
    for place in range(num):
        for part in ("image", CONDITION):
            picture(shards.row(part, place)).save(temporary / part / f"{place:06d}.png")
        (temporary / "caption" / f"{place:06d}.txt").write_text(shards.captions[place])
    temporary.rename(folder)
    return folder


def write_part(whole: Path, folder: Path, run: Run) -> Path:
    """The pairs of one training, as links to those of `whole`."""
    if folder.exists():
        return folder
    stems = sorted(path.stem for path in (whole / "image").iterdir())
    # Every n-th: the same scenes in every smaller set, spread over the larger one.
    paired = set(stems[:: round(1 / run.pairs)])
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    sides = cycle(["image", CONDITION])
    for stem in stems:
        if stem not in paired and not run.unpaired:
            continue
        parts = ["image", CONDITION] if stem in paired else [next(sides)]
        for part in (*parts, "caption"):
            suffix = "txt" if part == "caption" else "png"
            (temporary / part).mkdir(parents=True, exist_ok=True)
            os.link(whole / part / f"{stem}.{suffix}", temporary / part / f"{stem}.{suffix}")
    temporary.rename(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class Place:
    """What is trained on what, and where results lie."""

    out: Path
    shards: Path
    base: str
    judge: str
    budget: Budget

    def learn(self, run: Run, minutes: float) -> Path | None:
        """The adapter's folder; None when the time is over. ValueError with the reason if it failed."""
        whole = write_pairs(self.shards, self.out / f"pairs_{self.budget.pairs}", self.budget.pairs)
        data = write_part(whole, self.out / f"{whole.name}_{run.name}", run)
        folder = self.out / f"{run.name}_{self.budget.pairs}_{self.budget.steps}x{self.budget.batch_size}"
        fields = {
            **OF_MINI, "data": data, "condition": CONDITION, "base": self.base, "unpaired": run.unpaired,
            "steps": round(self.budget.steps * run.steps), "batch_size": self.budget.batch_size,
            "warmup_steps": round(30 * run.steps), "decay_share": 0.6, "ema_decay": 0.98, "flip": False,
            "cache": (self.out / "cache").resolve(), "validation_pairs": 0, "validate_every": 0,
            "checkpoint_every": 40, "keep_checkpoints": 1,
        }  # fmt: skip
        words = [part for name, value in fields.items() for part in (f"--{name}", _word(value))]
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = train(["adapter", "--out", str(folder), "--stop-after", str(minutes), *words])
        if status not in (0, 3):
            raise ValueError(f"{run.name}: training ended with {status}: {said.getvalue()[-500:]}")
        return folder / "adapter" / "export" if status == 0 else None

    @cached_property
    def pipe(self) -> UniConPipeline:
        """The base with its own depth adapter, in the fastest number format here."""
        pipe = UniConPipeline.from_pretrained(self.base)
        device = pick_device("auto")
        pipe.to(device, pick_dtype(device))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    @cached_property
    def splits(self) -> scenes.SceneSplits:
        size = base_size(self.pipe.unet, self.pipe.vae).own_px
        return scenes.SceneSplits(
            test=scene_set("standard", self.budget.num, size_px=size),
            validation=scene_set("validation", 2, size_px=size),  # depth chooses nothing on them
            training=self.shards,
        )

    def measured(self, export: Path) -> list[dict[str, float]]:
        """Numbers of one trained adapter, a dict per seed."""
        seeds = range(self.budget.seeds)
        folder = mini_folder() if self.judge == "mini" else Path(self.judge)
        judge = load_judge(folder, self.pipe, self.budget.judge_steps, 20)
        self.pipe.load_adapter(export, CONDITION, replace=True)
        steps = self.budget.drawing_steps
        reader = PipelineReader(pipe=self.pipe, steps=steps, batch_size=20)
        painter = Painter(pipe=self.pipe, steps=steps, batch_size=20)
        own, shuffled, *_ = scenes.estimation([reader], CONDITION, self.splits, seeds)
        drawn, *_ = scenes.generation(painter, judge, CONDITION, self.splits, seeds)
        rows = zip(own.scores, shuffled.scores, drawn.scores, strict=False)
        return [
            {"estimate": a.abs_rel, "another": b.abs_rel, "generate": c.abs_rel}  # pyright: ignore[reportAttributeAccessIssue]
            for a, b, c in rows
        ]

    def done(self) -> list[Record]:
        """Results of this budget and judge."""
        path = self.out / RESULTS
        wanted = {**asdict(self.budget), "judge": self.judge, "base": self.base}
        found = read(path) if path.exists() else []
        return [record for record in found if wanted.items() <= record.settings.items()]

    def note(self, run: Run, seed: int, numbers: dict[str, float]) -> None:
        about = {**asdict(self.budget), "judge": self.judge, "base": self.base, **asdict(run), "seed": seed}
        about["pairs"], about["share_of_pairs"] = self.budget.pairs, run.pairs
        about["steps"], about["share_of_steps"] = self.budget.steps, run.steps
        append(self.out / RESULTS, Record(name="amount", numbers=numbers, settings=about))

    def of(self, run: Run) -> list[Record]:
        """Results of one training, one per seed."""
        wanted = {"share_of_pairs": run.pairs, "share_of_steps": run.steps, "unpaired": run.unpaired}
        return [record for record in self.done() if wanted.items() <= record.settings.items()]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def go(place: Place, seconds: float = math.inf) -> int:
    """Train and measure what is not done yet; how many runs are left when the time is over."""
    end, left = time.monotonic() + seconds, [run for run in RUNS if not place.of(run)]
    for number, run in enumerate(left):
        begun = time.monotonic()
        export = place.learn(run, max(0.0, (end - begun) / 60)) if begun < end else None
        if export is None:
            return len(left) - number
        for seed, numbers in enumerate(place.measured(export)):
            place.note(run, seed, numbers)
        print(f"{run.name}: {time.monotonic() - begun:.0f} s; {len(left) - number - 1} left", file=sys.stderr)
    return 0


def table(place: Place) -> str:
    """Markdown; deviations are over seeds of sampling. Raises ValueError where nothing was measured."""
    rows = []
    for run in sorted(RUNS, key=lambda run: (run.steps != 1, run.pairs, run.unpaired)):
        if found := place.of(run):
            row: dict[str, object] = {"trained on": run.title, "pairs": _count(run, place.budget.pairs)}
            row["steps"] = round(place.budget.steps * run.steps)
            for heading, name in NUMBERS.items():
                row[heading] = str(over_seeds([float(record.numbers[name]) for record in found]))
            rows.append(row)
    if not rows:
        raise ValueError(f"{place.out}: holds no results of this budget; run the trainings first")
    return markdown_table(rows)


def _count(run: Run, num: int) -> int:
    return len(range(0, num, round(1 / run.pairs)))


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/amount"))
    parser.add_argument("--scenes", type=Path, default=Path("runs/mini/scenes"), help="rendered shards")
    parser.add_argument("--base", default="mini", help="mini, or a base's folder")
    parser.add_argument("--judge", default="mini", help="who reads maps: a base with adapters, a regressor")
    parser.add_argument("--stop-after", type=float, default=math.inf, metavar="MINUTES")
    parser.add_argument("--tables", action="store_true", help="of what is there; nothing is trained")
    for name, value in asdict(Budget()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    args = parser.parse_args(argv)
    budget = Budget(**{name: getattr(args, name) for name in asdict(Budget())})
    place = Place(out=args.out, shards=args.scenes, base=args.base, judge=args.judge, budget=budget)
    left = 0 if args.tables else go(place, args.stop_after * 60)
    if args.tables or place.done():
        print(table(place))
    print(f"{left} trainings left; run the same command again" if left else "all of it is there")
    return 3 if left else 0


if __name__ == "__main__":
    raise SystemExit(main())
