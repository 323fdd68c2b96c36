"""How is `unicon eval attributes` asked for, and what does it write?

An attribute file is JSON: {"person": {"woman": ["woman", "girl"], "man": ["man", "boy"]}}, the words by which
a caption (and a prompt for CLIP) names each value. A caption that names none is neutral; one that names
several is left out and counted.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from eval.clip import Clip
from eval.command import command
from eval.features import MINI
from eval.metrics.attributes import amplification, stratified
from eval.metrics.summary import Interval
from eval.metrics.text import cosines
from eval.pictures import Pictures, find_pictures
from eval.protocols.generated import captioned
from eval.protocols.results import save, tables
from eval.protocols.text_table import TextTable, named_texts, read_rows, read_table, stem_of
from eval.records import Record
from unicon.data.pairs import open_pairs
from unicon.devices import pick_device

Words = Mapping[str, Sequence[str]]
"""Value -> the words that name it."""
SEVERAL = "several"
PROMPT = "a picture of a {}"


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval attributes",
        description="How often pictures of neutral prompts show each value of an attribute, beside the data; "
        "or, with --errors, a metric by attribute.",
        epilog="example: unicon eval attributes --attributes person.json --generated out/generated "
        "--training data/pairs",
    )
    top.add_argument("--attributes", required=True, metavar="FILE", help="JSON: attribute, values, words")
    top.add_argument("--generated", metavar="DIR", help="pictures, with captions as for `unicon eval text`")
    top.add_argument("--captions", metavar="FILE", help="of the generated pictures, with name and caption")
    top.add_argument(
        "--assume-neutral", action="store_true", help="no captions: every prompt left the attributes open"
    )
    top.add_argument("--labels", metavar="FILE", help="values by hand: CSV with name and the attributes")
    top.add_argument("--training", metavar="SOURCE", help="the data's captions: pairs, or a table")
    top.add_argument("--training-pictures", metavar="DIR", help="the data's pictures, read as the samples")
    top.add_argument("--clip", default=MINI, metavar="MODEL", help="CLIP that reads pictures (default mini)")
    top.add_argument(
        "--errors", metavar="FILE", help="CSV with name and metrics, as `unicon eval maps --csv`"
    )
    top.add_argument("--metric", metavar="NAME", help="column of --errors")
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    top.add_argument("--out", metavar="FILE", help="append the results to this file of JSON lines")
    return top


def _run(arguments: argparse.Namespace) -> str:
    attributes = read_attributes(Path(arguments.attributes))
    if arguments.errors:
        records = [_errors(arguments, name, words) for name, words in attributes.items()]
    else:
        records = _shares(arguments, attributes)
    save(arguments.out, records)
    return tables(records)


def read_attributes(path: Path) -> dict[str, Words]:
    """Of a file; ValueError for what is no such table."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path}: holds no attributes; expected {{attribute: {{value: [words]}}}}")
    for name, values in found.items():
        right = isinstance(values, dict) and len(values) >= 2 and all(
            isinstance(words, list) and words and all(isinstance(w, str) and w for w in words)
            for words in values.values()
        )  # fmt: skip
        if not right:
            raise ValueError(
                f"{path}: attribute {name!r} needs two or more values, each with a list of words"
            )
    return found


def named_value(caption: str, words: Words) -> str | None:
    """The value that a caption names by whole words (or their plural in -s), `SEVERAL`, or None for none."""
    text = caption.lower()
    found = [
        value
        for value, names in words.items()
        if any(re.search(rf"\b{re.escape(name.lower())}s?\b", text) for name in names)
    ]
    return found[0] if len(found) == 1 else SEVERAL if found else None


