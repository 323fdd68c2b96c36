"""What reads a map from a picture?

Two readers behind one contract: the pipeline's own estimation, and a feed-forward regressor. An estimation
protocol scores them; a generation protocol uses one of them to look at generated pictures. Leaves out scores.

Each picture has its own noise, a function of (seed, picture, member) alone, so a result depends neither on
the batch size nor on which other pictures are measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from unicon.bases import base_size
from unicon.latents import Autoencoder, decode, encode
from unicon.pictures import Frame, as_array, as_pictures
from unicon.pipeline import UniConPipeline
from unicon.sampling.noise import stable_hash


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """Maps read from n pictures."""

    maps: np.ndarray
    """(n, H, W, 3) float16 in [0, 1]; with an ensemble its mean."""
    members: np.ndarray | None = None
    """(members, n, H, W) float16, mean over channels; only with an ensemble."""


class Reader(Protocol):
    """Something that reads maps from pictures of one size."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        ...

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        """Maps of (n, H, W, 3) uint8 pictures; `keys` (n,) names each picture, for its noise."""
        ...


def generators(keys: Sequence[int], seed: int, purpose: str, members: int = 1) -> list[torch.Generator]:
    """One generator per (picture, member), members of one picture next to each other."""
    hashes = [stable_hash(seed, purpose, int(key), member) for key in keys for member in range(members)]
    return [torch.Generator().manual_seed(value) for value in hashes]


@dataclass(frozen=True, kw_only=True, slots=True)
class PipelineReader:
    """The pipeline's own estimation: the picture held clean, the map from noise, no prompt."""

    pipe: UniConPipeline
    steps: int
    batch_size: int = 16
    members: int = 1
    temperature: float = 1.0
    work_px: int | None = None
    """Longer side that pictures are worked on at; None: the base's own."""
    name: str = "adapter"

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        parts = [self._part(p, condition, k, seed) for p, k in self._batches(pictures, keys, condition)]
        maps = np.concatenate([part.maps for part in parts])
        if self.members == 1:
            return Readings(maps=maps)
        members = [part.members for part in parts if part.members is not None]
        return Readings(maps=maps, members=np.concatenate(members, axis=1))

    def _batches(self, pictures: np.ndarray, keys: Sequence[int], condition: str):
        size = max(1, self.batch_size // self.members)
        starts = range(0, len(pictures), size)
        bar = partial(tqdm, unit="batch", leave=False, disable=len(starts) < 2)
        for start in bar(starts, desc=f"estimating {condition}"):
            yield pictures[start : start + size], keys[start : start + size]

    def _part(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        out = self.pipe(
            image=pictures,
            outputs=[condition],
            num_inference_steps=self.steps,
            ensemble_size=self.members,
            temperature=self.temperature,
            processing_resolution=self.work_px,
            generator=generators(keys, seed, "estimate", self.members),
            output_type="np",
        )
        members = out.members[condition].mean(-1).astype(np.float16) if self.members > 1 else None
        return Readings(maps=out.maps[condition].astype(np.float16), members=members)


@dataclass(frozen=True, kw_only=True, slots=True)
class RegressorReader:
    """A UNet of the base's geometry that turns a picture's latents into its map's in one pass.

    What `train.objectives.regressor` exports: `unet/`, and `triggers.safetensors` with one text embedding
    (tokens, width) per condition; the network is told timestep 0.
    """

    unet: UNet2DConditionModel
    vae: Autoencoder
    triggers: dict[str, Tensor]
    batch_size: int = 16
    name: str = "regressor"

    @classmethod
    def load(cls, folder: str | Path, pipe: UniConPipeline, batch_size: int = 16) -> RegressorReader:
        """From its folder, with VAE, device and number format of `pipe`; ValueError if it is none."""
        folder = Path(folder)
        for part in ("unet/config.json", "triggers.safetensors"):
            if not (folder / part).is_file():
                raise ValueError(
                    f"{folder} is no regressor: {part} is missing; give its run's `export` folder"
                )
        unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        # diffusers' `to` is wrapped in a way that hides its own first argument from type checkers.
        torch.nn.Module.to(unet, pipe.device, pipe.unet.dtype)
        triggers = load_file(folder / "triggers.safetensors")
        return cls(unet=unet, vae=pipe.vae, triggers=triggers, batch_size=batch_size)

    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        if condition not in self.triggers:
            raise ValueError(f"the regressor knows no {condition!r}; it knows {', '.join(self.triggers)}")
        starts = range(0, len(pictures), self.batch_size)
        title = f"regressing {condition}"
        bar = tqdm(starts, desc=title, unit="batch", leave=False, disable=len(starts) < 2)
        parts = [self._part(pictures[s : s + self.batch_size], condition) for s in bar]
        return Readings(maps=np.concatenate(parts))

    @torch.no_grad()
    def _part(self, pictures: np.ndarray, condition: str) -> np.ndarray:
        # The same working size as the pipeline's estimation, so that only the networks differ.
        size, (height, width) = base_size(self.unet, self.vae), pictures.shape[1:3]
        frame = Frame.of(height, width, size.multiple_px, size.own_px)
        latents = encode(self.vae, frame.enter(as_pictures(pictures, "pictures")).to(self.unet.device))
        text = self.triggers[condition].to(self.unet.device, self.unet.dtype).expand(len(latents), -1, -1)
        out = self.unet(latents.to(self.unet.dtype), 0, text).sample.float()
        return as_array(frame.leave(decode(self.vae, out))).astype(np.float16)


def load_judge(folder: str | Path, pipe: UniConPipeline, steps: int, batch_size: int) -> Reader:
    """A reader from a folder: another base with adapters (`model_index.json`), or a regressor."""
    if (Path(folder) / "model_index.json").is_file():
        judge = UniConPipeline.from_pretrained(folder, dtype=pipe.unet.dtype).to(pipe.device)
        judge.set_progress_bar_config(disable=True)
        return PipelineReader(pipe=judge, steps=steps, batch_size=batch_size, name="judge base")
    return RegressorReader.load(folder, pipe, batch_size)
