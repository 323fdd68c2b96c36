"""Is what was read brought to another size without values that nobody read?"""

from __future__ import annotations

import numpy as np

from unicon.conditions.arrays import at_size


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
