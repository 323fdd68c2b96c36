"""Do the tolerance score, the thinning and the BSDS protocol count what they say?"""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from eval.metrics import bsds, bsds_engine, edges
from eval.metrics.thinning import removal_tables, thin
from tests.fixtures.maps.inputs import boundaries
from tests.fixtures.maps.oracles import oracles


def column(at: int, size: int = 20) -> np.ndarray:
    line = np.zeros((size, size), dtype=bool)
    line[:, at] = True
    return line


# tolerance score


@pytest.mark.parametrize("offset, expected", [(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.0)])
def test_a_shifted_line_counts_within_the_tolerance(offset, expected):
    assert edges.edge_f1(column(8 + offset), column(8), tolerance_px=2) == expected


def test_tolerance_is_euclidean():
    a, b = np.zeros((9, 9), dtype=bool), np.zeros((9, 9), dtype=bool)
    a[2, 2], b[4, 4] = True, True  # 2 px in each direction is 2.83 px
    assert edges.edge_f1(a, b, tolerance_px=2) == 0
    assert edges.edge_f1(a, b, tolerance_px=2.83) == 1


def test_precision_and_recall_by_hand():
    truth, half = column(5), column(5)
    half[10:] = False
    counts = edges.edge_counts(half | column(15), truth, tolerance_px=0)
    assert (counts.precision, counts.recall) == (10 / 30, 10 / 20)
    assert counts.f1 == pytest.approx(2 * (1 / 3) * 0.5 / (1 / 3 + 0.5))


def test_exchanging_the_maps_exchanges_precision_and_recall():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 30, 30)) < 0.1
    one, two = edges.edge_counts(a, b), edges.edge_counts(b, a)
    assert (one.precision, one.recall, one.f1) == (two.recall, two.precision, two.f1)


def test_distance_agrees_with_brute_force():
    line = np.random.default_rng(1).random((17, 23)) < 0.02
    everywhere = np.argwhere(np.ones(line.shape))
    gaps = np.linalg.norm(everywhere[:, None] - np.argwhere(line)[None], axis=-1).min(1).reshape(line.shape)
    for tolerance in (0, 1, 2, 2.5, 5**0.5, 5):
        np.testing.assert_array_equal(edges.near(line, tolerance), gaps <= tolerance)


def test_filling_the_picture_does_not_pay():
    truth = column(4) | column(10) | column(16)
    everything = np.ones_like(truth)
    assert edges.edge_counts(everything, truth, thin=False).f1 > 0.8
    assert edges.edge_f1(everything, truth) < 0.3


def test_empty_maps():
    nothing = np.zeros((20, 20), dtype=bool)
    assert edges.edge_f1(nothing, nothing) == 1
    assert edges.edge_f1(nothing, column(3)) == 0
    assert edges.edge_f1(column(3), nothing) == 0


def test_best_threshold_finds_the_clean_one():
    soft = np.where(column(5), 0.8, np.where(column(15), 0.55, 0.0))
    threshold, counts = edges.best_threshold([soft], [column(5)])
    assert 0.55 < threshold <= 0.8
    assert counts.f1 == 1


@pytest.mark.parametrize(
    "predicted, truth, settings, message",
    [
        (column(3), column(3, 10), {}, "resize to the same"),
        (255.0 * column(3), column(3), {}, "divide 8-bit maps"),
        (column(3).astype(np.uint8), column(3), {}, "expected bool"),
        (np.full((20, 20), np.nan), column(3), {}, "expected bool, or floats"),
        (column(3)[None], column(3), {}, r"expected a non-empty \(H, W\)"),
        (column(3), column(3), {"tolerance_px": -1}, "must be at least 0"),
    ],
)
def test_bad_edges_are_named(predicted, truth, settings, message):
    with pytest.raises(ValueError, match=message):
        edges.edge_counts(predicted, truth, **settings)


def test_thresholds_need_pairs_of_maps():
    with pytest.raises(ValueError, match="equal, non-zero numbers"):
        edges.best_threshold([], [])


