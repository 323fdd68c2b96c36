"""How is `unicon eval control` asked for, and what does it write?

Also for joint samples: give the folder of `unicon joint` as pictures and as maps.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tqdm import tqdm

from eval.command import command
from eval.metrics.summary import over_seeds
from eval.protocols.fidelity import KINDS, Fidelity, MapFiles, check_comparable, fidelity
from eval.protocols.generated import groups, halves
from eval.protocols.map_readers import add_map_reader_arguments, map_readers, palette_of
from eval.protocols.results import DEVIATION, save, tables
from eval.protocols.setup import add_machine_arguments
from eval.records import Record
from unicon.data.photos import list_photos, upright_size

ANOTHER = "generated, another's map"


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval control",
        description="Read maps back from generated pictures and compare them with the maps given.",
        epilog="example: unicon eval control --generated out/generated --maps maps --condition edge "
        "--annotator canny --judge runs/mini/regressor/export --real photos",
    )
    top.add_argument("--generated", required=True, metavar="DIR", help="named STEM, STEM_0, STEM_seed1, ...")
    top.add_argument("--maps", required=True, metavar="DIR", help="named STEM or STEM_CONDITION")
    top.add_argument("--condition", required=True, metavar="NAME", help=f"known: {', '.join(KINDS)}")
    add_map_reader_arguments(top)
    top.add_argument("--real", metavar="DIR", help="the pictures the maps were made of: what can be reached")
    top.add_argument("--cache", metavar="DIR", help="where maps that were read are kept for the next run")
    add_machine_arguments(top)
    return top


def _run(arguments: argparse.Namespace) -> str:
    if arguments.condition not in KINDS:
        raise ValueError(f"--condition is {arguments.condition!r}; known: {', '.join(KINDS)}")
    pictures, maps = halves(arguments.generated, arguments.maps, arguments.condition)
    made = groups(pictures, list(maps))
    made = {stem: files for stem, files in made.items() if files}
    sets = {"generated": made}
    pairs = another_of_its_size({stem: upright_size(maps[stem]) for stem in made})
    if pairs:
        sets[ANOTHER] = {stem: made[other] for stem, other in pairs.items()}
    if arguments.real:
        real = {path.stem: [path] for path in list_photos(arguments.real)}
        if lacking := [stem for stem in made if stem not in real]:
            raise ValueError(f"{arguments.real}: has no picture {lacking[0]}; {len(lacking)} are missing")
        sets["the real pictures"] = {stem: real[stem] for stem in made}
    kind, palette = KINDS[arguments.condition], palette_of(arguments)
    for files in sets.values():  # before anything is read, which may take hours
        check_comparable(kind, {stem: maps[stem] for stem in files}, files, palette=palette)
    records = []
    keep = Path(arguments.cache) if arguments.cache else None
    paths = [path for files in sets.values() for group in files.values() for path in group]
    for (name, role), reader in map_readers(arguments, keep, arguments.batch_size, paths).items():
        found = fidelity(
            reader, kind, MapFiles(maps), sets, batch_size=arguments.batch_size, palette=palette,
            progress=partial(tqdm, desc=name, unit="picture", leave=False),
        )  # fmt: skip
        fresh = [
            _record(arguments, each, way, name, role, len(maps) - len(sets[way]))
            for way, each in found.items()
        ]
        save(arguments.out, fresh)
        records += fresh
    alone = len(made) - len(pairs)
    note = f"{ANOTHER}: {alone} of {len(made)} maps have a size that no other has, and are left out of it"
    return "\n\n".join([tables(records), *([note] if alone else [])])


def another_of_its_size(sizes: Mapping[str, tuple[int, int]]) -> dict[str, str]:
    """To each stem the next one whose map has the same size; stems alone with theirs are left out."""
    by_size: dict[tuple[int, int], list[str]] = {}
    for stem, size in sizes.items():
        by_size.setdefault(size, []).append(stem)
    found = {
        stem: other
        for stems in by_size.values()
        if len(stems) > 1
        for stem, other in zip(stems, stems[1:] + stems[:1], strict=True)
    }
    return {stem: found[stem] for stem in sizes if stem in found}


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


main = command(parser, _run)
