"""How good is a folder of saved maps beside a folder of truths?

One function per condition: pairs of files in, numbers and rows per picture out. Leaves out arguments and
records (`eval.protocols.maps_command`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adapters.files import write_arrays
from eval.digests import digest
from eval.metrics.bsds import BoundaryCounts, boundary_counts, boundary_score, default_thresholds, suppress
from eval.metrics.bsds_engine import original_counts, original_suppress
from eval.metrics.depth import Alignment, batch_depth_errors, mean_errors
from eval.metrics.depth_benchmarks import benchmark_errors, find_benchmark
from eval.metrics.edges import edge_counts
from eval.metrics.normals import angles, errors_of, over_pictures
from eval.metrics.oks import Figures, figures, pose_ap
from eval.metrics.pose import Normaliser, pose_counts
from eval.metrics.summary import bootstrap_interval
from eval.protocols.map_files import (
    MASK,
    Pair,
    read_boundaries,
    read_mask,
    read_normals,
    read_people,
    read_plane,
    read_strength,
)
from unicon.conditions.arrays import at_size

Progress = Callable[[list[Pair]], Iterable[Pair]]
Row = dict[str, Any]
BOUNDARY_DISTANCES = {"bsds": 0.0075, "nyud": 0.011}
"""Matching radius as a share of the diagonal, by protocol."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """One way of scoring a folder."""

    numbers: dict[str, float | int]
    settings: dict[str, str | int | float | bool]
    """What of the way changes the numbers."""
    rows: list[Row] = field(default_factory=list)
    """Per picture, where pictures have numbers of their own."""


def score_depth(
    pairs: list[Pair],
    *,
    alignment: Alignment,
    protocol: str | None = None,
    masks: Path | None = None,
    truth_scale: float | None = None,
    resize: bool = False,
    progress: Progress = iter,
) -> Scored:
    """Depth errors, mean over pictures, by a benchmark's rules or over all truth above 0.

    Raises ValueError naming the picture that cannot be scored.
    """
    rules = None if protocol is None else find_benchmark(protocol)
    scale = truth_scale or (1.0 if rules is None else rules.file_scale)
    chosen = _masks_of(pairs, masks)
    errors = []
    for pair in progress(pairs):
        with _named(pair):
            truth = read_plane(pair.truth, scale=scale, deep=rules is not None and rules.file_scale != 1)
            predicted = _sized(read_plane(pair.predicted), truth.shape, resize)
            mask = read_mask(chosen[pair.stem]) if chosen else None
            if rules is None:
                valid = np.isfinite(truth) & (truth > 0) & (True if mask is None else mask)
                found = batch_depth_errors([predicted], [truth], [valid], alignment=alignment)[0]
            else:
                found = benchmark_errors(predicted, truth, rules, mask, alignment=alignment)
            errors.append(found)
    mean, rows = (
        mean_errors(errors),
        [{"name": p.stem, **_plain(e)} for p, e in zip(pairs, errors, strict=True)],
    )
    numbers = _plain(mean)
    if len(errors) > 1:
        within = bootstrap_interval([e.abs_rel for e in errors])
        numbers |= {"abs_rel_low": within.low, "abs_rel_high": within.high}
    settings = {"protocol": protocol or "all valid pixels", "alignment": alignment, "truth_scale": scale}
    return Scored(numbers=_counted(numbers), settings=settings, rows=rows)


def score_normals(
    pairs: list[Pair], *, masks: Path | None = None, resize: bool = False, progress: Progress = iter
) -> list[Scored]:
    """Angular errors, once as the mean over pictures and once over all pixels; a pixel that is predicted to
    have no direction is off by a right angle."""
    chosen = _masks_of(pairs, masks)
    found = []
    for pair in progress(pairs):
        with _named(pair):
            truth = read_normals(pair.truth)
            predicted = _sized(read_normals(pair.predicted), truth.shape, resize)
            mask = read_mask(chosen[pair.stem]) if chosen else None
            found.append(angles(predicted, truth, mask, guess=True))
    rows = [{"name": p.stem, **asdict(errors_of(a))} for p, a in zip(pairs, found, strict=True)]
    ways: tuple[Literal["pictures", "pixels"], ...] = ("pictures", "pixels")
    return [
        Scored(
            numbers=_counted(asdict(over_pictures(found, way))), settings={"mean_over": way},
            rows=rows if way == "pictures" else [],
        )
        for way in ways
    ]  # fmt: skip


def score_edges(
    pairs: list[Pair],
    *,
    tolerance_px: float = 2.0,
    threshold: float = 0.5,
    resize: bool = False,
    progress: Progress = iter,
) -> Scored:
    """The quick F1 within a tolerance, mean over pictures, against the union of all annotations."""
    counts = []
    for pair in progress(pairs):
        with _named(pair):
            truth = np.any(read_boundaries(pair.truth), axis=0)
            strength = np.clip(_sized(read_strength(pair.predicted), truth.shape, resize), 0, 1)
            counts.append(edge_counts(strength, truth, tolerance_px=tolerance_px, threshold=threshold))
    rows = [
        {"name": p.stem, "tolerance_f1": c.f1, "precision": c.precision, "recall": c.recall}
        for p, c in zip(pairs, counts, strict=True)
    ]
    names = ("tolerance_f1", "precision", "recall")
    numbers: dict[str, float | int] = {n: float(np.mean([row[n] for row in rows])) for n in names}
    settings = {
        "protocol": f"tolerance F1 within {tolerance_px:g} px (not BSDS)", "threshold": threshold,
    }  # fmt: skip
    return Scored(numbers=numbers | {"num": len(rows)}, settings=settings, rows=rows)


def score_boundaries(
    pairs: list[Pair],
    *,
    protocol: str = "bsds",
    num_thresholds: int = 99,
    raw: bool = False,
    engine: Literal["own", "pyEdgeEval"] = "own",
    keep: Path | None = None,
    resize: bool = False,
    progress: Progress = iter,
) -> Scored:
    """ODS, OIS and AP. `raw`: without suppression ("CEval"). `keep`: a folder where each picture's counts are
    written, and found again by the next run of the same files and settings.
    """
    thresholds, distance = default_thresholds(num_thresholds), BOUNDARY_DISTANCES[protocol]
    thin, count = (suppress, boundary_counts) if engine == "own" else (original_suppress, original_counts)
    settings: dict[str, str | int | float | bool] = {
        "protocol": protocol, "engine": engine, "suppression": not raw, "max_distance": distance,
        "thresholds": num_thresholds,
    }  # fmt: skip

    def counts_of(pair: Pair) -> BoundaryCounts:
        truth = read_boundaries(pair.truth)
        strength = np.clip(_sized(read_strength(pair.predicted), truth.shape[1:], resize), 0, 1)
        if not raw:
            strength = np.clip(thin(strength), 0, 1)
        return count(strength, truth, thresholds=thresholds, max_distance=distance)

    found, rows = [], []
    for pair in progress(pairs):
        with _named(pair):
            found.append(_kept(keep, pair, settings, counts_of))
            best = boundary_score(found[-1:])
            rows.append({"name": pair.stem, "f1": best.ois_f1, "threshold": best.ods_threshold})
    score = boundary_score(found)
    numbers: dict[str, float | int] = {
        "ods_f1": score.ods_f1, "ods_threshold": score.ods_threshold, "ois_f1": score.ois_f1,
        "ap": score.area, "num": len(found),
    }  # fmt: skip
    return Scored(numbers=numbers, settings=settings, rows=rows)


def score_poses(
    pairs: list[Pair], *, alpha: float = 0.1, normaliser: Normaliser = "bbox", progress: Progress = iter
) -> Scored:
    """PCK pooled over joints, and OKS and AP with areas from boxes."""
    counts, predicted, truth, rows = [], [], [], []
    for pair in progress(pairs):
        with _named(pair):
            guesses, people = read_people(pair.predicted, pair.truth)
            counts.append(pose_counts(guesses, people, alpha=alpha, normaliser=normaliser))
            predicted.append(figures(np.reshape(guesses, (-1, 18, 3))))
            truth.append(_with_area(figures(np.reshape(people, (-1, 18, 3)))))
            c = counts[-1]
            rows.append({
                "name": pair.stem, "right": int(c.correct.sum()), "joints": int(c.labelled.sum()),
                "figures": c.num_predicted, "true_figures": c.num_true,
            })  # fmt: skip
    total, found = sum(counts[1:], counts[0]), pose_ap(predicted, truth)
    numbers: dict[str, float | int] = {
        "pck": total.pck, "oks": found.mean_oks, "ap": found.ap, "ap50": found.ap50, "ap75": found.ap75,
        "ar": found.ar, "count_error": found.count_error, "figures": total.num_true,
        "figures_skipped": total.num_skipped, "num": len(pairs),
    }  # fmt: skip
    settings: dict[str, str | int | float | bool] = {
        "pck_at": f"{alpha:g} of {normaliser}",
        "oks_area": "0.53 of the joints' box",
    }
    return Scored(numbers=numbers, settings=settings, rows=rows)


def _with_area(people: Figures) -> Figures:
    """Figures without extent have no OKS."""
    return people.take(people.areas > 0)


@contextmanager
def _named(pair: Pair) -> Iterator[None]:
    """Puts the picture's stem before what went wrong with it."""
    try:
        yield
    except ValueError as error:
        text = str(error).removeprefix("picture 0: ")
        raise ValueError(f"{pair.stem}: {text}") from error


