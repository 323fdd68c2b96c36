"""Does the protocol tell skill from chance, with readers whose skill is known?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from eval.protocols import scenes
from eval.protocols.drawing import Drawings
from eval.protocols.readers import Readings
from eval.protocols.scene_set import SceneSet


@dataclass
class Oracle:
    """Looks the exact map up by the scene's seed; with `steady`, up to a little noise of the run's seed."""

    sets: list[SceneSet]
    noise: float = 0.0
    name: str = "adapter"

    def read(self, pictures, condition, keys, seed) -> Readings:
        maps = {
            int(s): m
            for scenes in self.sets
            for s, m in zip(scenes.seeds, scenes.maps(condition), strict=True)
        }
        rng = np.random.default_rng(seed)
        exact = np.stack([maps[key] for key in keys])
        noisy = exact + self.noise * rng.normal(size=exact.shape)
        return Readings(maps=np.clip(noisy, 0, 1).astype(np.float32))


class Copier:
    """Paints each scene's own picture, and its exact map."""

    def generate(self, chosen, condition, seed) -> Drawings:
        return Drawings(pictures=chosen.images)

    def joint(self, chosen, condition, seed) -> Drawings:
        return Drawings(pictures=chosen.images, maps=chosen.maps(condition))


@pytest.fixture
def oracle(splits) -> Oracle:
    return Oracle([splits.test, splits.validation])


def by_name(outcomes):
    return {outcome.prediction: outcome.scores for outcome in outcomes}


def test_a_perfect_estimator_equals_the_exact_map_and_chance_does_not(oracle, splits):
    for condition, better in (
        ("depth", lambda a, b: a.abs_rel < b.abs_rel),
        ("edge", lambda a, b: a.f1 > b.f1),
    ):
        rows = by_name(scenes.estimation([oracle], condition, splits, [0, 1]))
        assert list(rows) == [
            "adapter",
            "adapter, another scene's picture",
            "mean map of the training set",
            "the exact map",
        ]
        assert [len(scores) for scores in rows.values()] == [2, 2, 1, 1]
        assert rows["adapter"][0] == replace(rows["the exact map"][0], **threshold(rows["adapter"][0]))
        assert better(rows["adapter"][0], rows["adapter, another scene's picture"][0])
        assert better(rows["adapter"][0], rows["mean map of the training set"][0])


def threshold(score) -> dict[str, float]:
    return {"threshold": score.threshold} if hasattr(score, "threshold") else {}


def test_other_readers_stand_beside_the_adapter_and_pose_has_a_mean_figure(oracle, splits):
    rows = by_name(scenes.estimation([oracle, replace(oracle, name="regressor")], "pose", splits, [0, 1]))
    assert len(rows["regressor"]) == 1
    assert rows["mean figure of the training set"][0].num == rows["adapter"][0].num


def test_seeds_change_a_noisy_estimator(oracle, splits):
    first, second = by_name(scenes.estimation([replace(oracle, noise=0.2)], "depth", splits, [0, 1]))[
        "adapter"
    ]
    assert first.abs_rel != second.abs_rel


def test_a_picture_that_follows_its_map_scores_as_the_scenes_own(oracle, splits):
    rows = by_name(scenes.generation(Copier(), oracle, "depth", splits, [0]))
    assert rows["adapter"] == rows["the scene's own picture"]
    assert rows["adapter"][0].abs_rel < rows["adapter, another scene's map"][0].abs_rel


def test_halves_of_one_sample_agree_and_of_different_samples_do_not(oracle, splits):
    rows = by_name(scenes.joint(Copier(), oracle, "edge", splits, [0]))
    assert rows["adapter"] == rows["true pairs"]
    assert rows["adapter"][0].f1 > 0.9 > rows["halves of different samples"][0].f1


def test_generating_from_poses_needs_a_figure(oracle, splits):
    empty = splits.test.take([i for i, j in enumerate(splits.test.joints) if not j[..., 2].any()])
    with pytest.raises(ValueError, match="shows a figure; take more"):
        scenes.generation(Copier(), oracle, "pose", replace(splits, test=empty), [0])


def test_a_single_scene_cannot_be_shuffled(oracle, splits):
    with pytest.raises(ValueError, match="at least 2 scenes"):
        scenes.estimation([oracle], "depth", replace(splits, test=splits.test.take([0])), [0])
