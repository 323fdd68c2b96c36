"""How many steps, and how many estimates, is a photograph worth?

    python benchmarks/photo_steps.py --nyu nyu_depth_v2 --bsds bsds500/val --lsp lsp_extended --out FILE
    python benchmarks/photo_steps.py --out FILE --tables     # of what is there so far

Depth of rooms, boundaries and poses of athletes, estimated by a base's own adapters and measured as the
suites of `unicon eval` measure them. For every number of steps the largest ensemble is estimated once, the
smaller ones are its first members; of several, what they say together is measured, as
`unicon estimate --ensemble` writes it (`unicon.conditions.ensembles`). Running it again goes on: a line of
--out is one number of steps.

`seconds` is what one photo takes when it comes alone, encoding and decoding included, the median over --timed
photos: it wants a quiet machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from tqdm import tqdm

from eval.metrics.summary import markdown_table
from eval.protocols.readers import generators
from eval.protocols.setup import load_pipeline
from eval.records import Record, append, read
from eval.runs.items import Item, Sample
from eval.runs.measures.measure import Measure
from eval.suites import bsds, lsp, nyu_depth
from unicon.bases import base_size
from unicon.conditions.ensembles import TOGETHER, combined
from unicon.pipeline import UniConPipeline

SUITES = {"nyu": nyu_depth.SUITE, "bsds": bsds.SUITE, "lsp": lsp.SUITE}
NUMBER = {"nyu": "abs_rel", "bsds": "ods", "lsp": "pck_bbox"}
"""What each set is told in; the others are in the records."""
BATCH = 24
"""Estimates per call."""
CLOSE = 1.05
"""How much worse than most steps is still called as good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photos:
    """One set, opened."""

    condition: str
    items: Sequence[Item]
    measure: Measure


def open_photos(name: str, folder: str, num: int | None, thresholds: int, pipe: UniConPipeline) -> Photos:
    """The first `num` held-out photos of a set, all by default."""
    suite = SUITES[name]
    top = argparse.ArgumentParser()
    suite.configure(top)
    options = ["--data", folder, *(["--thresholds", str(thresholds)] if name == "bsds" else [])]
    arguments = top.parse_args(options, argparse.Namespace(num=num))
    (condition,) = suite.conditions
    material = suite.open(arguments, suite.conditions, base_size(pipe.unet, pipe.vae).own_px)
    return Photos(condition=condition, items=material.items, measure=material.measures[condition][0])


def estimates(
    pipe: UniConPipeline, item: Item, condition: str, steps: int, members: int, seed: int
) -> np.ndarray:
    """Maps (members, H, W, 3) in [0, 1] of one photo; a member's noise is the same in every ensemble."""
    drawn = generators([item.key], seed, "estimate", members)
    parts = []
    for start in range(0, members, BATCH):
        some = drawn[start : start + BATCH]
        out = pipe(
            image=item.image[None], outputs=[condition], num_inference_steps=steps,
            ensemble_size=len(some), generator=some, output_type="np",
        )  # fmt: skip
        parts.append(out.members[condition][:, 0] if len(some) > 1 else out.maps[condition])
    return np.concatenate(parts)


def measured(
    pipe: UniConPipeline, photos: Photos, steps: int, sizes: Sequence[int], seed: int
) -> dict[str, float]:
    """The set's numbers for every size of ensemble, as "NUMBER/SIZE"."""
    condition, facts = photos.condition, {size: [] for size in sizes}
    for item in tqdm(photos.items, desc=f"{condition}, {steps} steps", unit="photo", leave=False):
        members = estimates(pipe, item, condition, steps, max(sizes), seed)
        for size in sizes:
            found = combined(members[:size], condition).map
            sample = Sample(item=item, condition=condition, map=found, truth=item.truth[condition])
            facts[size].append(photos.measure.facts(sample))
    numbers = {}
    for size, rows in facts.items():
        known = [row for row in rows if row is not None]
        for name, value in photos.measure.of(np.sum(known, axis=0), len(known)).items():
            numbers[f"{name}/{size}"] = value
    return numbers


def timed(
    pipe: UniConPipeline, photos: Photos, steps: int, sizes: Sequence[int], num: int
) -> dict[str, float]:
    """Median seconds of one photo that comes alone, for every size of ensemble, as "seconds/SIZE"."""
    found = {}
    for size in sizes:
        spent = []
        for item in list(photos.items[: num + 1]):
            begun = time.perf_counter()
            estimates(pipe, item, photos.condition, steps, size, 0)
            spent.append(time.perf_counter() - begun)
        found[f"seconds/{size}"] = float(np.median(spent[1:]))  # the first one warms up
    return found


