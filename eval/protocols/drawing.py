"""How are pictures generated for a measurement, alone or together with their maps?

Leaves out reading them (`eval.protocols.readers`) and scoring. Noise as there: a function of (seed, scene).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from eval.protocols.readers import generators
from eval.protocols.scene_set import SceneSet
from unicon.pipeline import UniConPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawings:
    """Generated pictures, and the maps generated with them."""

    pictures: np.ndarray
    """(n, S, S, 3) uint8."""
    maps: np.ndarray | None = None
    """(n, S, S, 3) float16 in [0, 1]; only of joint samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Painter:
    """The pipeline, told to generate pictures of scenes from their captions."""

    pipe: UniConPipeline
    steps: int
    batch_size: int = 16
    guidance_scale: float = 1.0

    def generate(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures from each scene's exact map, held clean, and its caption."""
        maps, parts = scenes.maps(condition), []
        for span in self._spans(len(scenes), f"generating from {condition}"):
            out = self.pipe(
                scenes.captions[span],
                conditions={condition: maps[span]},
                num_inference_steps=self.steps,
                guidance_scale=self.guidance_scale,
                generator=generators(scenes.seeds[span].tolist(), seed, "generate"),
                output_type="np",
            )
            parts.append(_as_bytes(out.images))
        return Drawings(pictures=np.concatenate(parts))

    def joint(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures and maps from noise, with each scene's caption; of a scene nothing else is used."""
        pictures, maps = [], []
        for span in self._spans(len(scenes), f"generating pictures with {condition}"):
            out = self.pipe(
                scenes.captions[span],
                outputs=["image", condition],
                height=scenes.size_px,
                width=scenes.size_px,
                num_inference_steps=self.steps,
                guidance_scale=self.guidance_scale,
                generator=generators(scenes.seeds[span].tolist(), seed, "joint"),
                output_type="np",
            )
            pictures.append(_as_bytes(out.images))
            maps.append(out.maps[condition].astype(np.float16))
        return Drawings(pictures=np.concatenate(pictures), maps=np.concatenate(maps))

    def _spans(self, num: int, title: str) -> Iterator[slice]:
        for start in tqdm(range(0, num, self.batch_size), desc=title, unit="batch", leave=False):
            yield slice(start, start + self.batch_size)


def _as_bytes(pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    return (np.asarray(pictures) * 255).round().astype(np.uint8)