# thinning


def test_removal_tables_are_those_of_bwmorph():
    # recorded from the tables of pyEdgeEval 0.2.8's bwmorph_thin, equal in all 512 entries
    bits = np.packbits(np.concatenate(removal_tables())).tobytes()
    assert hashlib.sha256(bits).hexdigest()[:16] == "630c2aebc94fd66a"


def test_thinning_a_bar_leaves_its_middle_line():
    bar = np.zeros((9, 30), dtype=bool)
    bar[3:6, 4:26] = True
    line = thin(bar)
    assert not (line & ~bar).any()
    assert (line[:, 6:24].sum(0) == 1).all()
    assert line[4, 6:24].all()


def test_thinning_is_idempotent_and_keeps_components():
    cv2 = pytest.importorskip("cv2")
    blobs = cv2.GaussianBlur(np.random.default_rng(0).random((60, 60)), (0, 0), 2) > 0.5
    once = thin(blobs)
    np.testing.assert_array_equal(thin(once), once)
    assert (
        cv2.connectedComponents(once.astype(np.uint8))[0]
        == cv2.connectedComponents(blobs.astype(np.uint8))[0]
    )


def test_thinning_wants_bool():
    with pytest.raises(ValueError, match="expected a bool"):
        thin(np.zeros((3, 3)))


# BSDS


def test_matching_is_one_to_one():
    pytest.importorskip("scipy")
    a, b = np.zeros((9, 9), dtype=bool), np.zeros((9, 9), dtype=bool)
    a[4, 3:6] = True
    b[4, 4] = True
    from_a, from_b = bsds.correspond(a, b, 2.0)
    assert from_a.sum() == from_b.sum() == 1
    assert from_a[4, 4]  # the nearest of the three, though all are within reach


def test_matching_prefers_many_pairs_to_short_ones():
    pytest.importorskip("scipy")
    a, b = np.zeros((1, 9), dtype=bool), np.zeros((1, 9), dtype=bool)
    a[0, [3, 5]] = True
    b[0, [5, 7]] = True  # 5-5 would leave 3 and 7 alone
    from_a, from_b = bsds.correspond(a, b, 2.0)
    assert from_a.sum() == from_b.sum() == 2


@pytest.mark.parametrize("seed", range(5))
def test_matching_equals_the_dense_assignment(seed):
    optimize = pytest.importorskip("scipy.optimize")
    a, b = np.random.default_rng(seed).random((2, 12, 12)) < 0.25
    p, g = np.argwhere(a), np.argwhere(b)
    gaps = np.linalg.norm(p[:, None] - g[None], axis=-1)
    outlier = bsds.OUTLIER_COST * 1.6
    costs = np.concatenate([np.where(gaps <= 1.6, gaps, 1e6), np.full((len(p), len(p)), outlier)], axis=1)
    rows, columns = optimize.linear_sum_assignment(costs)
    from_a, from_b = bsds.correspond(a, b, 1.6)
    assert from_a.sum() == from_b.sum() == (columns < len(g)).sum()


def test_annotators_are_pooled_as_the_benchmark_says():
    pytest.importorskip("scipy")
    annotations = np.stack([column(5), column(5) | column(15)])
    counts = bsds.boundary_counts(column(15).astype(float), annotations, thresholds=np.array([0.5]))
    assert counts.num_true[0] == 60  # 20 + 40
    assert counts.matched_true[0] == 20  # only the second annotator drew it
    assert (counts.matched_predicted[0], counts.num_predicted[0]) == (20, 20)  # right for one is right


def test_counts_agree_with_the_original_matcher():
    """Recorded from pyEdgeEval 0.2.8, which wraps the benchmark's C++; its sparse graph is randomised."""
    pytest.importorskip("scipy")
    annotations, strength = drawn_curves()
    counts = bsds.boundary_counts(strength, annotations, thresholds=np.array([0.3, 0.6]))
    np.testing.assert_allclose(counts.matched_true, ORACLE["matched_true"], rtol=0.01)
    np.testing.assert_allclose(counts.matched_predicted, ORACLE["matched_predicted"], rtol=0.02)
    np.testing.assert_array_equal(counts.num_true, ORACLE["num_true"])
    np.testing.assert_array_equal(counts.num_predicted, ORACLE["num_predicted"])


