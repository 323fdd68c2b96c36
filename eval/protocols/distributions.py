"""How far is a set of generated pictures from a set of real ones, by every number that is in use?

Distances of laws (`eval.metrics.distributions`) and the manifold's metrics on the same features, in one
record that names the features, the resizing, the split and both N.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from eval.command import command
from eval.engines import ENGINES, Engine, open_engine
from eval.features import MINI, Extractor, FeatureSet, add_resizing, check_one_model, open_source, resizing
from eval.manifold.features import check_neighbours, checked
from eval.manifold.manifold import Manifold
from eval.manifold.sets import compare_sets
from eval.metrics.distributions import (
    SPLITS,
    NormalLaw,
    SizeCurve,
    check_sizes,
    cmmd,
    frechet_distance,
    inception_score,
    kernel_distance,
    size_curve,
)
from eval.metrics.summary import markdown_table
from eval.protocols.results import DEVIATION, save, tables
from eval.protocols.strata import read_labels, strata_records
from eval.records import Record
from unicon.devices import pick_device
from unicon.typed import positive

Settings = dict[str, str | int | float | bool]
KID_SUBSETS, KID_SIZE = 100, 1000
"""As published, where the sets are large enough."""


def distances(
    real: FeatureSet, generated: FeatureSet, *, ks: Sequence[int], seed: int = 0
) -> dict[str, float | int]:
    """Every number, by name; ValueError as the metrics'. What they were taken over: `circumstances`."""
    apart = frechet_distance(real.values, generated.values)
    subsets, size = kid_subsets(real, generated)
    kernel = kernel_distance(real.values, generated.values, num_subsets=subsets, subset_size=size, seed=seed)
    numbers: dict[str, float | int] = {
        "num_real": len(real), "num_generated": len(generated), "frechet": apart.distance, "kid": kernel.mean,
        "cmmd": cmmd(real.values, generated.values),
    }  # fmt: skip
    if subsets > 1:
        numbers["kid" + DEVIATION] = kernel.deviation
    if generated.logits is not None and len(generated) >= SPLITS:
        numbers["inception_score"] = inception_score(shuffled(generated.logits, seed)).mean
    manifold = Manifold(real.values, ks)
    for found, radii in zip(manifold.compare(generated.values), manifold.radii, strict=True):
        assert found.recall is not None
        assert found.realism is not None
        inside = found.rarity[found.in_manifold]
        several = f"_k{found.k}" if len(manifold.ks) > 1 else ""
        own: dict[str, float] = {
            "precision": found.precision, "recall": found.recall, "density": found.density,
            "coverage": found.coverage, "radius_of_reals": float(radii.mean()),
        }  # fmt: skip
        if len(inside):  # else there is no rarity to report, and precision says why
            own["rarity"] = float(inside.mean())
        if np.isfinite(middle := float(np.median(found.realism))):
            own["realism_median"] = middle
        numbers |= {name + several: value for name, value in own.items()}
    return numbers


