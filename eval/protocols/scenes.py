"""How good is a base with its adapters on scenes it has not seen, in every direction?

- `estimation`: the map of a picture against the exact one;
- `generation`: the map read back from a generated picture against the exact map it was given;
- `joint`: the map read from a generated picture against the map generated with it.

Each beside references that say what the number would be without skill, and where the ruler itself ends.
"Another scene's" is the shuffled control: every prediction is scored against the next scene's truth, which is
what a run with a wrong picture (or map) would produce, without running it. Leaves out arguments and files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.protocols.drawing import Drawer
from eval.protocols.map_scores import (
    CoverageScore,
    DepthScore,
    MapScore,
    agreement,
    choose_threshold,
    score,
    score_coverage,
    score_joints,
)
from eval.protocols.mean_maps import mean_figure, mean_map
from eval.protocols.readers import PipelineReader, Reader
from eval.protocols.results import Outcome
from eval.protocols.scene_set import SceneSet

SHUFFLED_PICTURE = "adapter, another scene's picture"
SHUFFLED_MAP = "adapter, another scene's map"


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSplits:
    """The scenes that are measured, and those that are never scored."""

    test: SceneSet
    validation: SceneSet
    """Where edge thresholds are chosen."""
    training: SceneSet | Path
    """What mean maps are taken from: scenes, or a folder of training shards."""


def estimation(
    readers: Sequence[Reader], condition: str, splits: SceneSplits, seeds: Sequence[int]
) -> list[Outcome]:
    """Score readers, the adapter first, and beside them the mean map and the exact map as drawn.

    Only the adapter depends on a seed.
    """
    first, *others = readers
    outcomes = _read_and_score(first, condition, splits, seeds)
    for reader in others:
        outcomes += _read_and_score(reader, condition, splits, seeds[:1])[:1]
    return outcomes + _mean_outcomes(condition, splits) + [_exact_map(condition, splits)]


def ensemble(reader: PipelineReader, splits: SceneSplits, seed: int) -> list[Outcome]:
    """Depth from an ensemble: the error of its median, and the coverage of its 90% interval."""
    scenes = splits.test
    readings = reader.read(scenes.images, "depth", scenes.seeds.tolist(), seed)
    assert readings.members is not None
    name = f"adapter, ensemble of {len(readings.members)}"
    score_of_median = score("depth", readings.maps, scenes)
    assert isinstance(score_of_median, DepthScore)
    covered = score_coverage(readings.members, scenes)
    return [Outcome(prediction=name, scores=[EnsembleScore.of(score_of_median, covered)])]


@dataclass(frozen=True, kw_only=True, slots=True)
class EnsembleScore:
    """Error and honesty of an ensemble of depth maps."""

    abs_rel: float
    delta1: float
    interval_coverage: float
    interval_coverage_all: float
    width_m: float
    num: int

    @classmethod
    def of(cls, depth: DepthScore, covered: CoverageScore) -> EnsembleScore:
        """Both scores of the same scenes in one row."""
        return cls(
            abs_rel=depth.abs_rel,
            delta1=depth.delta1,
            interval_coverage=covered.interval_coverage,
            interval_coverage_all=covered.interval_coverage_all,
            width_m=covered.width_m,
            num=depth.num,
        )


def generation(
    painter: Drawer, judge: Reader, condition: str, splits: SceneSplits, seeds: Sequence[int]
) -> list[Outcome]:
    """Score generated pictures by what `judge` reads from them, against the exact truth of the map given.

    Beside them the judge on the scenes' own pictures: no generator can be seen to do better than that.
    """
    scenes = _showing(condition, splits.test)
    keys = scenes.seeds.tolist()
    threshold = _threshold(judge, condition, splits, seeds[0])
    own, shuffled = [], []
    for seed in seeds:
        pictures = painter.generate(scenes, condition, seed).pictures
        maps = judge.read(pictures, condition, keys, seed).maps
        own.append(score(condition, maps, scenes, threshold))
        shuffled.append(score(condition, _shifted(maps), scenes, threshold))
    true = judge.read(scenes.images, condition, keys, seeds[0]).maps
    return [
        Outcome(prediction="adapter", scores=own),
        Outcome(prediction=SHUFFLED_MAP, scores=shuffled),
        Outcome(prediction="the scene's own picture", scores=[score(condition, true, scenes, threshold)]),
    ]


def joint(
    painter: Drawer, judge: Reader, condition: str, splits: SceneSplits, seeds: Sequence[int]
) -> list[Outcome]:
    """Score how well the halves of joint samples agree, beside halves of different samples and true pairs."""
    scenes = _showing(condition, splits.test)
    keys = scenes.seeds.tolist()
    threshold = _threshold(judge, condition, splits, seeds[0])

    def agree(read: np.ndarray, drawn: np.ndarray) -> MapScore:
        return agreement(condition, read, drawn, splits.test, threshold)

    own, shuffled = [], []
    for seed in seeds:
        drawings = painter.joint(scenes, condition, seed)
        assert drawings.maps is not None
        read = judge.read(drawings.pictures, condition, keys, seed).maps
        own.append(agree(read, drawings.maps))
        shuffled.append(agree(_shifted(read), drawings.maps))
    true = judge.read(scenes.images, condition, keys, seeds[0]).maps
    return [
        Outcome(prediction="adapter", scores=own),
        Outcome(prediction="halves of different samples", scores=shuffled),
        Outcome(prediction="true pairs", scores=[agree(true, scenes.maps(condition))]),
    ]


def _read_and_score(
    reader: Reader, condition: str, splits: SceneSplits, seeds: Sequence[int]
) -> list[Outcome]:
    scenes, own, shuffled = splits.test, [], []
    threshold = _threshold(reader, condition, splits, seeds[0])
    for seed in seeds:
        maps = reader.read(scenes.images, condition, scenes.seeds.tolist(), seed).maps
        own.append(score(condition, maps, scenes, threshold))
        shuffled.append(score(condition, _shifted(maps), scenes, threshold))
    return [
        Outcome(prediction=reader.name, scores=own),
        Outcome(prediction=SHUFFLED_PICTURE, scores=shuffled),
    ]


def _threshold(reader: Reader, condition: str, splits: SceneSplits, seed: int) -> float:
    """Chosen on validation scenes from this reader's own maps."""
    if condition != "edge":
        return 0.5
    scenes = splits.validation
    maps = reader.read(scenes.images, condition, scenes.seeds.tolist(), seed).maps
    return choose_threshold(condition, maps, scenes)