def drawn_curves() -> tuple[np.ndarray, np.ndarray]:
    """Two annotators' curves and a displaced, partly noisy prediction, in integers only."""
    x = np.arange(160)
    annotations = np.zeros((2, 120, 160), dtype=bool)
    for at, phase in ((30, 0), (60, 2), (90, 4)):
        annotations[0, np.round(at + 12 * np.sin(x / 15 + phase)).astype(int), x] = True
        annotations[1, np.round(at + 1 + 11 * np.sin(x / 15 + phase)).astype(int), x] = True
    annotations[1, 30:80, 100] = True
    strength = 0.8 * np.roll(annotations[0], 1, axis=0)
    strength[np.random.RandomState(0).rand(120, 160) < 0.05] = 0.4
    return annotations, strength


ORACLE = {
    "matched_true": [971, 904],
    "num_true": [1008, 1008],
    "matched_predicted": [520, 453],
    "num_predicted": [1442, 453],
}


def counts_of(matched_true, num_true, matched_predicted, num_predicted):
    return bsds.BoundaryCounts(
        thresholds=np.array([0.25, 0.75]),
        matched_true=np.array(matched_true),
        num_true=np.array(num_true),
        matched_predicted=np.array(matched_predicted),
        num_predicted=np.array(num_predicted),
    )


def line(precision, recall):
    """The benchmark's 100 steps from one threshold to the next."""
    return [(d, *((1 - d) * a + d * b for a, b in (precision, recall))) for d in np.linspace(0, 1, 101)]


def test_ods_and_ois_by_hand():
    one = counts_of([10, 2], [10, 10], [10, 2], [40, 2])  # F 0.4 and 1/3
    two = counts_of([10, 9], [10, 10], [10, 9], [90, 9])  # F 0.2 and 18/19
    score = bsds.boundary_score([one, two])
    # summed: recall 1, precision 20/130 at 0.25; recall 11/20, precision 1 at 0.75; straight lines between
    f, part = max((2 * p * r / (p + r), d) for d, p, r in line((20 / 130, 1.0), (1.0, 11 / 20)))
    assert score.ods_f1 == pytest.approx(f)
    assert score.ods_threshold == pytest.approx(0.25 + 0.5 * part)
    # each at its best: recall 19/20, precision 19/49
    assert score.ois_f1 == pytest.approx(2 * (19 / 20) * (19 / 49) / (19 / 20 + 19 / 49))
    assert score.num_pictures == 2


def test_perfect_map_scores_one_and_area_by_hand():
    score = bsds.boundary_score([counts_of([10, 5], [10, 10], [10, 5], [10, 5])])
    assert (score.ods_f1, score.ois_f1) == (1, 1)
    assert score.area == pytest.approx(0.5)  # precision 1 from recall 0.5 to 0.99


def test_suppression_keeps_the_ridge():
    ridge = np.exp(-((np.arange(40) - 20.0) ** 2) / 8) * np.ones((40, 1))
    kept = bsds.suppress(ridge)
    middle = kept[10:30]
    assert (middle[:, 20] > 0.7).all()
    assert (middle[:, :18] == 0).all()
    assert (middle[:, 23:] == 0).all()
    assert (kept[0] == 0).all()  # the faded border


@pytest.mark.parametrize(
    "predicted, annotations, message",
    [
        (np.full((4, 4), 2.0), np.zeros((1, 4, 4), dtype=bool), r"values in \[0, 1\]"),
        (np.full((4, 4), np.nan), np.zeros((1, 4, 4), dtype=bool), "no NaN"),
        (np.zeros((4, 4)), np.zeros((4, 4), dtype=bool), r"expected bool \(annotators, 4, 4\)"),
        (np.zeros((4, 4)), np.zeros((1, 4, 4)), "annotations are float64"),
    ],
)
def test_bad_boundaries_are_named(predicted, annotations, message):
    with pytest.raises(ValueError, match=message):
        bsds.boundary_counts(predicted, annotations)


