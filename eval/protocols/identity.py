"""How is `unicon eval identity` asked for, and what does it write?"""

from __future__ import annotations

import argparse
from pathlib import Path

from eval.command import command
from eval.metrics.likeness import likeness
from eval.pictures import pictures_of
from eval.protocols.embedders import add_embedder_arguments, embed
from eval.protocols.generated import by_subject, groups
from eval.protocols.results import save, tables
from eval.records import Record
from unicon.devices import pick_device


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval identity",
        description="How much of its subject a generated picture keeps, by an embedder.",
        epilog="example: unicon eval identity --generated out/dogs --references dogs --features dinov2-small",
    )
    add_embedder_arguments(top)
    top.add_argument("--references", required=True, metavar="DIR", help="one folder per subject, or pictures")
    return top


def _run(arguments: argparse.Namespace) -> str:
    references, made = by_subject(arguments.references), by_subject(arguments.generated)
    if list(made) == ["all"] and list(references) != ["all"]:
        made = {k: v for k, v in groups(made["all"], list(references)).items() if v}
    used = {subject: references.get(subject, []) for subject in made}
    if empty := [subject for subject, known in used.items() if not known]:
        raise ValueError(f"{arguments.references}: has no folder {empty[0]} of references")
    paths = [path for group in (*made.values(), *used.values()) for path in group]
    vectors, source = embed(
        pictures_of(paths), arguments.features, resize=arguments.resize,
        device=str(pick_device(arguments.device)),
    )  # fmt: skip
    rows = iter(vectors)
    generated, given = (
        {name: [next(rows) for _ in group] for name, group in each.items()} for each in (made, used)
    )
    found = likeness(generated, given)
    numbers: dict[str, float | int] = {
        "likeness": found.with_missing, "likeness_of_seen": found.seen, "missing_rate": found.missing_rate,
        "num_missing": found.num_missing, "num": found.num,
    }  # fmt: skip
    if found.interval is not None:
        numbers |= {"likeness_low": found.interval.low, "likeness_high": found.interval.high}
    one = Record(
        name="identity",
        numbers=numbers,
        settings={
            "generated": Path(arguments.generated).name, "features": source, "num_subjects": len(made),
            "num_references": found.num_references,
            "num_references_missing": found.num_references_missing, "missing": "count as 0 in likeness",
        },
    )  # fmt: skip
    save(arguments.out, [one])
    return tables([one])


main = command(parser, _run)
