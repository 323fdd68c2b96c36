"""Which pictures are compared, and what makes them?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adapters.files import write_array, write_arrays
from eval.digests import digest_of_folder
from eval.protocols.drawing import Painter, as_bytes
from eval.protocols.scene_set import scene_set
from eval.protocols.setup import load_pipeline
from eval.records import keep_to
from train.shards import open_shards
from unicon.data.scenes import SceneConfig, render
from unicon.latents import decode, encode
from unicon.mini import mini_folder
from unicon.pictures import as_array, as_pictures
from unicon.pipeline import UniConPipeline

from .budget import Budget
from .training import trained

RARE = {"kind": "held_out_kinds", "light": "held_out_lights", "style": "watercolour"}
"""Attributes that training scenes lack: two splits of the evaluation's scenes, and a style."""
STYLE_SEED = 850_000
FIRST_SHARD = "shard_000000"
"""Tells scenes apart, and stays as it is where more are rendered."""
PIECE = 20


class Sets:
    """All sets of pictures, (n, H, W, 3) uint8, each made once and kept below a folder."""

    def __init__(self, out: Path, shards: Path, budget: Budget, cache_folder: str | None, workers: int):
        self.out, self.shards, self.budget = out, shards, budget
        self.scenes = open_shards(shards)
        self.render = partial(scene_set, cache_folder=cache_folder, workers=workers)
        if len(self.scenes) < budget.training + budget.num:
            raise ValueError(
                f"{shards} holds {len(self.scenes)} scenes; expected {budget.training} to learn from and "
                f"{budget.num} that are not: render more (unicon train mini-fast/scenes)"
            )

    def keep_to_themselves(self) -> None:
        """ValueError where the folder holds what was made of other scenes, or by another mini."""
        scenes = f"with shard {digest_of_folder(self.shards / FIRST_SHARD)}"
        mini = f"mini {digest_of_folder(mini_folder())}"
        keep_to(self.out, {"base": mini, "scenes": scenes, "training": self.budget.training})

    @property
    def pipe(self) -> UniConPipeline:
        return pipeline()

    @property
    def fresh(self) -> range:
        """Scenes that neither the VAE nor the GAN learn from."""
        return range(self.budget.training, len(self.scenes))

    def real(self, items: Sequence[int]) -> np.ndarray:
        return self.scenes.gather("image", np.asarray(items))

    def reference(self) -> np.ndarray:
        return self.real(range(self.budget.reference))

    def of(self, name: str) -> np.ndarray:
        """By its name in `MODELS` or `SCENES`."""
        return (MODELS | SCENES)[name](self)

    def held_out(self) -> np.ndarray:
        return self.real(self.fresh[: self.budget.num])

    def copies(self) -> np.ndarray:
        chosen = np.random.default_rng(0).choice(self.budget.reference, self.budget.num, replace=False)
        return self.real(chosen)

    def rooms(self) -> np.ndarray:
        indoors = [n for n in self.fresh if "room" in self.scenes.captions[n]]
        return self.real(indoors[: self.budget.num])

    def decoded(self) -> np.ndarray:
        """Held-out scenes through the compressor."""
        scenes = self.held_out()
        return self._kept("through the decoder", lambda s: self._decoded(self._encoded(scenes[s])))

    def sampled(self, kind: str) -> np.ndarray:
        @cache
        def latents() -> Tensor:
            return trained(kind, self.latents(), steps, self.out).sample(self.budget.num, 0)

        steps = self.budget.vae_steps if kind == "vae" else self.budget.gan_steps
        return self._kept(f"{kind}-{steps}", lambda span: self._decoded(latents()[span]))

    def latents(self) -> np.ndarray:
        """Of the training scenes, (N, C, 16, 16) float16."""
        path = self.out / "latents.npy"
        if not path.is_file():
            spans = range(0, self.budget.training, 64)
            parts = [self._encoded(self.real(range(n, min(n + 64, self.budget.training)))) for n in spans]
            write_array(path, torch.cat(parts).numpy().astype(np.float16))
        return np.load(path)

    def drawn(self, is_joint: bool) -> np.ndarray:
        """From captions of scenes that no training has seen."""
        scenes = self.render("standard", self.budget.num)
        painter = Painter(pipe=self.pipe, steps=self.budget.steps)

        def make(span: slice) -> np.ndarray:
            if is_joint:
                return painter.joint(scenes.take(range(*span.indices(len(scenes)))), "depth", 0).pictures
            generators = [torch.Generator().manual_seed(int(seed)) for seed in scenes.seeds[span]]
            made = self.pipe(
                scenes.captions[span], num_inference_steps=self.budget.steps, guidance_scale=1.0,
                generator=generators, output_type="np",
            ).images  # fmt: skip
            return as_bytes(made)

        return self._kept(f"{'joint' if is_joint else 'base'}-{self.budget.steps}", make)

    def captions(self) -> list[str]:
        return self.render("standard", self.budget.num).captions

    def rare(self, attribute: str) -> np.ndarray:
        """Pictures with an attribute that training scenes lack."""
        num = self.budget.rare + round(0.01 * self.budget.reference)
        if attribute != "style":
            return self.render(RARE[attribute], num).images
        config = SceneConfig(styles=(RARE["style"],), second_view=False)
        return self._kept(
            "style",
            lambda span: np.stack([render(STYLE_SEED + n, config).image for n in range(num)[span]]),
            num,
        )

    def _kept(self, name: str, make: Callable[[slice], np.ndarray], num: int | None = None) -> np.ndarray:
        """Pieces of a set, made where they are not there."""
        num, parts = num or self.budget.num, []
        for start in range(0, num, PIECE):
            stop = min(start + PIECE, num)
            path = self.out / "pictures" / name / f"{start:06d}-{stop:06d}.npz"
            if not path.is_file():
                print(f"{name}: {start} of {num}", file=sys.stderr)
                write_arrays(path, {"images": make(slice(start, stop))}, compressed=True)
            with np.load(path) as packed:
                parts.append(packed["images"])
        return np.concatenate(parts)

    @torch.no_grad()
    def _encoded(self, pictures: np.ndarray) -> Tensor:
        return encode(self.pipe.vae, as_pictures(pictures, "scenes"))

    @torch.no_grad()
    def _decoded(self, latents: Tensor) -> np.ndarray:
        return as_bytes(as_array(decode(self.pipe.vae, latents)))


@cache
def pipeline() -> UniConPipeline:
    return load_pipeline("mini", "cpu", "auto", ["depth"])


MODELS: dict[str, Callable[[Sets], np.ndarray]] = {
    "held-out scenes": Sets.held_out,
    "the same, through the decoder": Sets.decoded,
    "copier": Sets.copies,
    "rooms alone": Sets.rooms,
    "VAE": lambda sets: sets.sampled("vae"),
    "base": lambda sets: sets.drawn(is_joint=False),
    "joint with depth": lambda sets: sets.drawn(is_joint=True),
    "GAN": lambda sets: sets.sampled("gan"),
}
SCENES: dict[str, Callable[[Sets], np.ndarray]] = {
    "reference": Sets.reference,
    "fresh": lambda sets: sets.real(sets.fresh[: 2 * sets.budget.rare]),
    "all training": lambda sets: sets.real(range(sets.budget.training)),
    "all fresh": lambda sets: sets.real(sets.fresh),
    **{f"rare {attribute}": partial(Sets.rare, attribute=attribute) for attribute in RARE},
}
"""Sets that are no model's."""
