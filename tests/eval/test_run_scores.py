"""Do measures say of a sum of facts what their metrics say of the set, and are intervals honest?"""

from __future__ import annotations

import argparse
import inspect
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval import metrics
from eval.features import Extractor
from eval.metrics.bsds import boundary_counts, boundary_score, default_thresholds, suppress
from eval.metrics.depth import align, batch_depth_errors, mean_errors
from eval.metrics.pose import pose_counts
from eval.protocols.scene_set import CONDITIONS, SceneSet
from eval.runs import measures
from eval.runs.items import Item, Sample, Task
from eval.runs.measures.depth import DepthMeasure
from eval.runs.measures.edges import BoundaryMeasure, EdgeMeasure
from eval.runs.measures.kinds import MEASURES, as_json, from_json
from eval.runs.measures.measure import Measure
from eval.runs.measures.pictures import LikenessMeasure, ViewMeasure
from eval.runs.measures.pose import PoseMeasure
from eval.runs.roll import Roll
from eval.runs.scores import Difference, Row, differences, extremes, results
from eval.runs.scoring import metrics_fingerprint
from eval.runs.truth import truth_of_map
from eval.suites import folder
from eval.suites.mini import items_of
from unicon.conditions.edges import edge_strength
from unicon.conditions.palettes import map_to_depth
from unicon.conditions.pose import draw_pose
from unicon.conditions.pose_reading import read_pose
from unicon.data.pairs import open_pairs
from unicon.pictures import Frame, as_pictures

SIDE = 48
BLANK = Item(name="a", key=0, image=np.zeros((SIDE, SIDE, 3), np.uint8))
DEPTH = Task(condition="depth", direction="estimate")


def sample(values: np.ndarray, truth) -> Sample:
    return Sample(item=BLANK, condition="any", map=values.astype(np.float32), truth=truth)


def maps(num: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).uniform(0, 1, (num, 6, 6, 1))
    return np.repeat(np.kron(small, np.ones((1, 8, 8, 1))), 3, axis=-1)


def summed(measure, samples) -> dict[str, float]:
    facts = [measure.facts(one) for one in samples]
    return measure.of(np.sum(facts, axis=0), len(facts))


def test_depth_is_the_mean_over_pictures():
    drawn, truth = maps(3), np.random.default_rng(1).uniform(1, 9, (3, SIDE, SIDE))
    found = summed(DepthMeasure(low=0.1, high=10.0), map(sample, drawn, truth))
    whole = mean_errors(batch_depth_errors([map_to_depth(m) for m in drawn], truth, low=0.1, high=10.0))
    assert found == pytest.approx({name: getattr(whole, name) for name in found}, rel=1e-5)


def test_views_are_compared_by_what_the_image_encoder_sees():
    one, other = maps(2).astype(np.float32)
    features = Extractor()
    seen = [features.of_array(view) for view in (one, other)]
    cosine = seen[0] @ seen[1] / np.linalg.norm(seen[0]) / np.linalg.norm(seen[1])
    assert summed(ViewMeasure(), [sample(one, one)])["view_cosine"] == pytest.approx(1)
    assert summed(ViewMeasure(), [sample(one, other)])["view_cosine"] == pytest.approx(cosine, rel=1e-5)
    assert cosine < 0.999
    assert from_json(as_json(ViewMeasure())) == ViewMeasure()


def test_a_depth_is_clipped_to_the_range_of_its_measure():
    truth = np.linspace(1, 9, SIDE)[None].repeat(SIDE, 0)
    wrong = 1 - truth / 10
    wrong[:, :4] = 1  # the fit puts these below the range
    free, clipped = (
        summed(DepthMeasure(low=low, high=10.0), [sample(np.repeat(wrong[..., None], 3, -1), truth)])
        for low in (1e-6, 0.9)
    )
    aligned = align(map_to_depth(np.repeat(wrong[..., None], 3, -1)), truth)
    assert aligned.min() < 0.9
    assert clipped["rmse"] == pytest.approx(
        np.sqrt(np.mean((np.clip(aligned, 0.9, 10) - truth) ** 2)), rel=1e-5
    )
    assert clipped["rmse"] < free["rmse"]


