"""How many planted near-copies does `unicon eval originality` find, and how many fresh pictures does it
accuse?

    python benchmarks/copies.py [--training 1000] [--fresh 400] [--level 0.01] [--out FILE]

Training pictures and fresh ones are rendered scenes of other seeds and of one law. A copy is a training
picture that was mirrored, cropped, saved as JPEG, tinted, or all of it at once. Near-copies are judged at the
false alarm rate `--level`, from the training pictures' own nearest neighbours; fresh pictures show what that
rate really is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from eval.features import Extractor
from eval.metrics.summary import markdown_table
from eval.originality.copies import Judgement, judge
from eval.originality.look import describe, nearest_look
from eval.originality.nearest import nearest_meaning
from eval.pictures import Pictures
from eval.protocols.scene_set import scene_set
from eval.records import Record, append

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def mirrored(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random square of 75 to 95% of the side, anywhere."""
    side = round(float(rng.uniform(0.75, 0.95)) * picture.width)
    left, top = (int(rng.integers(0, picture.width - side + 1)) for _ in range(2))
    return picture.crop((left, top, left + side, top + side))


def saved(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """JPEG of quality 20 to 60."""
    buffer = BytesIO()
    picture.save(buffer, format="JPEG", quality=int(rng.integers(20, 61)))
    return Image.open(buffer).convert("RGB")


def tinted(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Each channel times 0.7 to 1.3, plus -20 to 20 of 255."""
    values = np.asarray(picture, dtype=np.float32) * rng.uniform(0.7, 1.3, 3) + rng.uniform(-20, 20, 3)
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def everything(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    for change in (cropped, tinted, saved):
        picture = change(picture, rng)
    return mirrored(picture, rng) if rng.random() < 0.5 else picture


CHANGES: dict[str, Change] = {
    "unchanged": lambda picture, rng: picture, "mirrored": mirrored, "cropped": cropped, "JPEG": saved,
    "tinted": tinted, "all at once": everything,
}  # fmt: skip


def measure(training: list[Image.Image], fresh: list[Image.Image], num: int, level: float) -> list[Record]:
    """A record for each change, and one for fresh pictures."""
    rng = np.random.default_rng(0)
    extractor = Extractor()
    looks, meanings = describe(training), features(extractor, training)
    own = nearest_look(looks, looks, same=True)[0], nearest_meaning(meanings, meanings, same=True)[0]

    def judged(pictures: list[Image.Image]) -> tuple[Judgement, Judgement]:
        look = nearest_look(describe(pictures), looks)
        meaning = nearest_meaning(features(extractor, pictures), meanings)
        return judge(*look, own[0], level=level), judge(*meaning, own[1], level=level)

    settings: dict[str, str | int | float | bool] = {"num_training": len(training), "level": level}
    records = []
    for name, change in CHANGES.items():
        places = rng.choice(len(training), min(num, len(training)), replace=False)
        look, meaning = judged([change(training[n], rng) for n in places])
        numbers = {
            "num": len(places),
            "found_by_look": float(look.is_copy.mean()),
            "and_the_right_one": float((look.is_copy & (look.nearest == places)).mean()),
            "found_by_meaning": float(meaning.is_copy.mean()),
        }
        records.append(Record(name=f"copies/{name}", numbers=numbers, settings=settings))
    look, meaning = judged(fresh)
    numbers = {
        "num": len(fresh), "found_by_look": float(look.is_copy.mean()),
        "found_by_meaning": float(meaning.is_copy.mean()),
    }  # fmt: skip
    return [*records, Record(name="copies/fresh: false alarms", numbers=numbers, settings=settings)]


def features(extractor: Extractor, pictures: list[Image.Image]) -> np.ndarray:
    names = tuple(map(str, range(len(pictures))))
    return extractor(Pictures(names, lambda n: pictures[n])).values


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--training", type=int, default=1000, help="training pictures (default 1000)")
    parser.add_argument("--fresh", type=int, default=400, help="fresh pictures (default 400)")
    parser.add_argument("--copies", type=int, default=300, help="copies of each kind (default 300)")
    parser.add_argument("--level", type=float, default=0.01, help="false alarm rate (default 0.01)")
    parser.add_argument("--cache", help="where rendered scenes are kept (default: user cache)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render (default 1)")
    parser.add_argument("--out", type=Path, help="file to which records are added, one line of JSON each")
    args = parser.parse_args()
    sets = [
        scene_set(split, num, cache_folder=args.cache, workers=args.workers).images
        for split, num in (("training", args.training), ("standard", args.fresh))
    ]
    training, fresh = ([Image.fromarray(image) for image in images] for images in sets)
    records = measure(training, fresh, args.copies, args.level)
    rows = [{"pictures": one.name.removeprefix("copies/"), **one.numbers} for one in records]
    print(markdown_table(rows, list(rows[0])))
    for one in records if args.out else ():
        append(args.out, one)


if __name__ == "__main__":
    main()
