"""How is `unicon eval control` asked for, and what does it write?

Also for joint samples: give the folder of `unicon joint` as pictures and as maps.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from eval.metrics.summary import over_seeds
from eval.protocols.fidelity import (
    KINDS,
    Fidelity,
    MapReader,
    fidelity,
    folder_reader,
    judge_reader,
    remembering,
)
from eval.protocols.generated import groups, halves
from eval.protocols.readers import BASE, load_judge
from eval.protocols.results import DEVIATION, save, tables
from eval.protocols.setup import add_machine_arguments, load_pipeline, run_command
from eval.records import Record
from eval.runs.settings import digest_of, digest_of_folder, digest_of_reader
from unicon.conditions.annotators import open_annotator
from unicon.data.photos import list_photos, load_photo
from unicon.devices import pick_device
from unicon.sources import find_base

ANOTHER = "generated, another's map"
CONDITIONING, SECOND = "made the condition", "second reader"
"""What a reader is to the maps. Whether the second is held out is for its user to know: where neither the
maps nor the training of what is judged came from it."""


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval control",
        description="Read maps back from generated pictures and compare them with the maps given.",
        epilog="example: unicon eval control --pictures out/generated --maps maps --condition edge "
        "--annotator canny --judge runs/mini/regressor/export --real photos",
    )
    top.add_argument("--pictures", required=True, metavar="DIR", help="named STEM, STEM_0, STEM_seed1, ...")
    top.add_argument("--maps", required=True, metavar="DIR", help="named STEM or STEM_CONDITION")
    top.add_argument("--condition", required=True, metavar="NAME", help=f"known: {', '.join(KINDS)}")
    top.add_argument("--annotator", metavar="NAME", help="the one that made the maps (docs/annotators.md)")
    top.add_argument("--weights", metavar="DIR", help="the annotator's, if not from the hub")
    top.add_argument(
        "--judge",
        metavar="READER",
        help="a second, held-out reader: mini (the small network that ships, for pictures like its scenes), "
        "base (--base itself), or a folder of a judge, a regressor or another base",
    )
    top.add_argument("--base", default="mini", help="base whose VAE a regressor uses (default mini)")
    top.add_argument("--steps", type=int, default=20, metavar="N", help="of a judge that is a base")
    top.add_argument(
        "--read", action="append", default=[], metavar="NAME=DIR",
        help="maps that another model has read already, by the pictures' stems; may be repeated",
    )  # fmt: skip
    top.add_argument("--real", metavar="DIR", help="the pictures the maps were made of: what can be reached")
    top.add_argument("--palette", metavar="FILE", help=".npy (classes, 3) uint8, of segmentation")
    top.add_argument("--keep", metavar="DIR", help="keep maps that were read here, and continue from them")
    add_machine_arguments(top)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Read, compare, write records, print the table; 2 with the reason on bad input."""
    top = parser()
    return run_command(top, partial(_run, top.parse_args(argv)))


def _run(arguments: argparse.Namespace) -> str:
    if arguments.condition not in KINDS:
        raise ValueError(f"--condition is {arguments.condition!r}; known: {', '.join(KINDS)}")
    pictures, maps = halves(arguments.pictures, arguments.maps, arguments.condition)
    made = groups(pictures, list(maps))
    made = {stem: files for stem, files in made.items() if files}
    given = {stem: np.asarray(load_photo(maps[stem])).astype(np.float32) / 255 for stem in made}
    sets = {"generated": made}
    pairs = another_of_its_size({stem: values.shape for stem, values in given.items()})
    if pairs:
        sets[ANOTHER] = {stem: made[other] for stem, other in pairs.items()}
    if arguments.real:
        real = {path.stem: [path] for path in list_photos(arguments.real)}
        if lacking := [stem for stem in made if stem not in real]:
            raise ValueError(f"{arguments.real}: has no picture {lacking[0]}; {len(lacking)} are missing")
        sets["the real pictures"] = {stem: real[stem] for stem in made}
    records = []
    for (name, role), reader in _readers(arguments).items():
        for prediction, files in sets.items():
            bar = partial(tqdm, desc=f"{name}, {prediction}", unit="map", leave=False)
            asked = {stem: given[stem] for stem in files}
            found = fidelity(
                reader, KINDS[arguments.condition], asked, files, palette=_palette(arguments), progress=bar
            )
            fresh = _record(arguments, found, prediction, name, role, len(maps) - len(files))
            save(arguments.out, [fresh])
            records.append(fresh)
    alone = len(given) - len(pairs)
    note = f"{ANOTHER}: {alone} of {len(given)} maps have a size that no other has, and are left out of it"
    return "\n\n".join([tables(records), *([note] if alone else [])])


