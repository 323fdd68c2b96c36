"""To which stratum (prompt, class) does each picture of two sets belong, and how rare is it within it?

Labels come from a table, or from the captions that lie with the pictures. Leaves out how rarity within a
stratum is found (`eval.rarity.rarity_by_stratum`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.features import FeatureSet, open_source
from eval.pictures import Pictures
from eval.protocols.generated import captions_of
from eval.protocols.text_table import TEXTS, TextTable
from eval.rarity import Rarity, rarity_by_stratum
from eval.records import Record

COLUMNS = ("stratum", "class", "label", *TEXTS)
"""Of a table, the first that it has."""


@dataclass(frozen=True, slots=True)
class Labels:
    """A stratum for each picture of either set, in their order."""

    real: list[str]
    generated: list[str]


def read_labels(tables: Sequence[str], real: str, generated: str, *, k: int) -> Labels:
    """Of the pictures of two sources: by one table, by one for each, or with none by their own captions.

    Nothing is decoded. Raises ValueError for a picture without a label, a name with several, and where no
    stratum has a generated one and more than `k` reals.
    """
    if len(tables) > 2:
        raise ValueError(
            f"--strata got {len(tables)} tables; expected one for both sets, or two: real, generated"
        )
    of_real, of_generated = (
        _told(source, tables[min(n, len(tables) - 1)] if tables else None)
        for n, source in enumerate((real, generated))
    )
    counts = Counter(of_real)
    if not any(counts[name] > k for name in set(of_generated)):
        fullest, num = max(((name, counts[name]) for name in set(of_generated)), key=lambda one: one[1])
        raise ValueError(
            f"none of the {len(set(of_generated))} generated strata can be judged: the fullest, {fullest!r}, "
            f"has {num} reals, and k = {k} needs at least {k + 1}; give --strata a table of wider classes"
        )
    return Labels(of_real, of_generated)


def strata_records(
    real: FeatureSet,
    generated: FeatureSet,
    labels: Labels,
    *,
    k: int,
    settings: Mapping[str, str | int | float | bool],
) -> list[Record]:
    """A record for each stratum: rarity and precision within it, and of its generated ones among all reals.

    One that cannot be judged has its counts alone, and says why.
    """
    found = rarity_by_stratum(
        real.values, generated.values, labels.real, labels.generated, k, features=real.source
    )
    own: dict[str, list[int]] = {name: [] for name in [*labels.generated, *labels.real]}
    for place, name in enumerate(labels.generated):
        own[name].append(place)
    reals, records = Counter(labels.real), []
    for name, places in own.items():
        numbers: dict[str, float | int] = {"num_real": reals[name], "num_generated": len(places)}
        told: dict[str, str | int | float | bool] = {**settings, "k": k, "stratum": name}
        if (within := found.within.get(name)) is not None:
            numbers |= _numbers(within) | {"radius_of_reals": within.summary.real_mean}
            numbers |= _numbers(_of(found.pooled, places), "_among_all")
        else:
            told["left_out"] = found.left_out[name]
        records.append(Record(name="distributions/strata", numbers=numbers, settings=told))
    return records


def _numbers(found: Rarity, among: str = "") -> dict[str, float | int]:
    one = found.summary
    rarity = {} if one.mean is None else {f"rarity{among}": one.mean}
    return {**rarity, f"precision{among}": one.in_manifold}


def _of(pooled: Rarity, places: list[int]) -> Rarity:
    return replace(pooled, scores=pooled.scores[places])


def _told(source: str, table: str | None) -> list[str]:
    opened = open_source(source)
    known = TextTable.of_table(Path(table), COLUMNS) if table else _own(opened, source)
    found = [known.of(name) for name in opened.names]
    if None in found:
        where = table or "no caption lies with it"
        raise ValueError(
            f"{source}: {opened.names[found.index(None)]} has no stratum ({where}); give --strata FILE with "
            "columns name and stratum"
        )
    return [label for label in found if label is not None]


def _own(opened: FeatureSet | Pictures, source: str) -> TextTable:
    if isinstance(opened, FeatureSet):
        raise ValueError(f"{source}: features say no captions; give --strata FILE with name and stratum")
    if (told := captions_of(opened)) is None:
        raise ValueError(
            f"{source}: not every picture says its caption (STEM.txt, metadata.jsonl, or its PNG); give "
            "--strata FILE with columns name and stratum"
        )
    return TextTable(zip(opened.names, told, strict=True), source)