def test_a_depth_without_valid_pixels_has_no_facts():
    assert DepthMeasure(high=10.0).facts(sample(maps(1)[0], np.full((SIDE, SIDE), 25.0))) is None


def test_what_is_not_measured_takes_no_range_from_the_rest_in_disparity():
    truth = np.linspace(1.0, 4.0, SIDE * SIDE).reshape(SIDE, SIDE)
    holed = truth.copy()
    holed[:4] = 0
    whole, drawn = (DepthMeasure(alignment="disparity").redrawn(each) for each in (truth[4:], holed))
    np.testing.assert_array_equal(drawn[4:], whole)
    assert np.all(drawn[:4] == np.median(whole))


def test_boundaries_are_the_benchmarks():
    truth = np.zeros((2, SIDE, SIDE), bool)
    truth[0, 16, 4:40], truth[1, 4:40, 24] = True, True
    drawn = [np.repeat(truth.any(0)[..., None], 3, -1) * level for level in (0.9, 0.4)]
    drawn[1] = np.clip(drawn[1] + 0.3 * maps(1)[0], 0, 1)
    measure = BoundaryMeasure(num_thresholds=5)
    counts = [
        boundary_counts(
            np.clip(suppress(edge_strength(m.astype(np.float32))), 0, 1),
            truth,
            thresholds=default_thresholds(5),
        )
        for m in drawn
    ]
    whole, found = boundary_score(counts), summed(measure, [sample(m, truth) for m in drawn])
    assert found == pytest.approx({"ods": whole.ods_f1, "ois": whole.ois_f1, "area": whole.area})
    assert found["ois"] > found["ods"] > 0
    assert measure.of(np.zeros(24), 0) == measure.of(np.zeros(1), 0) == {}  # of nothing that has a truth


def figure(seed: int) -> np.ndarray:
    places = np.random.default_rng(seed).uniform(8, 120, (18, 2))
    return np.concatenate([places, np.ones((18, 1))], axis=1)


@pytest.mark.parametrize("normaliser", ["bbox", "torso"])
def test_poses_are_pooled_over_joints(normaliser):
    truths = [np.stack([figure(1)]), np.stack([figure(2), figure(3)])]
    drawn = [draw_pose(list(truth), 128) / 255 for truth in truths]
    found = summed(PoseMeasure(normaliser=normaliser), map(sample, drawn, truths))
    counts = [
        pose_counts(read_pose(m.astype(np.float32)), t, normaliser=normaliser)
        for m, t in zip(drawn, truths, strict=True)
    ]
    assert found[f"pck_{normaliser}"] == pytest.approx((counts[0] + counts[1]).pck)


def test_poses_without_labelled_joints_have_no_number():
    nobody = sample(np.zeros((SIDE, SIDE, 3)), np.zeros((0, 18, 3)))
    assert summed(PoseMeasure(), [nobody]) == {}


def test_edges_take_the_threshold_that_suits_other_pictures():
    truth = np.zeros((SIDE, SIDE), bool)
    truth[20, 5:40] = True
    faint = np.repeat(truth[..., None], 3, -1) * 0.3
    measure = EdgeMeasure()
    assert summed(measure, [sample(faint, truth)])["f1"] == 0
    chosen = measure.calibrated([sample(faint, truth)])
    assert chosen.threshold <= 0.3
    assert summed(chosen, [sample(faint, truth)])["f1"] == 1
    assert measure.calibrated([]) == measure


