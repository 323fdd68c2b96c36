"""Are CLIP scores on the scale they name?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.text import cosines, on_scale, text_score


def test_scales_by_hand():
    given = np.array([-0.2, 0.0, 0.3])
    np.testing.assert_allclose(on_scale(given, "cosine"), given)
    np.testing.assert_allclose(on_scale(given, "percent"), [0, 0, 30])
    np.testing.assert_allclose(on_scale(given, "hessel"), [0, 0, 0.75])


def test_a_score_is_the_mean_of_the_own_cosines():
    pictures = np.array([[2.0, 0], [0, 3], [1, 1]])
    texts = np.array([[1.0, 0], [1, 1], [0, 5]])
    found = text_score(pictures, texts, ["a", "b", "c"], scale="percent")
    half = 100 / np.sqrt(2)
    assert found.mean.mean == pytest.approx((100 + half + half) / 3)
    # with the next one's caption: (2, 0) . (1, 1), (0, 3) . (0, 5), (1, 1) . (1, 0)
    assert found.shuffled == pytest.approx((half + 100 + half) / 3)
    # the second is nearer to the third's caption, the third to the second's
    assert found.own_first == pytest.approx(1 / 3)
    assert (found.scale, found.num) == ("percent", 3)


def test_rivals_are_other_captions_and_not_other_pictures():
    """Both pictures are nearest to their own captions; the second caption is nearer to the first picture."""
    pictures, texts = (np.exp(1j * np.radians(angles)) for angles in ([16, 60], [0, 33]))
    pictures, texts = (np.stack([each.real, each.imag], axis=1) for each in (pictures, texts))
    assert text_score(pictures, texts, ["a", "b"]).own_first == 1
    assert text_score(texts, pictures, ["a", "b"]).own_first == 0.5


def test_many_pictures_are_compared_a_few_at_a_time(monkeypatch):
    rng = np.random.default_rng(0)
    pictures, texts = rng.normal(size=(2, 23, 6))
    captions = [f"caption {n % 7}" for n in range(23)]
    at_once = text_score(pictures, texts, captions)
    table = cosines(pictures, texts)
    other = np.array(captions)[:, None] != np.array(captions)
    assert at_once.own_first == (np.diag(table) > np.where(other, table, -np.inf).max(1)).mean()
    monkeypatch.setattr("eval.metrics.text.ROWS", 5)
    assert text_score(pictures, texts, captions) == at_once


def test_equal_captions_are_no_rivals():
    rows = np.eye(2)
    assert text_score(rows, rows, ["a", "a"]).own_first is None
    one = text_score(rows[:1], rows[:1], ["a"])
    assert (one.mean, one.shuffled, one.own_first) == (1.0, None, None)


def test_bad_embeddings_are_refused():
    with pytest.raises(ValueError, match="scale is 'clip'; known: cosine, percent, hessel"):
        on_scale(np.zeros(2), "clip")
    with pytest.raises(ValueError, match="cosines are NaN or outside"):
        on_scale(np.array([np.nan]), "cosine")
    with pytest.raises(ValueError, match=r"first embeddings have shape \(0, 3\)"):
        cosines(np.zeros((0, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="second embeddings hold NaN, infinity or a row of zeros"):
        cosines(np.ones((1, 3)), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="embeddings are 3 and 2 wide"):
        cosines(np.ones((1, 3)), np.ones((1, 2)))
    with pytest.raises(ValueError, match="got 2 pictures, 2 texts and 1 captions"):
        text_score(np.eye(2), np.eye(2), ["a"])