def by_clip(clip: Clip, pictures: Pictures, words: Words) -> list[str]:
    """The value whose prompts lie nearest to each picture, each value's prompts averaged."""
    bar = partial(tqdm, desc="reading attributes", unit="batch", leave=False)
    seen = clip.pictures(pictures, progress=bar).values
    means = []
    for names in words.values():
        rows = clip.of_texts([PROMPT.format(name) for name in names]).values
        means.append((rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(0))
    nearest = cosines(seen, np.stack(means)).argmax(1)
    return [list(words)[place] for place in nearest]


@dataclass(frozen=True, slots=True)
class _Samples:
    """Pictures of neutral prompts."""

    pictures: Pictures
    num_told: int
    """Others, whose caption names a value."""


def _shares(arguments: argparse.Namespace, attributes: Mapping[str, Words]) -> list[Record]:
    """A record for each attribute. All that is told is read before any picture is looked at."""
    if not arguments.generated:
        raise ValueError("give --generated with --training or --training-pictures, or --errors")
    if bool(arguments.training) == bool(arguments.training_pictures):
        raise ValueError("give one of --training (captions) and --training-pictures (read as the samples)")
    samples = {name: _neutral(arguments, words) for name, words in attributes.items()}
    data = (
        _captions_of(arguments.training) if arguments.training else find_pictures(arguments.training_pictures)
    )
    table = arguments.labels
    labels = {name: TextTable(_labels(table, name), table) for name in attributes} if table else {}
    clip = None if labels else Clip(arguments.clip, device=str(pick_device(arguments.device)))
    records = []
    for name, words in attributes.items():
        read = partial(_read, words, clip or labels[name])
        by = clip.source if clip else Path(arguments.labels).name
        records.append(_share(arguments, name, words, samples[name], data, read, by))
    return records


def _share(
    arguments: argparse.Namespace,
    name: str,
    words: Words,
    samples: _Samples,
    data: Sequence[str] | Pictures,
    read: Callable[[Pictures], list[str | None]],
    by: str,
) -> Record:
    several = 0
    if isinstance(data, Pictures):
        reference = read(data)
        source = f"{Path(arguments.training_pictures).name}, pictures read by {by}"
    else:
        reference = [named_value(text, words) for text in data]
        several, source = reference.count(SEVERAL), f"{Path(arguments.training).name}, captions"
    found = amplification(read(samples.pictures), reference, list(words))
    numbers: dict[str, float | int] = {"num": found.generated.num, "distance": found.distance.mean}
    for value, gap in found.differences.items():
        numbers[f"{value}_generated"] = found.generated.shares[value]
        numbers[f"{value}_data"] = found.reference.shares[value]
        numbers |= {f"{value}_more": gap.mean, f"{value}_more_low": gap.low, f"{value}_more_high": gap.high}
    return Record(
        name=f"attributes/{name}",
        numbers=numbers,
        settings={
            "generated": Path(arguments.generated).name, "reader": by, "reference": source,
            "num_reference": found.reference.num,
            "num_reference_neutral": found.reference.num_unknown - several,
            "num_reference_several": several, "num_not_neutral": samples.num_told,
            "num_unknown": found.generated.num_unknown,
        },
    )  # fmt: skip


def _neutral(arguments: argparse.Namespace, words: Words) -> _Samples:
    if arguments.assume_neutral:
        return _Samples(find_pictures(arguments.generated), 0)
    pictures, texts = captioned(arguments.generated, arguments.captions)
    neutral = [place for place, text in enumerate(texts) if named_value(text, words) is None]
    if not neutral:
        raise ValueError(
            f"all {len(texts)} captions of {arguments.generated} name a value ({', '.join(words)}): no "
            "prompt leaves it open"
        )
    return _Samples(pictures.subset(neutral), len(texts) - len(neutral))


def _read(words: Words, by: Clip | TextTable, pictures: Pictures) -> list[str | None]:
    """Values of pictures, by a CLIP or as labels tell."""
    if isinstance(by, Clip):
        return list(by_clip(by, pictures, words))
    return [by.of(name) for name in pictures.names]


def _captions_of(source: str) -> list[str]:
    if Path(source).suffix.lower() in (".csv", ".json", ".jsonl"):
        told: dict[str, str] = {}
        for name, text in named_texts(Path(source)):
            told.setdefault(name, text)  # of several of one picture the first
        return list(told.values())
    found = [text for entry in open_pairs(source) for text in entry.captions[:1]]
    if not found:
        raise ValueError(f"{source}: has no captions")
    return found


def _errors(arguments: argparse.Namespace, name: str, words: Words) -> Record:
    rows = read_rows(Path(arguments.errors))
    if not arguments.metric or not {"name", arguments.metric} <= set(rows[0]):
        raise ValueError(
            f"{arguments.errors}: has columns {', '.join(rows[0])}; --metric is {arguments.metric!r}: "
            "name one"
        )
    values = _labels_or_captions(arguments, name, words)
    strata = [values.get(stem_of(row["name"])) for row in rows]
    found = stratified([_number(row[arguments.metric]) for row in rows], strata)
    numbers: dict[str, float | int] = {"gap": found.gap}
    numbers |= {"gap_low": found.gap_interval[0], "gap_high": found.gap_interval[1]}
    for value, mean in found.strata.items():
        numbers[value] = mean.mean if isinstance(mean, Interval) else mean
        numbers[f"{value}_num"] = found.nums[value]
    settings: dict[str, str | int | float | bool] = {
        "errors": Path(arguments.errors).name, "metric": arguments.metric, "num_unknown": found.num_unknown,
    }  # fmt: skip
    return Record(name=f"errors_by/{name}", numbers=numbers, settings=settings)


def _labels_or_captions(arguments: argparse.Namespace, name: str, words: Words) -> dict[str, str | None]:
    """Values by stem, by hand or from captions."""
    if arguments.labels:
        return {stem_of(key): value or None for key, value in _labels(arguments.labels, name)}
    if not arguments.captions:
        raise ValueError("errors by attribute need the pictures' values: give --labels or --captions")
    told = read_table(Path(arguments.captions))
    values = {stem_of(key): named_value(text, words) for key, text in told.items()}
    return {key: None if value == SEVERAL else value for key, value in values.items()}


def _labels(path: str, name: str) -> list[tuple[str, str]]:
    """The names of a table with an attribute's values, empty where there is none."""
    rows = read_rows(Path(path))
    if not {"name", name} <= set(rows[0]):
        raise ValueError(f"{path}: has columns {', '.join(rows[0])}; expected name and {name}")
    return [(row["name"], row[name] or "") for row in rows]


def _number(text: str) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


main = command(parser, _run)
