"""How good is the depth of real rooms, from a model that never saw one (NYU Depth v2, zero-shot)?

The held-out tenth of `eval.data`, whole pictures (280 x 213) worked on at the base's own resolution and
resized back, scale and shift fitted per picture in depth over all pixels. The data's metric scale is lost, so
predictions are clipped from below only, at the share of the largest depth that `eval.baselines` uses. Beside
the model: the mean map of the other nine tenths, a constant, and the model's maps of other pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from eval.baselines import NYU_LOW, constant_errors, mean_map_errors
from eval.command import command
from eval.data import DepthPhoto, fold, nyu_depth
from eval.metrics.depth import DepthErrors, batch_depth_errors, mean_errors
from eval.metrics.summary import bootstrap_interval
from eval.protocols.readers import PipelineReader, Reader, load_judge
from eval.protocols.results import Outcome, record, save, tables
from eval.protocols.setup import add_run_arguments, add_temperature_argument, check_positive, load_pipeline
from unicon.conditions.palettes import map_to_depth
from unicon.sampling.noise import stable_hash


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoDepthScore:
    """Depth errors of photographs, and what chance in choosing them does to AbsRel."""

    abs_rel: float
    delta1: float
    abs_rel_low: float | None
    """95% bootstrap interval over pictures; None for references that are not about single pictures."""
    abs_rel_high: float | None
    num: int

    @classmethod
    def over_pictures(cls, errors: Sequence[DepthErrors]) -> PhotoDepthScore:
        """Mean and interval over single pictures; the interval needs two of them."""
        interval = bootstrap_interval([e.abs_rel for e in errors]) if len(errors) > 1 else None
        return cls.of(mean_errors(errors), interval and interval.low, interval and interval.high)

    @classmethod
    def of(cls, mean: DepthErrors, low: float | None = None, high: float | None = None) -> PhotoDepthScore:
        """From a mean over pictures."""
        return cls(
            abs_rel=mean.abs_rel,
            delta1=mean.delta1,
            abs_rel_low=low,
            abs_rel_high=high,
            num=mean.num_pictures,
        )


def nyu(readers: Sequence[Reader], photos: Sequence[DepthPhoto], seeds: Sequence[int]) -> list[Outcome]:
    """Score readers, the adapter first with every seed; only the adapter depends on one."""
    images = np.stack([photo.image for photo in photos])
    depths = [photo.depth for photo in photos]
    keys = [stable_hash(photo.name) for photo in photos]
    outcomes = []
    for place, reader in enumerate(readers):
        runs = [
            reader.read(images, "depth", keys, seed).maps for seed in (seeds if place == 0 else seeds[:1])
        ]
        scores = [PhotoDepthScore.over_pictures(photo_errors(maps, depths)) for maps in runs]
        outcomes.append(Outcome(prediction=reader.name, scores=scores))
        if place == 0 and len(depths) > 1:
            wrong = [PhotoDepthScore.over_pictures(photo_errors(np.roll(m, 1, axis=0), depths)) for m in runs]
            outcomes.append(Outcome(prediction="adapter, another picture", scores=wrong))
    return outcomes


def photo_errors(maps: np.ndarray, depths: Sequence[np.ndarray]) -> list[DepthErrors]:
    """Errors per picture of depth maps (n, H, W, 3) in [0, 1] against (H, W) depths of unknown unit."""
    predictions = [map_to_depth(np.clip(m.astype(np.float32), 0, 1)) for m in maps]
    return batch_depth_errors(predictions, depths, low=NYU_LOW)


def baselines(folder: str) -> list[Outcome]:
    """The mean map of the other nine tenths and a constant, on the held-out tenth."""
    everything = nyu_depth(folder, "all")
    depths = np.stack([photo.depth for photo in everything])
    folds = np.array([fold(name) for name in everything.names])
    rows = {
        "mean map of the other nine tenths": mean_map_errors(depths, folds, 0, "scale_shift"),
        "constant": constant_errors(depths[folds == 0], "scale_shift"),
    }
    return [Outcome(prediction=name, scores=[PhotoDepthScore.of(errors)]) for name, errors in rows.items()]


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval nyu",
        description="Measure zero-shot depth on the held-out tenth of NYU Depth v2.",
        epilog="example: unicon eval nyu --data path/to/nyu_depth_v2 --steps 4 --out results/nyu.jsonl",
    )
    top.add_argument("--data", required=True, metavar="DIR", help="folder that holds metadata.jsonl")
    top.add_argument(
        "--base", default="mini", help='folder of a base with a depth adapter, or "mini" (default)'
    )
    top.add_argument(
        "--regressor", metavar="READER",
        help="an exported regressor, a judge (mini: the one that ships) or another base, measured beside",
    )  # fmt: skip
    top.add_argument("--ensemble", type=int, default=1, metavar="N", help="estimates combined (default 1)")
    top.add_argument("--seeds", type=int, default=3, metavar="N", help="repeats with other noise (default 3)")
    top.add_argument(
        "--num", type=int, metavar="N", help="only the first N pictures (default: the whole tenth)"
    )
    add_temperature_argument(top)
    add_run_arguments(top, steps=4)
    return top


def _run(arguments: argparse.Namespace) -> str:
    check_positive(arguments, "ensemble", "seeds", "steps", "batch_size")
    photos = list(nyu_depth(arguments.data, "held_out"))[: arguments.num]
    pipe = load_pipeline(arguments.base, arguments.device, arguments.dtype, ["depth"])
    readers: list[Reader] = [
        PipelineReader(
            pipe=pipe,
            steps=arguments.steps,
            batch_size=arguments.batch_size,
            members=arguments.ensemble,
            temperature=arguments.temperature,
        )
    ]
    if arguments.regressor:
        load = partial(load_judge, pipe=pipe, steps=arguments.steps, batch_size=arguments.batch_size)
        readers.append(load(arguments.regressor, conditions=["depth"]))
    outcomes = nyu(readers, photos, range(arguments.seeds)) + baselines(arguments.data)
    settings: dict[str, str | int | float | bool] = {
        "base": str(arguments.base),
        "steps": arguments.steps,
        "ensemble": arguments.ensemble,
        "temperature": arguments.temperature,
        "dtype": str(pipe.unet.dtype).removeprefix("torch."),
        "pictures": len(photos),
        "convention": "held-out tenth, whole pictures, scale and shift fit in depth over all pixels",
    }
    records = [record("nyu/depth", outcome, settings) for outcome in outcomes]
    save(arguments.out, records)
    return tables(records)


main = command(parser, _run)
