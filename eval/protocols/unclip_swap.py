"""Does a swap take what is shown from one picture and the map from another, by the scenes' exact factors?

Every scene's embedding is drawn under the next scene's exact map, without a caption. Each number stands
beside the same one with the two exchanged: `map` is the mean absolute difference of the map read back from
that which was given, `colour` the distance of the colours from those of the picture that gave the embedding,
`light` how often the light that is read is that of the first picture, and of the second, where they differ.
None of their readers has drawn anything (`unclip_look`). `meaning` is the cosine to the embedding that was
given, by the CLIP that gave it: a check that it was followed, no evidence of what can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.protocols.readers import generators
from eval.protocols.unclip_look import LightReader, colours
from unicon.pipeline import UniConPipeline


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Truth:
    """Of n scenes."""

    seeds: Sequence[int]
    pictures: Tensor
    """(n, 3, H, W) in [0, 1]."""
    maps: Tensor
    """(n, 3, H, W), exact."""
    lights: Sequence[str]
    z: Tensor
    """Embeddings (n, width) of the pictures."""


def swaps(
    pipe: UniConPipeline, truth: Truth, *, condition: str, steps: int, seed: int, batch_size: int
) -> Tensor:
    """Pictures (n, 3, H, W), the i-th of the embedding of scene i and the map of scene i + 1."""
    others, drawn = truth.maps.roll(-1, 0), []
    for first in range(0, len(others), batch_size):
        rows = slice(first, first + batch_size)
        out: Any = pipe(
            "",
            conditions={condition: others[rows]},
            outputs=["image"],
            like=truth.z[rows],
            num_inference_steps=steps,
            guidance_scale=1.0,
            generator=generators(list(truth.seeds[rows]), seed, "swap"),
            output_type="pt",
        )
        drawn.append(out.images.float().cpu())
    return torch.cat(drawn)


def scored(
    drawn: Tensor, features: Tensor, read_back: Tensor, truth: Truth, reader: LightReader
) -> dict[str, float]:
    """Numbers of swaps (n, 3, H, W), their embeddings (n, width) and the maps (n, 3, H, W) read back."""
    own, other = (features * truth.z).sum(1), (features * truth.z.roll(-1, 0)).sum(1)
    to_given, to_own = (
        (read_back - each).abs().mean((1, 2, 3)) for each in (truth.maps.roll(-1, 0), truth.maps)
    )
    shown, true = colours(drawn), colours(truth.pictures)
    to_first, to_second = ((shown - each).norm(dim=1) for each in (true, true.roll(-1, 0)))
    found = {
        "map": float(to_given.mean()),
        "map_of_the_other": float(to_own.mean()),
        "colour": float(to_first.mean()),
        "colour_of_the_other": float(to_second.mean()),
        "meaning": float(own.mean()),
        "meaning_of_the_other": float(other.mean()),
        "both_right": float(((to_first < to_second) & (to_given < to_own)).float().mean()),
    }
    nexts = [*truth.lights[1:], truth.lights[0]]
    apart = [
        (name == first, name == second)
        for name, first, second in zip(reader(drawn), truth.lights, nexts, strict=True)
        if first != second  # else it says nothing
    ]
    if apart:
        kept, taken = np.mean(apart, axis=0)
        found |= {"light": float(kept), "light_of_the_other": float(taken)}
    return found
