"""Are a judge's readings of changed pictures scored beside those of the pictures as they are?"""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.judge import SHOWN, blurred, changes, measure, noisy, saved
from eval.protocols.readers import JudgeReader
from eval.protocols.scene_set import scene_set
from eval.protocols.scenes import SceneSplits
from tests.tiny_base import SIDE_PX, tiny_pipeline
from tests.tiny_judge import tiny_judge


@pytest.fixture(scope="module")
def pipe(tmp_path_factory):
    return tiny_pipeline(tmp_path_factory.mktemp("words"))


def test_every_change_is_measured(pipe, tmp_path):
    sets = [scene_set(s, 4, size_px=SIDE_PX, cache_folder=tmp_path) for s in ("standard", "validation")]
    splits = SceneSplits(test=sets[0], validation=sets[1], training=sets[1])
    rows = {row["pictures"]: row for row in measure(JudgeReader(judge=tiny_judge()), splits, pipe, 2)}
    references = {"as rendered", "another scene's picture", "mean map, mean figure", "exact map"}
    assert set(rows) == references | set(changes(pipe))
    assert rows["exact map"]["abs_rel"] < 0.05
    assert rows["exact map"]["f1"] == 1
    assert {"abs_rel", "delta1", "f1"} <= set(rows["noise of 0.05"]) <= {"pictures", *SHOWN}


def test_pictures_are_changed_as_told(pipe):
    grey = np.full((3, SIDE_PX, SIDE_PX, 3), 128, np.uint8)
    grey[:, :, SIDE_PX // 2 :] = 200
    assert noisy(grey, 0.05)[:, :, :8].std() == pytest.approx(0.05 * 255, rel=0.1)
    assert (blurred(grey, 1.0)[:, :, 4] == 128).all()
    assert blurred(grey, 1.0)[0, 0, SIDE_PX // 2, 0] not in (128, 200)
    for change in changes(pipe).values():
        made = change(grey)
        assert made.shape == grey.shape
        assert made.dtype == np.uint8
    assert np.abs(saved(grey, 30).astype(int) - grey).max() < 40