def another_of_its_size(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """To each stem the next one whose map has the same shape; stems alone with theirs are left out."""
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for stem, shape in shapes.items():
        by_shape.setdefault(shape, []).append(stem)
    found = {
        stem: other
        for stems in by_shape.values()
        if len(stems) > 1
        for stem, other in zip(stems, stems[1:] + stems[:1], strict=True)
    }
    return {stem: found[stem] for stem in shapes if stem in found}


def _record(
    arguments: argparse.Namespace, found: Fidelity, prediction: str, reader: str, role: str, unused: int
) -> Record:
    numbers: dict[str, float | int] = {}
    for name in found.scores[0]:
        summary = over_seeds([score[name] for score in found.scores])
        numbers[name] = summary.mean
        if summary.num > 1:
            numbers[name + DEVIATION] = summary.deviation
    return Record(
        name=f"control/{arguments.condition}",
        numbers=numbers | {"num": found.num},
        settings={
            "prediction": prediction, "read_by": reader, "reader": role, "groups": len(found.scores),
            "num_maps": found.num_conditions, "num_maps_unused": unused, "num_resized": found.num_resized,
            "num_without_content": found.num_unread,
        },
    )  # fmt: skip


def _readers(arguments: argparse.Namespace) -> dict[tuple[str, str], MapReader]:
    """By name and role, each made ready."""
    found: dict[tuple[str, str], MapReader] = {}
    keep = Path(arguments.keep) if arguments.keep else None
    family = _family(arguments.condition)
    device = str(pick_device(arguments.device))
    if arguments.annotator:
        annotator = open_annotator(family, arguments.annotator, weights=arguments.weights, device=device)
        facts = annotator.facts() | {"weights digest": digest_of_folder(arguments.weights)}
        found[annotator.card.name, CONDITIONING] = remembering(annotator, keep, facts)
    if arguments.judge:
        pipe = load_pipeline(arguments.base, arguments.device, "float32", [])
        chosen = find_base(arguments.base) if arguments.judge == BASE else arguments.judge
        judge = load_judge(chosen, pipe, arguments.steps, arguments.batch_size)
        # A judge that is a regressor sees through this base's VAE.
        facts = {
            "judge": digest_of_reader(chosen), "vae": digest_of(pipe.vae), "steps": arguments.steps,
            "condition": family,
        }  # fmt: skip
        found[judge.name, SECOND] = remembering(judge_reader(judge, family), keep, facts)
    for text in arguments.read:
        name, sign, folder = text.partition("=")
        if not sign:
            raise ValueError(f"--read is {text!r}; expected NAME=DIR")
        found[name, "given maps"] = folder_reader({p.stem: p for p in list_photos(folder)})
    if not found:
        raise ValueError("nobody reads the maps back: give --annotator, --judge or --read NAME=DIR")
    return found


def _family(condition: str) -> str:
    """The annotators' name of a condition."""
    kind = KINDS[condition]
    return "edge" if kind == "lines" else kind


def _palette(arguments: argparse.Namespace) -> np.ndarray | None:
    if not arguments.palette:
        return None
    try:
        return np.load(arguments.palette, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{arguments.palette}: is no .npy file ({error})") from error
