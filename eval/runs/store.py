"""Where do the pictures of a run lie, and how are they written and read?

    DIR/items/ITEM.png, ITEM_CONDITION.png         the item's own picture and its maps
    DIR/maps/CONDITION-KEY/seed0/ITEM.png          map read from the item's own picture
    DIR/maps/CONDITION-KEY/seed0/members/ITEM.npz  of the ensemble that it combines
    DIR/pictures/TASK-KEY/seed0/ITEM.png           generated picture
    DIR/pictures/TASK-KEY/seed0/map/ITEM.png       map generated with it (joint)
    DIR/pictures/TASK-KEY/seed0/read-KEY/ITEM.png  map read back from it
    DIR/facts/KEY.N.jsonl                          what was measured of each, by process N

Maps are PNGs of 16 bits. Every file is written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from adapters.files import write_whole
from eval.runs.items import Task

if TYPE_CHECKING:
    from eval.runs.settings import Keys


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Places below one run's folder."""

    folder: Path
    keys: Keys

    def item(self, stem: str, condition: str | None = None) -> Path:
        """An item's own picture, or its map of a condition."""
        return self.folder / "items" / (f"{stem}.png" if condition is None else f"{stem}_{condition}.png")

    def estimate(self, condition: str, by: str, seed: int, stem: str) -> Path:
        """Map read from an item's own picture."""
        return (
            self.folder / "maps" / f"{condition}-{self.keys.reader(condition, by)}" / f"seed{seed}"
        ) / f"{stem}.png"

    def members(self, condition: str, seed: int, stem: str) -> Path:
        """Of the ensemble that the adapter's map combines."""
        return self.estimate(condition, "adapter", seed, stem).parent / "members" / f"{stem}.npz"

    def picture(self, task: Task, seed: int, stem: str) -> Path:
        """Generated picture."""
        return (
            self.folder
            / "pictures"
            / f"{task.name}-{self.keys.drawing(task)}"
            / f"seed{seed}"
            / f"{stem}.png"
        )

    def drawn_map(self, task: Task, seed: int, stem: str) -> Path:
        """Map generated with it."""
        return self.picture(task, seed, stem).parent / "map" / f"{stem}.png"

    def read_back(self, task: Task, seed: int, stem: str) -> Path:
        """Map read back from it."""
        reader = self.keys.reader(task.condition, "judge")
        return self.picture(task, seed, stem).parent / f"read-{reader}" / f"{stem}.png"


def write_picture(path: Path, values: np.ndarray) -> None:
    """(H, W, 3) uint8 as a PNG of 8 bits, floats in [0, 1] as one of 16; makes the folder."""
    if values.dtype != np.uint8:
        values = np.round(np.clip(values.astype(np.float64), 0, 1) * 65535).astype(np.uint16)
    done, content = cv2.imencode(".png", values[..., ::-1])
    assert done, f"no PNG of shape {values.shape}"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda target: target.write_bytes(content.tobytes()))


def read_picture(path: Path) -> np.ndarray:
    """What `write_picture` wrote: (H, W, 3), uint8, or float32 in [0, 1] from 16 bits.

    Raises ValueError naming a file that is none.
    """
    content = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    values = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if values is None or values.ndim != 3:
        raise ValueError(f"{path}: is not there or damaged; delete it if it is, and run the command again")
    values = values[..., ::-1]
    return values.astype(np.float32) / 65535 if values.dtype == np.uint16 else np.ascontiguousarray(values)


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda target: target.write_text(text, encoding="utf-8"))


class FactsFile:
    """Facts by item, a line each, kept as they come; several processes have a file each."""

    def __init__(self, folder: Path, key: str, process: int):
        self.folder, self.key = folder, key
        self.path = folder / f"{key}.{process}.jsonl"

    def read(self) -> dict[str, list[float] | None]:
        """What all processes have found so far; a line that was cut off is left out."""
        found: dict[str, list[float] | None] = {}
        for path in sorted(self.folder.glob(f"{self.key}.*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    found.update(json.loads(line))
                except ValueError:
                    continue  # killed while it was written
        return found

    def add(self, facts: Mapping[str, list[float] | None]) -> None:
        """Append; a line that was cut off before stays alone in its line."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() and not _ends_a_line(self.path):
                file.write(b"\n")
            for name, values in facts.items():
                file.write(json.dumps({name: values}, allow_nan=False).encode() + b"\n")


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