def test_score_needs_counts():
    with pytest.raises(ValueError, match="at least one picture"):
        bsds.boundary_score([])


def test_score_needs_one_list_of_thresholds():
    other = bsds.BoundaryCounts(**dict.fromkeys(bsds.BoundaryCounts.__slots__, np.array([0.5, 0.6])))
    with pytest.raises(ValueError, match="different thresholds"):
        bsds.boundary_score([counts_of([1, 1], [1, 1], [1, 1], [1, 1]), other])


def test_thresholds_of_the_benchmark():
    np.testing.assert_allclose(bsds.default_thresholds(), np.arange(1, 100) / 100)
    with pytest.raises(ValueError, match="at least one threshold"):
        bsds.default_thresholds(0)


def test_small_maps_cannot_be_suppressed():
    with pytest.raises(ValueError, match="at least 10 px"):
        bsds.suppress(np.zeros((5, 5)))


def test_suppression_and_counts_equal_the_original_code():
    pytest.importorskip("scipy")
    known, thresholds = oracles(), np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(bsds.suppress(boundaries()[0]), known["suppressed"], atol=1e-12)
    for seed, (found, right, predicted, total) in enumerate(known["boundary_counts"][:, [0, 1, 2, 3]]):
        counts = bsds.boundary_counts(*boundaries(seed), thresholds=thresholds)
        np.testing.assert_allclose(counts.matched_true, found, atol=1)
        np.testing.assert_allclose(counts.matched_predicted, predicted, atol=1)
        np.testing.assert_array_equal(counts.num_true, right)
        np.testing.assert_array_equal(counts.num_predicted, total)


def test_summaries_equal_the_original_code():
    known, thresholds = oracles(), np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    names = ("matched_true", "num_true", "matched_predicted", "num_predicted")
    counts = [
        bsds.BoundaryCounts(thresholds=thresholds, **dict(zip(names, rows, strict=True)))
        for rows in known["boundary_counts"]
    ]
    found = bsds.boundary_score(counts)
    mine = (found.ods_f1, found.ods_threshold, found.ois_f1, found.area, found.average_precision)
    assert mine == pytest.approx(tuple(known["boundary_score"]), rel=1e-9)


def test_the_original_engine_agrees_where_it_is_installed():
    pytest.importorskip("pyEdgeEval", exc_type=ImportError)
    thresholds = np.array([0.4])
    own = bsds.boundary_counts(*boundaries(2), thresholds=thresholds)
    found = bsds_engine.original_counts(*boundaries(2), thresholds=thresholds)
    assert found.matched_true[0] == pytest.approx(own.matched_true[0], abs=2)
    assert found.num_predicted[0] == own.num_predicted[0]
    np.testing.assert_allclose(
        bsds_engine.original_suppress(boundaries(2)[0]), bsds.suppress(boundaries(2)[0]), atol=1e-12
    )


def test_the_original_engine_is_named_where_it_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyEdgeEval", None)
    with pytest.raises(ImportError, match=r"pyEdgeEval.*engines"):
        bsds_engine.original_counts(*boundaries())
    with pytest.raises(ImportError, match=r"pyEdgeEval.*engines"):
        bsds_engine.original_suppress(boundaries()[0])


def test_crispness_is_what_suppression_keeps():
    # slanted: the original orientation is not defined on lines that follow the grid exactly
    rows, columns = np.indices((60, 60))
    across = rows - 20 - 0.3 * columns
    blurred, sharp = np.exp(-((across / 6) ** 2) / 2), (np.abs(across) < 0.5).astype(float)
    assert bsds.crispness(blurred) < 0.2
    assert 0.3 < bsds.crispness(sharp) <= 1
    with pytest.raises(ValueError, match="an edge map without an edge has no crispness"):
        bsds.crispness(np.zeros((60, 60)))
