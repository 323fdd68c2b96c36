"""Is what was read brought to another size without values that nobody read?"""

from __future__ import annotations

import numpy as np
import pytest

from eval.protocols.map_files import read_strength
from unicon.conditions.arrays import at_size
from unicon.conditions.normals import map_to_normal


def test_readings_of_any_unit_keep_their_range_and_classes_stay_classes():
    metres = np.random.default_rng(0).uniform(2, 9, (6, 8)).astype(np.float32)
    for shape in ((12, 20), (3, 5, 3)):
        made = at_size(metres, shape)
        assert made.shape == shape[:2]
        assert metres.min() <= made.min() < made.max() <= metres.max()
    np.testing.assert_allclose(at_size(np.array([[0.0, 4.0]]), (1, 4))[0], [0, 1, 3, 4])
    assert at_size(metres, (6, 8, 3)) is metres
    classes = np.array([[3, 7]], dtype=np.uint8)
    np.testing.assert_array_equal(at_size(classes, (1, 4), nearest=True)[0], [3, 3, 7, 7])


def test_black_stands_for_no_surface_and_eight_bits_of_strength_for_their_share(tmp_path):
    vectors = map_to_normal(np.array([[[0, 0, 0], [0.5, 0.5, 1.0]]], np.float32))
    np.testing.assert_allclose(vectors, [[[0, 0, 0], [0, 0, 1]]], atol=1e-6)
    strength = np.array([[0, 51, 255]] * 2, np.uint8)
    np.save(tmp_path / "a.npy", strength)
    np.testing.assert_allclose(read_strength(tmp_path / "a.npy"), [[0, 0.2, 1]] * 2)
    np.save(tmp_path / "b.npy", strength.astype(np.float32))
    with pytest.raises(ValueError, match=r"b.npy: has strengths from 0 to 255; expected \[0, 1\]"):
        read_strength(tmp_path / "b.npy")
