"""What surrounds the subjects, as the renderer needs it?

Frame: the camera's foot is at the origin and it looks roughly along +z. The settings are built in ``rooms``,
``fields`` and ``tabletops``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .colours import Rgb
from .shapes import Primitive, rotation_y


@dataclass(slots=True)
class Surroundings:
    """Groups of primitives (each is one thing), words, and what the camera and the light need to know."""

    setting: str
    words: str
    groups: list[list[Primitive]] = field(default_factory=list)
    room_half: np.ndarray | None = None  # half sizes of the room
    room_centre: np.ndarray | None = None
    room_yaw: float = 0.0
    floor_y: float = 0.0
    sky: tuple[Rgb, Rgb] | None = None  # horizon, zenith
    fog: float = 0.0

    def inside(self, point: np.ndarray, margin: float) -> bool:
        """Whether a point is in the room, ``margin`` metres from every wall; true outdoors."""
        if self.room_half is None or self.room_centre is None:
            return True
        local = rotation_y(self.room_yaw).T @ (np.asarray(point) - self.room_centre)
        return bool((np.abs(local)[[0, 2]] < self.room_half[[0, 2]] - margin).all())