def test_edges_take_their_threshold_at_their_own_tolerance():
    """A bright line 3 px off, and a faint one where there is nothing: at 4 px the bright one is right."""
    truth, drawn = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE, 3))
    truth[20, 5:40] = True
    drawn[23, 5:40], drawn[40, 5:40] = 0.95, 0.35
    chosen = EdgeMeasure(tolerance_px=4.0).calibrated([sample(drawn, truth)])
    assert chosen.threshold > 0.35
    assert summed(chosen, [sample(drawn, truth)])["f1"] == 1
    assert summed(replace(chosen, tolerance_px=2.0), [sample(drawn, truth)])["f1"] == 0


def test_joints_are_right_within_the_measures_own_distance():
    truth = figure(1)
    moved = truth + [0.15 * np.ptp(truth[:, :2], axis=0).max(), 0, 0]
    drawn = draw_pose([moved], 160) / 255
    read = read_pose(drawn.astype(np.float32))
    for alpha in (0.1, 0.2):
        found = summed(PoseMeasure(alpha=alpha), [sample(drawn, truth[None])])
        assert found["pck_bbox"] == pose_counts(read, truth[None], alpha=alpha).pck
    assert pose_counts(read, truth[None], alpha=0.2).pck > 0.9


def test_other_maps_are_compared_pixel_by_pixel():
    one, other = maps(2)
    assert summed(LikenessMeasure(), [sample(one, one.astype(np.float32))])["map_rmse"] == 0
    found = summed(LikenessMeasure(), [sample(one, other)])
    assert found["map_rmse"] == pytest.approx(np.sqrt(np.mean((one - other) ** 2)), rel=1e-4)


@pytest.mark.parametrize("kind", MEASURES)
def test_a_measure_is_stored_with_its_settings(kind):
    measure = MEASURES[kind]()
    assert from_json(as_json(measure)) == measure
    assert measure.convention
    assert measure.numbers


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="measure 'taste' is not known; known: depth, edge"):
        from_json({"kind": "taste"})


@pytest.mark.parametrize("part", [*MEASURES.values(), Measure, pose_counts], ids=lambda part: part.__name__)
def test_what_a_changed_source_found_is_found_again(part, tmp_path, monkeypatch):
    before = metrics_fingerprint()
    package = metrics if part is pose_counts else measures
    folder = shutil.copytree(next(iter(package.__path__)), tmp_path / "copy")
    monkeypatch.setattr(package, "__path__", [str(folder)])
    assert metrics_fingerprint.__wrapped__() == before
    file = folder / Path(inspect.getfile(part)).name
    file.write_text(file.read_text() + "# changed\n")
    assert metrics_fingerprint.__wrapped__() != before


def test_a_drawn_map_stands_for_a_truth():
    values = maps(1)[0].astype(np.float32)
    depth = truth_of_map("depth", values, (1.0, 10.0))
    np.testing.assert_allclose(depth, 10 - 9 * values[..., 0], rtol=1e-5)  # near is bright
    line = np.zeros((SIDE, SIDE), bool)
    line[20, 5:40] = True
    assert np.array_equal(truth_of_map("edge", np.repeat(line[..., None], 3, -1)), line)
    joints = figure(1)
    (read,) = truth_of_map("pose", draw_pose([joints], 128) / 255)
    assert np.abs(read[:, :2] - joints[:, :2]).max() < 2
    assert np.array_equal(truth_of_map("normal", values), values)


def test_who_takes_part_and_whose_neighbour_is_whose():
    """Of two sizes in turn; the second picture's pose shows nobody."""
    sizes = [(4, 4), (4, 6), (4, 4), (4, 6), (4, 4), (2, 2)]
    items = [
        replace(
            BLANK,
            name=str(n),
            key=n,
            image=np.zeros((*size, 3), np.uint8),
            truth={"pose": np.array([figure(1)] if n != 1 else []).reshape(-1, 18, 3)},
        )  # fmt: skip
        for n, size in enumerate(sizes)
    ]
    roll = Roll.of(items, "pictures")
    assert roll.places(replace(DEPTH, condition="pose", direction="generate")) == [0, 2, 3, 4, 5]
    assert roll.places(replace(DEPTH, condition="pose")) == [0, 1, 2, 3, 4, 5]
    assert roll.places(replace(DEPTH, direction="joint")) == [0, 1, 2, 3, 4, 5]
    assert roll.another(range(6)) == {0: 4, 2: 0, 4: 2, 1: 3, 3: 1}  # 5 is alone in its size
    assert roll.another([0, 3, 4]) == {0: 4, 4: 0}
    assert list(roll.batches(range(6), 2)) == [[0, 2], [1, 3], [4], [5]]


