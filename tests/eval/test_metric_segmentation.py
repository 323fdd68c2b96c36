"""Is mean IoU that of the confusion matrix of all pictures?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.metrics.segmentation import Confusion, confusion, labels_of


def test_two_pictures_by_hand():
    first = confusion(np.array([[0, 0, 1, 2]]), np.array([[0, 1, 1, 255]]), 4)
    second = confusion(np.array([[1, 1]]), np.array([[1, 0]]), 4)
    found = first + second
    # class 0: 1 right of 3 in either map; class 1: 2 right of 4; class 2 is ignored, 3 does not occur
    np.testing.assert_allclose(found.iou, [1 / 3, 2 / 4, np.nan, np.nan])
    assert found.mean_iou == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found.accuracy == pytest.approx(3 / 5)


def test_iou_equals_sets_of_pixels():
    p, g = np.random.default_rng(0).integers(0, 5, (2, 40, 30))
    expected = [((p == k) & (g == k)).sum() / ((p == k) | (g == k)).sum() for k in range(5)]
    np.testing.assert_allclose(confusion(p, g, 5).iou, expected)


def test_colours_become_the_nearest_class():
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], dtype=np.uint8)
    picture = np.array([[[10, 0, 3], [240, 9, 9]], [[3, 2, 250], [0, 0, 0]]], dtype=np.uint8)
    assert labels_of(picture, palette).tolist() == [[0, 1], [2, 0]]


def test_bad_labels_are_refused():
    ones = np.ones((2, 2), dtype=int)
    with pytest.raises(ValueError, match="expected integers of one shape"):
        confusion(ones.astype(float), ones, 3)
    with pytest.raises(ValueError, match="predicted labels go from 7 to 7; expected 0 to 2"):
        confusion(7 * ones, ones, 3)
    with pytest.raises(ValueError, match="true labels go from -1 to -1"):
        confusion(ones, -ones, 3)
    with pytest.raises(ValueError, match="confusions of 2 and 3 classes"):
        Confusion(np.zeros((2, 2))) + Confusion(np.zeros((3, 3)))
    nothing = confusion(ones, 255 * ones, 3)
    with pytest.raises(ValueError, match="every true label is ignored"):
        _ = nothing.mean_iou
    with pytest.raises(ValueError, match="every true label is ignored"):
        _ = nothing.accuracy
    with pytest.raises(ValueError, match="a map of colours is int64"):
        labels_of(ones, ones)
    with pytest.raises(ValueError, match=r"the palette has shape \(2, 2\)"):
        labels_of(np.zeros((2, 2, 3), dtype=np.uint8), ones)
