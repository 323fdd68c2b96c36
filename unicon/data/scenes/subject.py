"""What is a nameable thing of a scene?"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .shapes import Assembly


@dataclass(frozen=True, slots=True)
class Subject:
    """Its parts in metres (standing on y = 0, facing +z), its words, its room on the floor."""

    kind: str
    words: str
    assembly: Assembly
    radius_m: float
    height_m: float
    attributes: dict[str, str] = field(default_factory=dict)
    joints: np.ndarray | None = None
    """(18, 3) metres in the subject's frame, for people."""
    wardrobe: object | None = None
    """What a person wears, so that a later moment shows the same person."""
