"""How is `unicon eval diversity` asked for, and what does it write?"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path
from typing import get_args

import numpy as np

from eval.command import command
from eval.metrics.likeness import Distance, diversity
from eval.protocols.embedders import add_embedder_arguments, embed
from eval.protocols.fidelity import KINDS
from eval.protocols.generated import Outputs, of_stems, open_outputs
from eval.protocols.results import save, tables
from eval.records import Record
from unicon.data.photos import list_photos
from unicon.devices import pick_device


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval diversity",
        description="Mean pairwise distance of the samples of each prompt or condition.",
        epilog="example: unicon eval diversity --generated out/generated (pictures STEM_0, STEM_1, ...)",
    )
    add_embedder_arguments(top)
    top.add_argument(
        "--captions",
        metavar="FILE",
        help="CSV or JSON lines with name and caption: one caption, one condition",
    )
    top.add_argument("--maps", metavar="DIR", help="named STEM or STEM_CONDITION: one map, one condition")
    top.add_argument("--distance", choices=get_args(Distance), default="cosine", help="default cosine")
    return top


def _run(arguments: argparse.Namespace) -> str:
    stems = None if arguments.maps is None else map_stems(list_photos(arguments.maps))
    outputs = open_outputs(arguments.generated, arguments.captions)
    conditions, by = by_condition(outputs, stems)
    sizes = Counter(conditions)
    if max(sizes.values()) < 2:
        raise ValueError(
            f"none of {len(sizes)} conditions has two samples (grouped by {by}): give --captions FILE or "
            "--maps DIR, or name pictures STEM_0, STEM_1"
        )
    vectors, source = embed(
        outputs.pictures, arguments.features, resize=arguments.resize,
        device=str(pick_device(arguments.device)),
    )  # fmt: skip
    seen: dict[str, list[np.ndarray]] = {name: [] for name in sizes}
    for name, vector in zip(conditions, vectors, strict=True):
        if vector is not None:
            seen[name].append(vector)
    found = diversity(
        {name: np.stack(group) if group else np.zeros((0, 1)) for name, group in seen.items()},
        arguments.distance,
    )
    numbers: dict[str, float | int] = {"diversity": found.mean, "num": found.num_samples}
    if isfinite(found.deviation):
        numbers["deviation_over_conditions"] = found.deviation
    one = Record(
        name="diversity",
        numbers=numbers,
        settings={
            "generated": Path(arguments.generated).name, "grouped_by": by,
            "group_sizes": group_sizes(sizes.values()), "features": source,
            "distance": found.distance, "num_conditions": len(found.per_condition),
            "num_conditions_of_one": found.num_skipped,
            "num_missing": len(vectors) - sum(map(len, seen.values())),
        },
    )  # fmt: skip
    save(arguments.out, [one])
    return tables([one])


def by_condition(outputs: Outputs, stems: Sequence[str] | None = None) -> tuple[list[str], str]:
    """The condition of each picture, and what told so: with `stems` of maps the one that its name begins
    with, and a table's caption where there is one; else its prompt.

    Raises ValueError naming a picture of which nothing is told.
    """
    if stems is not None:
        places = of_stems(outputs.pictures, {stem: place for place, stem in enumerate(stems)}, "--maps")
        of_map = [stems[int(place)] for place in places]
        if not outputs.by_table or outputs.captions is None:
            return of_map, "maps"
        both = zip(of_map, outputs.captions, strict=True)
        return [f"{stem}: {text}" for stem, text in both], "maps and captions"
    if None in outputs.prompts:
        name = outputs.pictures.names[outputs.prompts.index(None)]
        raise ValueError(
            f"{name}: nothing says of which prompt it is: a name that only numbers it does not; give "
            "--captions FILE or --maps DIR, or a folder for each prompt"
        )
    return [prompt for prompt in outputs.prompts if prompt is not None], outputs.grouped_by


def group_sizes(sizes: Iterable[int]) -> str:
    """How many groups there are of each size: "2 of 4 pictures, 1 of 3"."""
    counts = sorted(Counter(sizes).items(), reverse=True)
    first, *others = [f"{num} of {size}" for size, num in counts]
    return ", ".join([f"{first} pictures", *others])


def map_stems(paths: Iterable[Path]) -> list[str]:
    """Of maps; pictures of a joint folder (`_image`) are none."""
    stems = [path.stem for path in paths if not path.stem.endswith("_image")]
    return list(dict.fromkeys(re.sub(rf"_({'|'.join(KINDS)})$", "", stem) for stem in stems))


main = command(parser, _run)
