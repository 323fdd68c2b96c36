"""Are OKS and AP those of pycocotools?"""

from __future__ import annotations

import json

import numpy as np
import pytest

from eval.metrics.coco import coco_files, coco_stats
from eval.metrics.oks import (
    BOX_TO_AREA,
    MOST_PER_PICTURE,
    SIGMAS,
    figures,
    pose_ap,
    similarity,
)
from eval.metrics.pose import JOINT_NAMES
from tests.fixtures.maps.inputs import poses
from tests.fixtures.maps.oracles import oracles
from unicon.conditions.pose import COCO_FROM_OPENPOSE


def person(x=0.0, seen=17):
    """A figure 100 px square."""
    joints = np.zeros((17, 3))
    joints[:, 0] = np.linspace(0, 100, 17) + x
    joints[:, 1] = np.linspace(100, 0, 17)
    joints[:seen, 2] = 1
    return joints


def test_similarity_by_hand():
    truth = figures([person()], areas=[5000.0])
    moved = person()
    moved[0, 0] += 10
    found = similarity(figures([moved]), truth)
    assert found[0, 0] == pytest.approx((16 + np.exp(-100 / (2 * 5000 * 0.052**2))) / 17)


def test_joints_that_are_hidden_are_not_asked_for_and_missing_ones_add_nothing():
    truth = figures([person(seen=10)], areas=[5000.0])
    assert similarity(figures([person(seen=10)]), truth)[0, 0] == 1
    assert similarity(figures([person(seen=4)]), truth)[0, 0] == pytest.approx(0.4)
    unknown = person(seen=10)
    unknown[10:, :2] = np.nan  # nobody says where they are
    assert similarity(figures([person(seen=10)]), figures([unknown], areas=[5000.0]))[0, 0] == 1


def test_results_equal_those_of_pycocotools():
    known, found = oracles(), pose_ap(*poses())
    assert 0.1 < found.ap75 < found.ap50 < 0.95
    for name in ("ap", "ap50", "ap75", "ar"):
        assert getattr(found, name) == pytest.approx(float(known[f"coco_{name}"]), abs=1e-12)


def test_pycocotools_itself_agrees_where_it_is_installed():
    pytest.importorskip("pycocotools")
    found, own = coco_stats(*poses(seed=3)), pose_ap(*poses(seed=3))
    assert {name: found[name] for name in ("ap", "ap50", "ap75", "ar")} == pytest.approx(
        {name: getattr(own, name) for name in ("ap", "ap50", "ap75", "ar")}
    )
    assert not [name for name in found if "large" in name]


def test_coco_files_need_the_engine_or_are_scored(tmp_path):
    files = [tmp_path / "results.json", tmp_path / "truth.json"]
    files[0].write_text("[]")
    files[1].write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(ValueError, match=r"nothing.json: cannot be read as JSON"):
        coco_files(tmp_path / "nothing.json", files[1])
    with pytest.raises(ValueError, match="expected a list of results and an object of COCO annotations"):
        coco_files(files[1], files[0])
    with pytest.raises(ImportError if not _has_engine() else ValueError, match="pycocotools|COCO keypoint"):
        coco_files(*files)


def _has_engine() -> bool:
    try:
        import pycocotools  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def test_perfect_figures_score_one_and_extra_ones_cost_precision():
    truth = [figures([person(), person(400)])]
    perfect = pose_ap(truth, truth)
    assert (perfect.ap, perfect.ar, perfect.mean_oks, perfect.count_error) == (1, 1, 1, 0)
    first = figures([person(9000), person(), person(400)], scores=[0.9, 0.8, 0.7])
    found = pose_ap([first], truth)
    assert found.ap == pytest.approx(2 / 3)  # best precision at any recall: 2 of 3
    assert (found.mean_oks, found.count_error) == (1, 1)
    last = figures([person(), person(400), person(9000)], scores=[0.9, 0.8, 0.7])
    assert pose_ap([last], truth).ap == 1


def test_only_the_first_twenty_of_a_picture_count():
    crowd = [person(9000)] * MOST_PER_PICTURE + [person()]
    scores = [0.9] * MOST_PER_PICTURE + [0.1]
    assert pose_ap([figures(crowd, scores=scores)], [figures([person()])]).ar == 0


def test_no_prediction_is_zero_and_unlabelled_figures_are_counted():
    truth = [figures([person(), person(seen=0)]), figures([])]
    found = pose_ap([figures([]), figures([])], truth)
    assert (found.ap, found.ar, found.mean_oks) == (0, 0, 0)
    assert (found.num_true, found.num_skipped, found.num_predicted, found.num_pictures) == (1, 1, 0, 2)


def test_openposes_joints_become_cocos_by_name():
    sides = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    coco = ["nose", *(f"{side}_{part}" for part in sides for side in ("left", "right"))]
    assert [JOINT_NAMES[place] for place in COCO_FROM_OPENPOSE] == coco
    assert len(SIGMAS) == 17
    found = figures(np.arange(54.0).reshape(1, 18, 3))
    assert found.joints[0, 1].tolist() == [45, 46, 47]  # left eye, number 15


def test_areas_come_from_the_box_of_visible_joints():
    hidden = person()
    hidden[9:, 2] = 0  # x to 50, y from 50
    assert figures([hidden]).areas[0] == pytest.approx(BOX_TO_AREA * 50 * 50)
    assert figures([person(seen=0)]).areas[0] == 0


def test_bad_figures_are_refused():
    with pytest.raises(ValueError, match=r"joints have shape \(1, 16, 3\); expected \(n, 17, 3\)"):
        figures(np.zeros((1, 16, 3)))
    with pytest.raises(ValueError, match=r"areas \(2,\), scores \(1,\)"):
        figures([person()], areas=[1, 2])
    with pytest.raises(ValueError, match="NaN or infinity among visible joints"):
        figures([np.full((17, 3), np.nan)], areas=[1], scores=[np.nan])
    with pytest.raises(ValueError, match="a true figure has no visible joint"):
        similarity(figures([person()]), figures([person(seen=0)]))
    with pytest.raises(ValueError, match="a true figure has no area"):
        similarity(figures([person()]), figures([person(seen=1)]))
    with pytest.raises(ValueError, match="figures of 1 predicted and 0 true pictures"):
        pose_ap([figures([])], [])
    with pytest.raises(ValueError, match="no true figure has a visible joint"):
        pose_ap([figures([person()])], [figures([])])
    with pytest.raises(ValueError, match="figures of 1 predicted and 0 true pictures"):
        coco_stats([figures([])], [])
    with pytest.raises(ValueError, match="no predicted figure: pycocotools has nothing to score"):
        coco_stats([figures([])], [figures([person()])])
