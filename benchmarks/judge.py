"""How well does a judge read scenes that nothing was trained on, and how well in soft or noisy pictures?

    python benchmarks/judge.py [--judge mini] [--num 500] [--changed 200] [--out FILE]
    python benchmarks/judge.py --judge runs/mini/regressor/export

Generated pictures are softer than rendered ones and have a noise of their own. So the held-out scenes are
read as they are, and the first of them blurred, with noise, saved as JPEG, and sent through the mini base's
compressor and back. Edge thresholds come from validation scenes as they are, as when a judge is used. Beside
it stand the mean map, and another scene's picture.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from eval.metrics.summary import markdown_table
from eval.protocols.drawing import as_bytes
from eval.protocols.map_scores import score
from eval.protocols.readers import BASE, Reader, load_judge
from eval.protocols.scene_set import CONDITIONS, scene_set
from eval.protocols.scenes import SceneSplits, estimation
from eval.protocols.setup import load_pipeline
from eval.records import Record, append
from unicon.latents import decode, encode
from unicon.pictures import as_array, as_pictures
from unicon.pipeline import UniConPipeline

Change = Callable[[np.ndarray], np.ndarray]
"""Pictures (n, H, W, 3) uint8 to others of the same kind."""
SHOWN = ("abs_rel", "delta1", "f1", "pck", "found")
MEAN = {"depth": "mean map of the training set", "edge": "mean map of the training set",
        "pose": "mean figure of the training set"}  # fmt: skip


def blurred(pictures: np.ndarray, deviation_px: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(each, (0, 0), deviation_px) for each in pictures])


def noisy(pictures: np.ndarray, deviation: float) -> np.ndarray:
    """`deviation` of a range of 1."""
    noise = np.random.default_rng(0).normal(0, 255 * deviation, pictures.shape)
    return (pictures + noise).round().clip(0, 255).astype(np.uint8)


def saved(pictures: np.ndarray, quality: int) -> np.ndarray:
    found = []
    for each in pictures:
        buffer = BytesIO()
        Image.fromarray(each).save(buffer, format="JPEG", quality=quality)
        found.append(np.asarray(Image.open(buffer).convert("RGB")))
    return np.stack(found)


@torch.no_grad()
def compressed(pictures: np.ndarray, pipe: UniConPipeline) -> np.ndarray:
    """By the base's autoencoder, and back."""
    parts = [decode(pipe.vae, encode(pipe.vae, as_pictures(pictures[n : n + 16], "pictures")))
             for n in range(0, len(pictures), 16)]  # fmt: skip
    return np.concatenate([as_bytes(as_array(part)) for part in parts])


def changes(pipe: UniConPipeline) -> dict[str, Change]:
    return {
        "the first ones, as rendered": lambda pictures: pictures,
        "blurred by 1 px": partial(blurred, deviation_px=1.0),
        "blurred by 1.5 px": partial(blurred, deviation_px=1.5),
        "noise of 0.05": partial(noisy, deviation=0.05),
        "JPEG of quality 30": partial(saved, quality=30),
        "through the compressor": partial(compressed, pipe=pipe),
    }


def measure(
    reader: Reader, splits: SceneSplits, pipe: UniConPipeline, num_changed: int
) -> list[dict[str, object]]:
    """A row for the scenes as they are, for what they stand beside, and for each change of the first ones."""
    rows: dict[str, dict[str, object]] = {}
    few = splits.test.take(range(min(num_changed, len(splits.test))))
    pictures = {name: change(few.images) for name, change in changes(pipe).items()} if len(few) else {}
    for condition in CONDITIONS:
        outcomes = estimation([reader], condition, splits, [0])
        found = {each.prediction: asdict(each.scores[0]) for each in outcomes}
        _take(rows, "as rendered", found[reader.name])
        _take(rows, "another scene's picture", found["adapter, another scene's picture"])
        _take(rows, "mean map, mean figure", found[MEAN[condition]])
        _take(rows, "exact map", found["the exact map"])
        threshold = found[reader.name].get("threshold", 0.5)
        for name, images in pictures.items():
            maps = reader.read(images, condition, few.seeds.tolist(), 0).maps
            _take(rows, name, asdict(score(condition, maps, few, threshold)))
    return list(rows.values())


def _take(rows: dict[str, dict[str, object]], name: str, numbers: dict[str, float]) -> None:
    row = rows.setdefault(name, {"pictures": name})
    row |= {key: numbers[key] for key in SHOWN if numbers.get(key) is not None}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--judge", default="mini", help="as of unicon eval (default mini)")
    parser.add_argument("--num", type=int, default=500, help="held-out scenes (default 500)")
    parser.add_argument("--changed", type=int, default=200, help="of them, changed (default 200)")
    parser.add_argument("--validation-num", type=int, default=64, help="for thresholds (default 64)")
    parser.add_argument("--training", type=Path, help="folder of rendered training scenes, for mean maps")
    parser.add_argument("--split", default="standard", help="of scenes (default standard)")
    parser.add_argument("--steps", type=int, default=4, help="of a judge that is a base (default 4)")
    parser.add_argument("--cache", help="where rendered scenes are kept (default: user cache)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render (default 1)")
    parser.add_argument("--out", type=Path, help="file to which records are added, one line of JSON each")
    args = parser.parse_args()
    render = partial(scene_set, cache_folder=args.cache, workers=args.workers)
    splits = SceneSplits(
        test=render(args.split, args.num),
        validation=render("validation", args.validation_num),
        training=args.training or render("training", 256),
    )
    pipe = load_pipeline("mini", "cpu", "float32", CONDITIONS if args.judge == BASE else ())
    reader = load_judge(args.judge, pipe, args.steps, 16)
    rows = measure(reader, splits, pipe, args.changed)
    print(markdown_table(rows, ["pictures", *SHOWN]))
    settings = {"judge": args.judge, "scenes": args.num, "changed": args.changed, "split": args.split}
    for row in rows if args.out else ():
        numbers = {name: float(value) for name, value in row.items() if name != "pictures"}  # pyright: ignore
        append(args.out, Record(name=f"judge/{row['pictures']}", numbers=numbers, settings=settings))


if __name__ == "__main__":
    main()
