"""Are likeness and diversity means over the pairs they name, with nothing lost on the way?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from eval.metrics.likeness import diversity, likeness

X, Y = np.array([1.0, 0]), np.array([0.0, 2])


def test_likeness_is_the_mean_over_pairs_and_tells_what_was_not_seen():
    found = likeness({"cat": [X, None, X + Y / 2], "dog": [Y]}, {"cat": [X, Y], "dog": [Y, None], "cow": [X]})
    cat = [(1 + 0) / 2, 0, 1 / np.sqrt(2)]
    assert found.with_missing == pytest.approx((sum(cat) + 1) / 4)
    assert found.seen == pytest.approx((sum(cat) + 1) / 3)
    assert found.per_subject == pytest.approx({"cat": sum(cat) / 3, "dog": 1})
    assert (found.missing_rate, found.num, found.num_missing) == (0.25, 4, 1)
    assert (found.num_references, found.num_references_missing) == (4, 1)
    assert found.interval is not None
    assert found.interval.low <= found.with_missing <= found.interval.high


def test_likeness_without_anything_to_see_is_refused():
    with pytest.raises(ValueError, match="no generated picture to compare"):
        likeness({"cat": []}, {"cat": [X]})
    with pytest.raises(ValueError, match="subject 'cat' has 0 references"):
        likeness({"cat": [X]}, {"dog": [X]})
    with pytest.raises(
        ValueError, match="subject 'cat' has 1 references, and the embedder sees something in none"
    ):
        likeness({"cat": [X]}, {"cat": [None]})
    with pytest.raises(ValueError, match="in none of the 2 generated pictures"):
        likeness({"cat": [None, None]}, {"cat": [X]})


def test_diversity_equals_all_pairs():
    rng = np.random.default_rng(0)
    samples = {"a": rng.normal(size=(4, 6)), "b": rng.normal(size=(3, 6)), "c": rng.normal(size=(1, 6))}

    def mean(rows, far):
        return np.mean([far(p, q) for p, q in itertools.combinations(rows, 2)])

    def cosine(p, q):
        return 1 - p @ q / np.linalg.norm(p) / np.linalg.norm(q)

    for name, far in (("cosine", cosine), ("euclidean", lambda p, q: np.linalg.norm(p - q))):
        found = diversity(samples, name)
        expected = [mean(samples[key], far) for key in "ab"]
        assert found.mean == pytest.approx(np.mean(expected))
        assert found.deviation == pytest.approx(np.std(expected, ddof=1))
        assert list(found.per_condition) == ["a", "b"]
        assert (found.num_samples, found.num_skipped) == (7, 1)


def test_equal_samples_have_no_diversity():
    assert diversity({"a": np.stack([X, 3 * X])}).mean == pytest.approx(0)
    assert diversity({"a": np.stack([X, -X])}).mean == pytest.approx(2)


def test_bad_samples_are_refused():
    with pytest.raises(ValueError, match="none of 1 conditions has two samples"):
        diversity({"a": X[None]})
    with pytest.raises(ValueError, match="distance is 'l1'; known: cosine, euclidean"):
        diversity({"a": np.eye(2)}, "l1")
    with pytest.raises(ValueError, match="hold NaN"):
        diversity({"a": np.full((2, 2), np.nan)}, "euclidean")