def run(args: argparse.Namespace) -> None:
    """Measure what --out does not hold yet."""
    from timing import processor_name  # beside this script

    folders = {name: folder for name in SUITES if (folder := getattr(args, name))}
    pipe = load_pipeline(args.base, "auto", args.dtype, [SUITES[n].conditions[0] for n in folders])
    pipe.set_progress_bar_config(disable=True)
    for name, folder in folders.items():
        photos = open_photos(name, folder, args.num, args.thresholds, pipe)
        for steps, seed in product(args.steps, range(args.seeds)):
            settings = {
                "set": name, "steps": steps, "seed": seed, "photos": len(photos.items), "base": args.base,
                "dtype": str(pipe.unet.dtype).removeprefix("torch."), "sizes": ",".join(map(str, args.sizes)),
                "convention": photos.measure.convention,
            }  # fmt: skip
            if (together := TOGETHER.get(photos.condition)) is not None:
                settings["ensembles"] = together  # records that do not say so have medians
            if any(settings.items() <= record.settings.items() for record in records(args.out)):
                continue
            numbers = measured(pipe, photos, steps, args.sizes, seed)
            if args.timed and seed == 0:
                numbers |= timed(pipe, photos, steps, args.sizes, args.timed)
            append(
                args.out,
                Record(
                    name=f"photo_steps/{name}",
                    numbers=numbers,
                    settings={**settings, "processor": processor_name()},
                ),
            )


def records(path: Path) -> list[Record]:
    """What is there."""
    return read(path) if path.exists() else []


def tables(found: Sequence[Record]) -> Iterator[str]:
    """Markdown, one table per set: a row for every number of steps, a column for every ensemble."""
    for name in dict.fromkeys(record.name for record in found):
        rows = [record for record in found if record.name == name]
        sizes = sorted({int(size) for r in rows for size in str(r.settings["sizes"]).split(",")})
        first = NUMBER[str(rows[0].settings["set"])]
        by_steps: dict[int, list[Record]] = {}
        for record in rows:
            by_steps.setdefault(int(record.settings["steps"]), []).append(record)
        lines = [_row(steps, each, sizes, first) for steps, each in sorted(by_steps.items())]
        yield (
            f"{name}: {first} of {rows[0].settings['photos']} photos, "
            f"{max(map(len, by_steps.values()))} seeds\n\n{markdown_table(lines)}\n\n"
            f"{verdict(by_steps, first, min(sizes))}\n"
        )


def _row(steps: int, rows: Sequence[Record], sizes: Sequence[int], first: str) -> dict[str, object]:
    row: dict[str, object] = {"steps": steps}
    for size in sizes:
        title = "one estimate" if size == 1 else f"ensemble of {size}"
        row[title] = _mean(rows, f"{first}/{size}", 3)
    for size in sizes:
        row[f"seconds, {size}"] = _mean(rows, f"seconds/{size}", 2)
    return row


def _mean(rows: Sequence[Record], name: str, digits: int) -> str:
    values = [record.numbers[name] for record in rows if name in record.numbers]
    return f"{np.mean(values):.{digits}f}" if values else "-"


def verdict(by_steps: dict[int, list[Record]], first: str, size: int) -> str:
    """The fewest steps that are within 5% of the most, of ensembles of one size."""
    mean = {
        steps: float(np.mean([record.numbers[f"{first}/{size}"] for record in rows]))
        for steps, rows in by_steps.items()
    }
    most, lower_is_better = mean[max(mean)], first.startswith("abs_rel")

    def is_close(value: float) -> bool:
        return value <= most * CLOSE if lower_is_better else value >= most / CLOSE

    fewest = min(steps for steps, value in mean.items() if is_close(value))
    return f"Fewest steps within {CLOSE - 1:.0%} of {max(mean)}, ensembles of {size}: {fewest}."


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option in ("--nyu", "--bsds", "--lsp"):
        suite = SUITES[option[2:]]
        parser.add_argument(option, metavar="DIR", help=f"measure {suite.help}")
    parser.add_argument("--base", default="mini", help="a base with these adapters (default mini)")
    parser.add_argument("--steps", type=_numbers, default=(1, 2, 4, 10, 50), metavar="LIST")
    parser.add_argument("--sizes", type=_numbers, default=(1, 5, 10), metavar="LIST", help="of ensembles")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="ensembles of each (default 1)")
    parser.add_argument("--num", type=int, metavar="N", help="the first N photos (default all held out)")
    parser.add_argument("--thresholds", type=int, default=33, help="of the boundary benchmark (default 33)")
    parser.add_argument("--timed", type=int, default=5, metavar="N", help="photos timed alone (default 5)")
    parser.add_argument("--dtype", default="auto", help="auto (the fastest here), float32, bfloat16, ...")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="records, a line of JSON each"
    )
    parser.add_argument("--tables", action="store_true", help="print tables of what is there")
    return parser.parse_args(argv)


def _numbers(text: str) -> tuple[int, ...]:
    found = tuple(sorted({int(part) for part in text.split(",")}))
    if not found or found[0] < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}; give numbers from 1 on, such as 1,5,10")
    return found


if __name__ == "__main__":
    arguments = parse()
    if arguments.tables:
        print("\n".join(tables(records(arguments.out))))
    else:
        run(arguments)