# --- numbers of a set -------------------------------------------------------------------------------------


def row(errors: np.ndarray, prediction: str = "adapter") -> Row:
    """Of depth errors (seeds, N)."""
    facts = np.repeat(errors[..., None], len(DepthMeasure.NAMES), axis=-1)
    return Row(task=DEPTH, prediction=prediction, measure=DepthMeasure(), facts=facts)


def test_mean_deviation_and_interval():
    errors = np.random.default_rng(0).normal(1, 0.2, (3, 400))
    found = results(row(errors))["abs_rel"]
    assert found.mean == pytest.approx(errors.mean())
    assert found.deviation == pytest.approx(np.std(errors.mean(1), ddof=1))
    assert found.low is not None
    assert found.high is not None
    # of the mean over seeds: as wide as its standard error says
    assert found.high - found.low == pytest.approx(2 * 1.96 * errors.mean(0).std() / 20, rel=0.1)


def test_skipped_pictures_are_counted_and_left_out():
    errors = np.array([[1.0, np.nan, 3.0]])
    assert row(errors).num_skipped == 1
    assert results(row(errors))["abs_rel"].mean == 2


def test_one_picture_has_no_interval_and_one_seed_no_deviation():
    found = results(row(np.array([[0.5]])))["abs_rel"]
    assert (found.mean, found.deviation, found.low) == (0.5, None, None)


def test_pictures_that_say_nothing_make_no_interval():
    few = np.full((1, 30), np.nan)
    few[:, :4] = [[0.1, 0.2, 0.3, 0.4]]
    assert results(row(few))["abs_rel"].low is None
    assert not differences(row(few), row(few + 1))["abs_rel"].is_decided
    few[:, 4] = 0.5
    alone = row(few[:, :5])
    assert (row(few).num_telling("abs_rel"), alone.num_telling("abs_rel")) == (5, 5)
    assert results(row(few))["abs_rel"].low is not None


def test_paired_differences_see_what_single_intervals_do_not():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.1, 2, (1, 50))  # pictures differ much more than the runs do
    first, second = row(hard), row(hard - 0.05 + rng.normal(0, 0.02, hard.shape))
    own, other = (results(r)["abs_rel"] for r in (first, second))
    assert own.low is not None
    assert other.high is not None
    assert own.low < other.high  # they overlap
    found = differences(first, second)["abs_rel"]
    assert found.is_decided
    assert found.high is not None
    assert found.difference == pytest.approx(-0.05, abs=0.01)
    assert found.high < 0


def test_equal_runs_are_undecided():
    rng = np.random.default_rng(1)
    hard = rng.uniform(0.1, 2, (2, 50))
    noisy = (hard + rng.normal(0, 0.1, hard.shape) for _ in range(2))
    assert not differences(*map(row, noisy))["abs_rel"].is_decided
    assert not differences(row(hard), row(hard))["abs_rel"].is_decided
    assert not Difference(first=0.0, second=0.1, low=0.0, high=0.2).is_decided


def test_best_and_worst_never_meet():
    values = np.array([0.3, np.nan, 0.1, 0.2])
    assert extremes(values, "lower", 5) == ([2], [0])
    assert extremes(values, "higher", 1) == ([0], [2])
    assert extremes(np.array([0.3]), "lower", 2) == ([0], [])
    assert extremes(np.array([np.nan]), "lower", 2) == ([], [])


