"""Does every metric say the truth about generators whose faults are known?

    python benchmarks/verdicts.py [--real 400] [--generated 120] [--out FILE]

Training pictures are rendered scenes. The generators: an honest one (fresh scenes of the same law), a copier,
a near-copier (mirrored, cropped, tinted, JPEG), one that drops modes (fresh scenes in rooms alone), one that
truncates (the fresh scenes nearest to the middle of the features), and noise. Last: among training pictures
1% show kinds of objects that are otherwise absent, and rarity is asked to rank fresh scenes with such objects
above the others (area under the curve).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from copies import everything, features
from PIL import Image

from eval.features import Extractor, FeatureSet
from eval.manifold.manifold import Manifold
from eval.metrics.ranking import auc
from eval.metrics.summary import markdown_table
from eval.originality.copies import judge
from eval.originality.look import describe, nearest_look
from eval.protocols.distributions import distances
from eval.protocols.scene_set import SceneSet, scene_set
from eval.records import Record, append

Picture = Image.Image
SHOWN = ("rarity", "precision", "recall", "density", "coverage", "realism_median", "frechet", "kid", "cmmd")
RARE_SHARE = 0.01


def pictures(scenes: SceneSet) -> list[Picture]:
    return [Image.fromarray(image) for image in scenes.images]


def generators(
    training: list[Picture], fresh: SceneSet, of_fresh: np.ndarray, num: int
) -> dict[str, list[Picture]]:
    """`num` pictures of each, from fresh scenes with their features; at least `num` of them lie in rooms."""
    rng = np.random.default_rng(0)
    new = pictures(fresh)
    copied = rng.choice(len(training), num, replace=False)
    typical = np.argsort(np.linalg.norm(of_fresh - of_fresh.mean(0), axis=1))[:num]
    indoors = [n for n, words in enumerate(fresh.captions) if "room" in words]
    return {
        "honest": new[:num],
        "copier": [training[n] for n in copied],
        "near-copier": [everything(training[n], rng) for n in copied],
        "rooms alone": [new[n] for n in rng.choice(indoors, num, replace=False)],
        "truncator": [new[n] for n in typical],
        "noise": [Image.fromarray(rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)) for _ in range(num)],
    }


def verdicts(training: list[Picture], fresh: SceneSet, num: int) -> list[Record]:
    """A record for each generator."""
    extractor = Extractor()
    embedded = partial(features, extractor)
    of_training = embedded(training)
    looks = describe(training)
    own = nearest_look(looks, looks, same=True)[0]
    records = []
    for name, made in generators(training, fresh, embedded(pictures(fresh)), num).items():
        sets = [
            FeatureSet(values=rows, names=tuple(map(str, range(len(rows)))), source=extractor.source)
            for rows in (of_training, embedded(made))
        ]
        numbers = distances(sets[0], sets[1], ks=(3,))
        numbers["near_copies"] = float(judge(*nearest_look(describe(made), looks), own).is_copy.mean())
        settings: dict[str, str | int | float | bool] = {"features": extractor.source, "k": 3}
        records.append(Record(name=f"verdicts/{name}", numbers=numbers, settings=settings))
    return records


def ranking(standard: Sequence[Picture], rare: Sequence[Picture], num_fresh: int) -> Record:
    """How well rarity and distance to the k-th real tell fresh rare scenes from fresh common ones."""
    extractor = Extractor()
    common, odd = features(extractor, list(standard)), features(extractor, list(rare))
    num_rare = max(1, round(RARE_SHARE * (len(common) - num_fresh)))
    real = np.concatenate([common[num_fresh:], odd[:num_rare]])
    found = Manifold(real).compare(np.concatenate([common[:num_fresh], odd[num_rare:]]), recall=False)[0]
    is_rare = np.arange(len(found.rarity)) >= num_fresh
    inside = ~np.isnan(found.rarity)
    numbers = {
        "num_real": len(real), "num_rare_among_them": num_rare, "num_fresh_rare": int(is_rare.sum()),
        "auc_in_manifold": auc(found.rarity[inside & is_rare], found.rarity[inside & ~is_rare]),
        "outside_of_rare": float((~inside)[is_rare].mean()),
        "outside_of_common": float((~inside)[~is_rare].mean()),
    }  # fmt: skip
    return Record(
        name="verdicts/rare kinds", numbers=numbers, settings={"features": extractor.source, "k": 3}
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=int, default=400, help="training pictures (default 400)")
    parser.add_argument("--generated", type=int, default=120, help="pictures of each generator (default 120)")
    parser.add_argument("--cache", help="where rendered scenes are kept (default: user cache)")
    parser.add_argument("--out", type=Path, help="file to which records are added, one line of JSON each")
    args = parser.parse_args()
    render = partial(scene_set, cache_folder=args.cache)
    training, fresh = pictures(render("training", args.real)), render("standard", 400)
    rare = pictures(render("held_out_kinds", 50))
    records = verdicts(training, fresh, args.generated)
    rows = [
        {
            "generator": r.name.removeprefix("verdicts/"),
            **{n: r.numbers.get(n) for n in (*SHOWN, "near_copies")},
        }
        for r in records
    ]
    print(markdown_table(rows))
    records.append(ranking([*pictures(fresh), *training], rare, 400))
    print("\nrare kinds:", ", ".join(f"{name} {value:.3g}" for name, value in records[-1].numbers.items()))
    for one in records if args.out else ():
        append(args.out, one)


if __name__ == "__main__":
    main()
