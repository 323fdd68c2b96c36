"""In which features are pictures compared?"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eval.features import Extractor, FeatureSet, read_features, square
from eval.judge import load_judge_network, pooled
from eval.protocols.readers import digest_of_reader, judge_folder
from unicon.latents import encode
from unicon.pictures import as_pictures

from .pictures import SCENES, Sets, pipeline

CLEAN_TIMESTEP = 150
"""What the mini UNet is told about pictures without noise (`train.objectives.base_unet`)."""


def of_mini(pictures: np.ndarray) -> np.ndarray:
    """The mini image encoder's."""
    extractor = _extractor()
    return extractor.of_pixels(
        np.stack([square(Image.fromarray(each), extractor.side_px) for each in pictures])
    )[0]


@cache
def _extractor() -> Extractor:
    return Extractor()


@torch.inference_mode()
def of_judge(pictures: np.ndarray) -> np.ndarray:
    """Means and deviations over the picture of what the judge that ships sees, at two resolutions."""
    return pooled(*_judge_network().features(as_pictures(pictures, "pictures")))


@cache
def _judge_network():
    folder = judge_folder("mini")
    assert folder is not None
    return load_judge_network(folder)


@torch.inference_mode()
def of_unet(pictures: np.ndarray) -> np.ndarray:
    """The same of the base's UNet, at its lowest resolution and where its last transformer reads."""
    pipe, seen = pipeline(), []
    blocks = (pipe.unet.mid_block, pipe.unet.up_blocks[-1].attentions[-1])
    hooks = [block.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for block in blocks]
    try:
        latents = encode(pipe.vae, as_pictures(pictures, "pictures")).to(pipe.unet.dtype)
        text = pipe.encode_prompts([""]).expand(len(latents), -1, -1).to(pipe.unet.dtype)
        pipe.unet(latents, CLEAN_TIMESTEP, text)
    finally:
        for hook in hooks:
            hook.remove()
    return pooled(*seen)


EXTRACTORS = {"mini": of_mini, "judge": of_judge, "unet": of_unet}


class Embedded:
    """Features of sets, each found once."""

    def __init__(self, sets: Sets, out: Path):
        self.sets, self.out = sets, out

    def __call__(self, features: str, name: str) -> np.ndarray:
        """(n, D) float32 in deviations of the reference's; the mini encoder's, which lie on a sphere, as
        they are."""
        values = self._values(features, name)
        if features == "mini":
            return values
        reference = self._values(features, "reference")
        return (values - reference.mean(0)) / (reference.std(0) + 1e-6)

    def _values(self, features: str, name: str) -> np.ndarray:
        budget = self.sets.budget
        kept = (budget.of_scenes() if name in SCENES else budget.of_model(name)).values()
        whose = f"judge-{digest_of_reader('mini')}" if features == "judge" else features
        folder = self.out / f"features-{'-'.join(map(str, kept))}"
        path = folder / f"{whose}_{name.replace(' ', '_')}.npz"
        if not path.is_file():
            print(f"{features} features: {name}", file=sys.stderr)
            images = self.sets.of(name)
            parts = [EXTRACTORS[features](images[n : n + 32]) for n in range(0, len(images), 32)]
            names = tuple(map(str, range(len(images))))
            FeatureSet(values=np.concatenate(parts), names=names, source=features).save(path)
        return read_features(path).values