def test_items_are_known_by_everything_given():
    assert BLANK.digest == replace(BLANK, name="b").digest
    assert BLANK.digest != replace(BLANK, caption="a dog").digest
    assert BLANK.digest != replace(BLANK, truth={"depth": np.ones(3)}).digest
    assert BLANK.digest != replace(BLANK, maps={"depth": np.zeros((2, 2, 3))}).digest


def test_a_scene_draws_the_map_that_is_asked_for_and_is_known_by_all(monkeypatch):
    square = np.zeros((1, SIDE, SIDE), np.float32)
    scenes = SceneSet(
        split="standard", seeds=np.array([7]), images=np.zeros((1, SIDE, SIDE, 3), np.uint8),
        metres=square + np.arange(SIDE), edges=square > 0, poses=np.zeros((1, SIDE, SIDE, 3), np.uint8),
        joints=[np.zeros((0, 18, 3))], captions=["a floor"],
    )  # fmt: skip
    eager = {name: scenes.maps(name)[0] for name in CONDITIONS}
    drawn, maps = [], SceneSet.maps
    monkeypatch.setattr(SceneSet, "maps", lambda self, name: (drawn.append(name), maps(self, name))[1])
    items = items_of(scenes)
    entry = Roll.of(items, "scenes").entries[0]
    assert sorted(drawn) == sorted(CONDITIONS)
    assert entry.digest == replace(items[0], maps=eager).digest
    assert (entry.name, entry.key, entry.conditions) == ("scene 7", 7, CONDITIONS)
    drawn.clear()
    np.testing.assert_array_equal(items[0].maps["depth"], eager["depth"])
    assert drawn == ["depth"]
    with pytest.raises(KeyError, match="normal"):
        items[0].maps["normal"]


def test_of_a_users_pair_only_what_is_asked_for_is_read_and_joints_are_found_once(tmp_path, monkeypatch):
    """A run looks at every item many times, mostly at its picture alone."""
    for name in ("image", "depth", "edge", "pose"):
        (tmp_path / name).mkdir()
        for n in range(3):
            drawn = draw_pose([figure(n)], 128) if name == "pose" else maps(1, n)[0]
            Image.fromarray(np.uint8(drawn if name == "pose" else 255 * drawn)).resize((128, 128)).save(
                tmp_path / name / f"p{n}.png"
            )
    looked, read = [], folder.truth_of_map
    monkeypatch.setattr(
        folder, "truth_of_map", lambda name, values: (looked.append(name), read(name, values))[1]
    )
    conditions = ["depth", "edge", "pose"]
    asked = argparse.Namespace(data=str(tmp_path), num=None)
    items = folder.open_folder(asked, conditions, SIDE).items
    Roll.of(items, "pairs")
    assert sorted(looked) == sorted(3 * conditions)
    looked.clear()
    for item in items:
        assert item.image.shape == (128, 128, 3)
        assert len(item.truth["pose"]) == 1
    assert not looked
    first = items[0]
    assert first.truth["depth"] is first.truth["depth"]
    assert looked == ["depth"]


def test_a_users_map_of_another_size_is_resized_as_the_pipeline_resizes_it(tmp_path):
    rng = np.random.default_rng(0)
    for name, side in (("image", SIDE), ("canny_lines", 2 * SIDE)):
        (tmp_path / name).mkdir()
        values = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(values).save(tmp_path / name / "a.png")
    (pair,) = open_pairs(tmp_path, ["canny_lines"])
    made = folder.item_of(pair, ["canny_lines"]).maps["canny_lines"]
    frame = Frame.of(2 * SIDE, 2 * SIDE, 8, SIDE)
    entered = frame.enter(as_pictures(Image.open(tmp_path / "canny_lines" / "a.png"), "map"))
    np.testing.assert_array_equal(made, entered[0].movedim(0, -1).numpy())
