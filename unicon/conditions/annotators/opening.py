"""How is an annotator made ready, and what does it promise about every map?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image

from unicon.conditions.annotators.cards import Card, find_card
from unicon.conditions.annotators.weights import local_folder
from unicon.conditions.arrays import as_map, at_size

Draw = Callable[[PIL.Image.Image, Path | None], np.ndarray]
"""An upright RGB picture, and its file if it has one -> a map (h, w, 3), uint8 or [0, 1], of any size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Annotator:
    """A photograph in, a map out."""

    card: Card
    provenance: Mapping[str, str | None]
    """Of its weights: repository or folder, and commit."""
    draw: Draw

    def __call__(self, picture: PIL.Image.Image, file: Path | None = None) -> np.ndarray:
        """An upright RGB picture -> map float32 (H, W, 3) in [0, 1], of the picture's size.

        `file` is where the picture lies, for annotators that read what lies beside it. A map of another size
        is resized linearly. Raises ValueError where no map can be had of this picture.
        """
        drawn = np.clip(as_map(self.draw(picture, file), f"{self.card.name}'s map"), 0, 1)
        return at_size(drawn, picture.size[::-1])

    def facts(self) -> dict[str, object]:
        """What a manifest says about it."""
        card = self.card
        return {
            "annotator": card.name, "palette": card.palette, **self.provenance,
            "licence": card.licence if card.hub in (None, self.provenance["weights"]) else None,
            "settings": {**card.settings, **({"work_px": card.work_px} if card.work_px else {})},
        }  # fmt: skip


def open_annotator(
    condition: str, name: str | None = None, *, weights: str | Path | None = None, device: str = "cpu"
) -> Annotator:
    """The annotator `name` of a condition (default: the first of `CARDS`), its network on `device`.

    `weights` is a folder of your own: the card's files, or a transformers model for depth. Raises ValueError
    for an unknown name and for weights that cannot be had (naming the command that fetches them),
    MissingExtra for an extra that is not installed.
    """
    card = find_card(condition, name)
    if card.hub is None:
        from unicon.conditions.annotators.drawing import DRAWINGS

        if weights is not None:
            local_folder(card, weights)  # raises
        return Annotator(
            card=card, provenance={"weights": None, "revision": None}, draw=DRAWINGS[card.name](card)
        )
    if card.extra is not None:
        from unicon.conditions.annotators.detectors import open_detector

        draw, provenance = open_detector(card, weights, device)
    elif card.files:
        from unicon.conditions.annotators.dwpose import open_dwpose

        draw, provenance = open_dwpose(card, weights)  # OpenCV's networks run on the processor
    else:
        from unicon.conditions.annotators.depth import open_depth

        draw, provenance = open_depth(card, weights, device)
    return Annotator(card=card, provenance=provenance, draw=draw)