def _sized(values: np.ndarray, shape: tuple[int, ...], resize: bool) -> np.ndarray:
    if values.shape[:2] == tuple(shape[:2]) or resize:
        return at_size(values, shape)
    raise ValueError(
        f"the prediction is {values.shape[0]} x {values.shape[1]}, its truth {shape[0]} x {shape[1]}: save "
        "it in the truth's size, or give --allow-resize"
    )


def _masks_of(pairs: list[Pair], folder: Path | None) -> dict[str, Path]:
    """By stem, found before any picture is scored; none without a folder."""
    found: dict[str, Path] = {}
    if folder is None:
        return found
    for pair in pairs:
        with _named(pair):
            found[pair.stem] = _mask_of(pair, folder)
    return found


def _mask_of(pair: Pair, folder: Path) -> Path:
    for name in (pair.stem + MASK, pair.stem):
        for suffix in (".npy", ".png"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    raise ValueError(f"{folder} holds no mask {pair.stem}{MASK} or {pair.stem}, as .npy or .png")


def _plain(errors: Any) -> dict[str, Any]:
    return {f.name: getattr(errors, f.name) for f in fields(errors) if f.name != "alignment"}


def _counted(numbers: dict[str, Any]) -> dict[str, float | int]:
    """With N under the name that tables know."""
    return {("num" if name == "num_pictures" else name): value for name, value in numbers.items()}


def _kept(keep: Path | None, pair: Pair, settings: dict[str, Any], make: Callable) -> BoundaryCounts:
    if keep is None:
        return make(pair)
    facts = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in (pair.predicted, pair.truth)]
    path = keep / f"{pair.stem}.{digest(repr((sorted(settings.items()), facts)))}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as packed:
            return BoundaryCounts(**dict(packed))
    found = make(pair)
    write_arrays(path, asdict(found))
    return found
