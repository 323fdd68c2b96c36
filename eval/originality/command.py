"""How is `unicon eval originality` asked for, and what does it write?"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from adapters.files import existing, write_whole
from eval.features import MINI, Extractor, add_resizing, find_pictures, resizing
from eval.originality.assessment import Assessment, assess
from eval.originality.page import as_csv, as_html
from eval.originality.selection import check_number, keep_rarest
from eval.protocols.setup import run_command
from eval.records import Record
from unicon.data.photos import SUFFIXES
from unicon.devices import pick_device


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval originality",
        description="Judge generated pictures beside a training set: rarity, realism, near-copies.",
        epilog="example: unicon eval originality --generated out/samples --training data/photos "
        "--out out/originality",
    )
    top.add_argument("--generated", required=True, metavar="DIR", help="folder of pictures, or pairs")
    top.add_argument("--training", required=True, metavar="DIR", help="folder of pictures, or pairs")
    top.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    top.add_argument("--features", default=MINI, metavar="MODEL", help="mini, or a transformers vision model")
    add_resizing(top)
    top.add_argument("--neighbour", type=int, default=3, metavar="K", help="k of the manifold (default 3)")
    top.add_argument(
        "--level", type=float, default=0.01, help="share of false alarms of near-copies (default 0.01)"
    )
    top.add_argument("--truncation", metavar="FILE", help="CSV with columns name and truncation, if known")
    top.add_argument("--keep", type=int, metavar="N", help="also name the N rarest that are no near-copies")
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Write originality.html, originality.csv and report.json; 2 with the reason on bad input."""
    top = parser()
    return run_command(top, partial(_run, top.parse_args(argv)))


def _run(arguments: argparse.Namespace) -> str:
    generated, training = find_pictures(arguments.generated), find_pictures(arguments.training)
    if arguments.keep is not None:
        check_number(arguments.keep)
    psis, told = {}, ""
    if arguments.truncation:
        given = read_truncation(Path(arguments.truncation))
        psis = matched(given, generated.names, arguments.truncation)
        told = how_many_matched(given, psis, generated.names, arguments.truncation)
    device = str(pick_device(arguments.device))
    found = assess(
        generated, training, Extractor(arguments.features, device=device, **resizing(arguments)),
        k=arguments.neighbour, level=arguments.level, truncation=psis,
    )  # fmt: skip
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    title = f"{Path(arguments.generated).name} beside {Path(arguments.training).name}"
    texts = {"originality.csv": as_csv(found)}
    texts["originality.html"] = as_html(found, generated, training, title)
    texts["report.json"] = as_report(found, arguments)
    if arguments.keep is not None:
        names = rarest_names(found, arguments.keep)
        texts["rarest.txt"] = "".join(f"{name}\n" for name in names)
        told += f"{how_many_kept(found, len(names), arguments.keep)}\n"
    for name, text in texts.items():
        write_whole(out / name, partial(_write, text=text))
    return (
        f"{found.rarity.summary}\n{found.num_copies} of {len(found.rows)} are near-copies by look at a false "
        f"alarm rate of {found.look.level:g}\n{told}{', '.join(texts)} in {out}"
    )


def as_report(found: Assessment, arguments: argparse.Namespace) -> str:
    """The set's numbers with their provenance, as one record."""
    one = found.rarity.summary
    numbers = {
        "rarity": one.mean, "precision": found.precision, "recall": found.recall, "coverage": found.coverage,
        "near_copies": found.num_copies, "num_real": one.num_real, "num_fake": one.num_fake,
    }  # fmt: skip
    known = {name: value for name, value in numbers.items() if value is not None}
    record = Record(
        name="originality", numbers=known,
        settings={
            "generated": str(arguments.generated), "training": str(arguments.training), "k": one.k,
            "features": one.features, "false_alarms": found.look.level,
        },
    )  # fmt: skip
    return json.dumps(asdict(record), indent=2, allow_nan=False) + "\n"


def rarest_names(found: Assessment, num: int) -> list[str]:
    """The rarest in the manifold that are no near-copies; fewer than `num` where fewer are.

    Realism has no say: it reads the denser half of the balls, so that it reaches 1 only where rarity is at
    most the median radius.
    """
    kept = keep_rarest(found.rarity, num, exclude=np.array([row.is_copy for row in found.rows]))
    return [found.rows[place].name for place in kept]


def how_many_kept(found: Assessment, kept: int, num: int) -> str:
    """Of the `num` asked for, and where fewer were found, why."""
    if kept == num:
        return f"kept {kept} of {num}"
    outside = int((~found.rarity.in_manifold).sum())
    copies = sum(row.is_copy for row in found.rows if row.rarity is not None)
    return (
        f"kept {kept} of {num}: of {len(found.rows)} generated pictures {outside} lie outside the manifold, "
        f"and {copies} within are near-copies"
    )


def read_truncation(path: Path) -> dict[str, float]:
    """psi by name; ValueError naming the line for what is no such table."""
    with existing(path, "a CSV with columns name and truncation was asked for").open(newline="") as file:
        reader = csv.DictReader(file)
        if not {"name", "truncation"} <= set(reader.fieldnames or ()):
            raise ValueError(f"{path} has columns {reader.fieldnames}; expected name and truncation")
        found = {}
        for number, row in enumerate(reader, start=2):
            try:
                found[row["name"]] = float(row["truncation"])
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}; expected a number") from error
    return found


def matched(psis: Mapping[str, float], names: Sequence[str], source: str) -> dict[str, float]:
    """psi of the pictures that `psis` names, by their whole names, or without ending and folders.

    Raises ValueError naming the `source` when it names none of them.
    """
    by_stem = {_stem(name): psi for name, psi in psis.items()}
    found = {name: psis.get(name, by_stem.get(_stem(name))) for name in names}
    known = {name: psi for name, psi in found.items() if psi is not None}
    if not known:
        raise ValueError(
            f"{source}: none of its {len(psis)} names, such as {next(iter(psis), '')!r}, is a generated "
            f"picture's; those are named as {names[0]!r}"
        )
    return known


def how_many_matched(
    psis: Mapping[str, float], known: Mapping[str, float], names: Sequence[str], source: str
) -> str:
    """A line on what was given for no picture and not given for some; empty where all is in order. `known` is
    what `matched` found."""
    stems = {_stem(name) for name in names}
    idle = sum(_stem(name) not in stems for name in psis)
    lacking = len(names) - len(known)
    return (
        f"truncation of {len(names) - lacking} of {len(names)} pictures is known; {idle} of {len(psis)} "
        f"names in {source} are no generated picture's\n"
        if idle or lacking
        else ""
    )


def _stem(name: str) -> str:
    """Without folders, and without an ending where it is a picture's: a stem may hold a dot ("p_0.5")."""
    path = Path(name)
    return path.stem if path.suffix.lower() in SUFFIXES else path.name


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
