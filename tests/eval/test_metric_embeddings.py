"""Do the scores of embeddings tell their own picture from another?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.embeddings import embedding_scores


def test_perfect_shifted_and_unrelated_embeddings():
    true, text = np.eye(6)[:4], np.roll(np.eye(6), 2, axis=1)[:4]
    perfect = embedding_scores(true, true, text)
    assert perfect == {
        "cosine_picture": 1, "cosine_another_picture": 0, "cosine_text": 0, "cosine_another_text": 0,
        "own_picture_first": 1,
    }  # fmt: skip
    shifted = embedding_scores(np.roll(true, 1, axis=0), true, text)
    assert (shifted["cosine_picture"], shifted["cosine_another_picture"]) == (0, 1)
    assert shifted["own_picture_first"] == 0
    assert embedding_scores(text, true, text)["cosine_text"] == 1


@pytest.mark.parametrize("shapes", [((3, 4), (3, 5), (3, 4)), ((1, 4), (1, 4), (1, 4))])
def test_shapes_that_differ_are_refused(shapes):
    with pytest.raises(ValueError, match="expected three of one shape .n, width., n at least 2"):
        embedding_scores(*(np.ones(shape) for shape in shapes))