def _mean_outcomes(condition: str, splits: SceneSplits) -> list[Outcome]:
    mean = mean_map(condition, splits.training)
    repeat: Callable[[SceneSet], np.ndarray] = lambda s: np.broadcast_to(mean, (len(s), *mean.shape))  # noqa: E731
    threshold = choose_threshold(condition, repeat(splits.validation), splits.validation)
    scored = score(condition, repeat(splits.test), splits.test, threshold)
    outcomes = [Outcome(prediction="mean map of the training set", scores=[scored])]
    if condition == "pose":
        figure = mean_figure(splits.training)
        guessed = score_joints([figure] * len(splits.test), splits.test.joints)
        outcomes.append(Outcome(prediction="mean figure of the training set", scores=[guessed]))
    return outcomes


def _exact_map(condition: str, splits: SceneSplits) -> Outcome:
    """What drawing the truth as a map, and reading it back, already loses."""
    scored = score(condition, splits.test.maps(condition), splits.test)
    return Outcome(prediction="the exact map", scores=[scored])


def _showing(condition: str, scenes: SceneSet) -> SceneSet:
    """Scenes whose map shows something to follow."""
    kept = scenes.with_figures() if condition == "pose" else scenes
    if not len(kept):
        raise ValueError(f"none of the {len(scenes)} scenes shows a figure; take more of them (--num)")
    return kept


def _shifted(maps: np.ndarray) -> np.ndarray:
    """Each scene gets the map of the one before it."""
    if len(maps) < 2:
        raise ValueError("shuffled references need at least 2 scenes; raise --num")
    return np.roll(maps, 1, axis=0)
