"""What do pictures show, seen by nothing that drew them?

A CLIP gives the embeddings that pictures are drawn from, so what it says about them is partly its own voice.
Here are readers beside it: features of the judge that ships (a network for depth, edges and poses, trained on
pixels alone), colours, and the kind of light, read from statistics of colour and brightness by a linear rule
that is fitted on other true pictures. Nothing here reads kinds of things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eval.emergence import colour, light
from eval.judge import Judge, load_judge_network, pooled
from eval.protocols.readers import judge_folder
from eval.protocols.scene_set import SPLITS
from unicon.data.scenes.compose import draw_setting
from unicon.data.scenes.render import generator
from unicon.pictures import resize
from unicon.sources import MINI

RIDGE = 1.0
"""Added to the variances, which are 1. Of 0.01, 0.1 and 1 the one that read best (8 folds of 512 scenes)."""
_AT_ONCE = 8
"""Pictures whose colours are counted at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgeFeatures:
    """Means and deviations over the picture of what the judge that ships sees, at two resolutions, in
    deviations of the true pictures'."""

    judge: Judge
    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, true: Tensor, device: torch.device) -> JudgeFeatures:
        """`true` pictures (n, 3, H, W) in [0, 1]."""
        folder = judge_folder(MINI)
        assert folder is not None, "it has one"
        judge = load_judge_network(folder)
        torch.nn.Module.to(judge, device)  # see `eval.protocols.readers`
        found = _features(judge, true)
        return cls(judge, found.mean(0), found.std(0) + 1e-6)

    def __call__(self, pictures: Tensor) -> np.ndarray:
        """(n, D) of pictures (n, 3, H, W) in [0, 1]."""
        return (_features(self.judge, pictures) - self.mean) / self.deviation


@torch.inference_mode()
def _features(judge: Judge, pictures: Tensor) -> np.ndarray:
    side = judge.config["side_px"]
    parts = [resize(part, side, side).to(judge.device) for part in pictures.split(32)]
    return np.concatenate([pooled(*judge.features(part)) for part in parts])


@dataclass(frozen=True, slots=True, eq=False)
class LightReader:
    """Tells the light of a scene from statistics of its picture: ridge regression to the kinds of light."""

    names: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    shares: np.ndarray

    @classmethod
    def fitted(cls, pictures: Tensor, names: Sequence[str]) -> LightReader:
        """On pictures (n, 3, H, W) in [0, 1] and their lights."""
        kinds = tuple(sorted(set(names)))
        x, y = _statistics(pictures), np.eye(len(kinds))[[kinds.index(name) for name in names]]
        mean, deviation, shares = x.mean(0), x.std(0) + 1e-6, y.mean(0)
        x = (x - mean) / deviation
        gram = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1])
        return cls(kinds, mean, deviation, np.linalg.solve(gram, x.T @ (y - shares)), shares)

    def __call__(self, pictures: Tensor) -> list[str]:
        """The likeliest light of each picture."""
        x = (_statistics(pictures) - self.mean) / self.deviation
        return [self.names[i] for i in (x @ self.weights + self.shares).argmax(1)]


def _statistics(pictures: Tensor) -> np.ndarray:
    parts = []
    for part in pictures.split(_AT_ONCE):
        flat = part.flatten(2)
        parts.append(torch.cat([light(part), flat.mean(2), flat.std(2), colour(part)], dim=1))
    return torch.cat(parts).double().numpy()


def colours(pictures: Tensor) -> Tensor:
    """Of pictures (n, 3, H, W), vectors whose distances are Hellinger's (times the root of 2)."""
    return torch.cat([colour(part) for part in pictures.split(_AT_ONCE)])


def lights_of(seeds: Sequence[int]) -> list[str]:
    """The exact light of each standard scene, without rendering it."""
    config = SPLITS["standard"].config(128)  # the size changes no setting
    return [draw_setting(generator(int(seed), 0), config)[1] for seed in seeds]
