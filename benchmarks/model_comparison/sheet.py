"""What did every system draw of the same scenes?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eval.peers.peer import DIRECTIONS
from unicon.sheets import contact_sheet, picture

from .measuring import splits
from .place import Place
from .systems import SYSTEMS, TITLES, Job

SHOWN = 6
"""Scenes on the contact sheet."""


def write_sheet(place: Place) -> Path:
    """One row per system and direction, without those of which nothing is drawn yet."""
    test = splits(place).test
    few = test.take(range(min(SHOWN, len(test))))
    rows = [[picture(image) for image in few.images], [picture(m) for m in few.maps(place.condition)]]
    labels = ["scene", "its map"]
    for direction in DIRECTIONS:
        for system in SYSTEMS:
            name = f"read_{few.seeds[0]}_0" if direction == "estimate" else "drawn_0"
            path = place.drawings(Job(system=system, direction=direction)) / f"{name}.npz"
            if not path.exists():
                continue
            with np.load(path) as made:
                for kind in made:
                    rows.append([picture(each) for each in made[kind][: len(few)]])
                    labels.append(f"{TITLES[direction]}:\n{system.title}\n{kind}")
    target, numbers = place.folder / "sheet.png", [str(seed) for seed in few.seeds]
    contact_sheet(rows, row_labels=labels, column_labels=numbers, cell_px=128).save(target)
    return target
