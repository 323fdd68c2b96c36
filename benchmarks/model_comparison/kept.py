"""What was read and drawn before, so that it is not made again?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adapters.files import write_arrays
from eval.protocols.drawing import Drawer, Drawings
from eval.protocols.readers import Reader, Readings
from eval.protocols.scene_set import SceneSet


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A reader and drawer whose results are kept in a folder, and taken from there the next time."""

    reader: Reader
    drawer: Drawer
    folder: Path

    @property
    def name(self) -> str:
        return self.reader.name

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        def made() -> dict[str, np.ndarray]:
            return {"map": self.reader.read(pictures, condition, keys, seed).maps}

        return Readings(maps=self._kept(f"read_{keys[0]}_{seed}", made)["map"])

    def generate(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        def made() -> dict[str, np.ndarray]:
            return {"image": self.drawer.generate(scenes, condition, seed).pictures}

        return Drawings(pictures=self._kept(f"drawn_{seed}", made)["image"])

    def joint(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        def made() -> dict[str, np.ndarray]:
            drawn = self.drawer.joint(scenes, condition, seed)
            assert drawn.maps is not None
            return {"image": drawn.pictures, "map": drawn.maps}

        kept = self._kept(f"drawn_{seed}", made)
        return Drawings(pictures=kept["image"], maps=kept["map"])

    def _kept(self, name: str, made: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        path = self.folder / f"{name}.npz"
        if not path.exists():
            write_arrays(path, made(), compressed=True)
        with np.load(path) as stored:
            return dict(stored)
