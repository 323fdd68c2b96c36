"""Is what was drawn taken from where it is kept?"""

from __future__ import annotations

import numpy as np

from benchmarks.model_comparison.kept import Kept
from eval.protocols.drawing import Drawings
from eval.protocols.readers import Readings


class Coin:
    """Reads and draws something else every time."""

    name = "coin"

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def read(self, pictures, condition, keys, seed) -> Readings:
        return Readings(maps=self.rng.random((len(pictures), 4, 4, 3)).astype(np.float16))

    def generate(self, scenes, condition, seed) -> Drawings:
        return Drawings(pictures=self.rng.integers(0, 255, (2, 4, 4, 3), dtype=np.uint8))

    def joint(self, scenes, condition, seed) -> Drawings:
        maps = self.rng.random((2, 4, 4, 3)).astype(np.float16)
        return Drawings(pictures=self.generate(scenes, condition, seed).pictures, maps=maps)


def test_what_was_drawn_is_kept(tmp_path):
    coin, pictures = Coin(), np.zeros((2, 4, 4, 3), np.uint8)
    kept = Kept(reader=coin, drawer=coin, folder=tmp_path / "a")
    assert kept.name == "coin"
    first = kept.read(pictures, "depth", [7, 8], 0).maps
    assert np.array_equal(kept.read(pictures, "depth", [7, 8], 0).maps, first)
    for keys, seed in (([9, 8], 0), ([7, 8], 1)):
        assert not np.array_equal(kept.read(pictures, "depth", keys, seed).maps, first)
    other = Kept(reader=coin, drawer=coin, folder=tmp_path / "b")
    drawn, both = kept.generate(None, "depth", 0), other.joint(None, "depth", 0)
    assert np.array_equal(kept.generate(None, "depth", 0).pictures, drawn.pictures)
    assert np.array_equal(other.joint(None, "depth", 0).maps, both.maps)
