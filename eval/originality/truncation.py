"""How strongly was each picture truncated, where its maker says so?"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapters.files import existing
from eval.protocols.text_table import stem_of


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
            except (TypeError, ValueError) as error:  # a row that is too short has None
                raise ValueError(f"{path}, line {number}: {error}; expected a number") from error
    return found


def matched(psis: Mapping[str, float], names: Sequence[str], source: str) -> dict[str, float]:
    """psi of the pictures that `psis` names, by their whole names, or, where those have no
    folder, without ending and folders.

    Raises ValueError naming the `source` when it names none of them.
    """
    by_stem = {stem_of(name): psi for name, psi in psis.items() if "/" not in name}
    found = {name: psis.get(name, by_stem.get(stem_of(name))) for name in names}
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
    stems = {stem_of(name) for name in names}
    idle = sum(stem_of(name) not in stems for name in psis)
    lacking = len(names) - len(known)
    return (
        f"truncation of {len(names) - lacking} of {len(names)} pictures is known; {idle} of {len(psis)} "
        f"names in {source} are no generated picture's\n"
        if idle or lacking
        else ""
    )