def kid_subsets(real: FeatureSet, generated: FeatureSet) -> tuple[int, int]:
    """How many subsets KID takes, and of what size: at most half of the smaller set.

    Subsets that are all of a set are one and the same, and deviate by nothing. Below 4 pictures there are no
    halves: one subset, and no deviation.
    """
    smaller = min(len(real), len(generated))
    return (1, smaller) if smaller < 4 else (KID_SUBSETS, min(KID_SIZE, smaller // 2))


def circumstances(real: FeatureSet, generated: FeatureSet) -> Settings:
    """What one must know of `distances` to compare them."""
    subsets, size = kid_subsets(real, generated)
    known: Settings = {
        "full_rank": min(len(real), len(generated)) > real.values.shape[1],
        "kid_subsets": subsets, "kid_subset_size": size,
    }  # fmt: skip
    if generated.logits is not None and len(generated) < SPLITS:
        known["inception_score"] = f"left out: {len(generated)} pictures are fewer than its {SPLITS} splits"
    return known


def shuffled(logits: np.ndarray, seed: int) -> np.ndarray:
    """Rows in random order: splits of a sorted set would not be alike."""
    return logits[np.random.default_rng(seed).permutation(len(logits))]


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval distributions",
        description="Measure how far generated pictures are from real ones: Fréchet distance, KID, CMMD, "
        "precision, recall, density, coverage, rarity, realism.",
        epilog="example: unicon eval distributions --real data/photos --generated out/samples "
        "--out results.jsonl",
    )
    either = "a folder of pictures, or of folders of them, pairs, or a file of features (.npz, .safetensors)"
    top.add_argument("--real", required=True, metavar="SOURCE", help=either)
    top.add_argument("--generated", required=True, metavar="SOURCE", help=either)
    top.add_argument("--features", default=MINI, metavar="MODEL", help="mini, or a transformers vision model")
    add_resizing(top)
    top.add_argument(
        "--engine", choices=list(ENGINES),
        help="the features, and FID and KID, of a package that papers name, with --engine-weights",
    )  # fmt: skip
    top.add_argument("--engine-weights", metavar="FILE", help="Inception's of 2015, as --engine reads them")
    top.add_argument(
        "--split",
        default="unnamed",
        metavar="NAME",
        help="which part of the real set this is, for the record",
    )
    top.add_argument(
        "--neighbours", type=positive, nargs="+", default=[3], metavar="K", help="of the manifold (default 3)"
    )
    top.add_argument(
        "--strata", nargs="*", metavar="FILE",
        help="also rarity within each prompt or class: by the captions that lie with the pictures, or by a "
        "table with name and stratum (class, label, caption); two tables: of --real, of --generated",
    )  # fmt: skip
    top.add_argument(
        "--both-ways", action="store_true",
        help="also each set in the other's manifold, at the size of the smaller: to compare two data sets",
    )  # fmt: skip
    top.add_argument(
        "--sample-sizes", type=positive, nargs="+", metavar="N", help="also the Fréchet distance at these N"
    )
    top.add_argument("--seed", type=int, default=0, help="of random subsets (default 0)")
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    top.add_argument("--out", metavar="FILE", help="append the results to this file of JSON lines")
    return top


def _run(arguments: argparse.Namespace) -> str:
    ks = sorted(set(arguments.neighbours))
    labels = None
    if arguments.strata is not None:  # before anything is decoded
        labels = read_labels(arguments.strata, arguments.real, arguments.generated, k=ks[0])
    engine, real, generated = _features(arguments, ks)
    named: Settings = {
        "real": Path(arguments.real).name, "generated": Path(arguments.generated).name,
        "split": arguments.split, "features": real.source,
    }  # fmt: skip
    found = [
        Record(
            name="distributions",
            numbers=distances(real, generated, ks=ks, seed=arguments.seed),
            settings={**named, "k": " ".join(map(str, ks)), **circumstances(real, generated)},
        )
    ]
    if engine is not None:
        theirs = engine.numbers(real, generated, arguments.seed)
        asked = {"num_real": len(real.values), "num_generated": len(generated.values), "seed": arguments.seed}
        found.append(
            Record(name=f"distributions/{arguments.engine}", numbers={**theirs}, settings={**named, **asked})
        )
    if labels is not None:
        found += [one for k in ks for one in strata_records(real, generated, labels, k=k, settings=named)]
    if arguments.both_ways:
        found += [one for k in ks for one in _both_ways(real, generated, k, arguments.seed, named)]
    text = tables(found)
    if arguments.sample_sizes:
        law = NormalLaw.of(real.values)
        curve = size_curve(
            lambda some: law.frechet(some).distance, generated.values, arguments.sample_sizes,
            seed=arguments.seed,
        )  # fmt: skip
        found.append(_as_record(curve, named))
        text += f"\n\n{_as_table(curve)}"
    save(arguments.out, found)
    return text


def _features(
    arguments: argparse.Namespace, ks: Sequence[int]
) -> tuple[Engine | None, FeatureSet, FeatureSet]:
    """An engine, if one is asked for, and both sets' features. Nothing is embedded before both are known to
    be there, of one model, and large enough."""
    device = str(pick_device(arguments.device))
    opened = [open_source(source) for source in (arguments.real, arguments.generated)]
    for one, name in zip(opened, ("the real set", "the generated set"), strict=True):
        check_neighbours(len(one), tuple(ks), name)
        if isinstance(one, FeatureSet):
            checked(one.values, name)
    if arguments.sample_sizes:
        check_sizes(arguments.sample_sizes, len(opened[1]))
    if arguments.engine is None:
        if arguments.engine_weights is not None:
            raise ValueError(f"--engine-weights are an engine's; say which: --engine {' or '.join(ENGINES)}")
        seen = cache(partial(Extractor, arguments.features, device=device, **resizing(arguments)))  # if asked
        models = [one if isinstance(one, FeatureSet) else seen() for one in opened]
        check_one_model(dict(zip(("--real", "--generated"), models, strict=True)))
        real, generated = (one if isinstance(one, FeatureSet) else seen()(one) for one in opened)
        return None, real, generated
    top = parser()
    own = ("features", "resize", "fit", "size")
    if given := [f"--{name}" for name in own if getattr(arguments, name) != top.get_default(name)]:
        raise ValueError(f"--engine has features and resizing of its own; leave out {', '.join(given)}")
    engine = open_engine(arguments.engine, arguments.engine_weights, device)
    return engine, engine(arguments.real), engine(arguments.generated)


def _both_ways(
    real: FeatureSet, generated: FeatureSet, k: int, seed: int, settings: Settings
) -> list[Record]:
    """Either set judged by the other's manifold, of as many pictures as the smaller has."""
    found = compare_sets(real.values, generated.values, k, seed=seed)
    judged = (("generated in real", found.second_in_first), ("real in generated", found.first_in_second))
    records = []
    for (kind, one), radius in zip(judged, found.radius, strict=True):
        inside = one.rarity[one.in_manifold]
        numbers: dict[str, float | int] = {"num_each": found.num, "median_radius": radius}
        numbers |= {"rarity": float(inside.mean())} if len(inside) else {}
        numbers |= {"precision": one.precision, "density": one.density, "coverage": one.coverage}
        records.append(
            Record(
                name="distributions/both_ways", numbers=numbers, settings={**settings, "k": k, "kind": kind}
            )
        )
    return records


def _as_record(found: SizeCurve, settings: Settings) -> Record:
    """The curve, a number per size."""
    numbers: dict[str, float | int] = {"frechet_at_infinity": found.at_infinity}
    for size, value in zip(found.sizes, found.values, strict=True):
        numbers |= {f"frechet_{size}": value.mean, f"frechet_{size}{DEVIATION}": value.deviation}
    repeats = found.values[0].num
    return Record(name="distributions/sizes", numbers=numbers, settings={**settings, "repeats": repeats})


def _as_table(found: SizeCurve) -> str:
    rows = [{"N": str(n), "Fréchet distance": str(v)} for n, v in zip(found.sizes, found.values, strict=True)]
    rows.append({"N": "infinity, by a line over 1/N", "Fréchet distance": f"{found.at_infinity:.3f}"})
    return markdown_table(rows)


main = command(parser, _run)
