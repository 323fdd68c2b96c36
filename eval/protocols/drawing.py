"""How are pictures generated for a measurement, alone or together with their maps?

Leaves out reading them (`eval.protocols.readers`) and scoring. Noise as there: a function of (seed, scene).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from tqdm import tqdm

from eval.protocols.readers import generators
from eval.protocols.scene_set import SceneSet
from unicon.bases import base_size
from unicon.pipeline import UniConPipeline


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawings:
    """Generated pictures, and the maps generated with them."""

    pictures: np.ndarray
    """(n, S, S, 3) uint8."""
    maps: np.ndarray | None = None
    """(n, S, S, 3) float16 in [0, 1]; only of joint samples."""


class Drawer(Protocol):
    """Something that draws pictures of scenes."""

    def generate(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures from each scene's exact map and its caption."""
        ...

    def joint(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures and maps from noise, with each scene's caption."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Painter:
    """The pipeline, told to generate pictures of scenes from their captions."""

    pipe: UniConPipeline
    steps: int
    batch_size: int = 16
    guidance_scale: float = 1.0

    def generate(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures from each scene's exact map, held clean, and its caption."""
        maps = scenes.maps(condition)
        parts = [
            self.from_maps(scenes.captions[s], maps[s], condition, scenes.seeds[s].tolist(), seed)
            for s in self._spans(len(scenes), f"generating from {condition}")
        ]
        return Drawings(pictures=np.concatenate([part.pictures for part in parts]))

    def joint(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures and maps from noise, with each scene's caption; of a scene nothing else is used."""
        size = (scenes.size_px, scenes.size_px)
        parts = [
            self.from_noise(scenes.captions[s], size, condition, scenes.seeds[s].tolist(), seed)
            for s in self._spans(len(scenes), f"generating pictures with {condition}")
        ]
        return Drawings(
            pictures=np.concatenate([part.pictures for part in parts]),
            maps=np.concatenate([part.maps for part in parts if part.maps is not None]),
        )

    def from_maps(
        self, captions: Sequence[str], maps: np.ndarray, condition: str, keys: Sequence[int], seed: int
    ) -> Drawings:
        """One batch of pictures from maps (n, H, W, 3) in [0, 1]; `keys` (n,) name them, for their noise."""
        out = self.pipe(
            list(captions),
            conditions={condition: maps},
            processing_resolution=self._work_px(maps.shape[1:3]),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance_scale,
            generator=generators(keys, seed, "generate"),
            output_type="np",
        )
        return Drawings(pictures=as_bytes(out.images))

    def from_noise(
        self,
        captions: Sequence[str],
        size: tuple[int, int],
        condition: str,
        keys: Sequence[int],
        seed: int,
    ) -> Drawings:
        """One batch of pictures of this (height, width) with their maps."""
        out = self.pipe(
            list(captions),
            outputs=["image", condition],
            height=size[0],
            width=size[1],
            processing_resolution=self._work_px(size),
            num_inference_steps=self.steps,
            guidance_scale=self.guidance_scale,
            generator=generators(keys, seed, "joint"),
            output_type="np",
        )
        return Drawings(pictures=as_bytes(out.images), maps=out.maps[condition].astype(np.float16))

    def _work_px(self, size: Sequence[int]) -> int | None:
        """Pictures that are larger than the base's own are drawn in its size: what it knows is measured."""
        own_px = base_size(self.pipe.unet, self.pipe.vae).own_px
        return own_px if max(size) > own_px else None

    def _spans(self, num: int, title: str) -> Iterator[slice]:
        for start in tqdm(range(0, num, self.batch_size), desc=title, unit="batch", leave=False):
            yield slice(start, start + self.batch_size)


def as_bytes(pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Pictures in [0, 1] as uint8, rounded."""
    return (np.asarray(pictures) * 255).round().astype(np.uint8)
