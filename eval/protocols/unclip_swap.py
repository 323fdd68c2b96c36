"""Does a swap take what is shown from one picture and the map from another, by the scenes' exact factors?

Every scene's embedding is drawn under the next scene's exact map, without a caption. Each number stands
beside the same one with the two exchanged: `meaning` is the cosine to the picture that gave the embedding,
`map` the mean absolute difference of the map read back from that which was given; `light` and `kind` are how
often the factor that a CLIP reads from the drawing is that of the first picture alone, and of the second
alone. Where both scenes share a factor it says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.protocols.factors import FactorReader, bare_caption
from eval.protocols.readers import generators
from eval.protocols.scene_set import SPLITS
from unicon.data.scenes import Scene, render
from unicon.pipeline import UniConPipeline


def swapped(
    pipe: UniConPipeline,
    seeds: Sequence[int],
    z: Tensor,
    maps: np.ndarray,
    *,
    condition: str,
    steps: int,
    seed: int,
    batch_size: int,
) -> dict[str, float]:
    """Numbers over n scenes of the standard split with these seeds, embeddings (n, width) and exact maps
    (n, H, W, 3)."""
    given = torch.from_numpy(maps).movedim(-1, 1).float()
    others = given.roll(-1, 0)
    drawn, read_back = [], []
    for first in range(0, len(z), batch_size):
        rows = slice(first, first + batch_size)
        out: Any = pipe(
            "",
            conditions={condition: others[rows]},
            outputs=["image"],
            like=z[rows],
            num_inference_steps=steps,
            generator=generators(list(seeds[rows]), seed, "swap"),
            output_type="pt",
        )
        drawn.append(out.images.float().cpu())
        back: Any = pipe(
            image=drawn[-1],
            outputs=[condition],
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(0),
            output_type="pt",
        )
        read_back.append(back.conditions[condition].float().cpu())
    size = maps.shape[1]
    scenes = [render(int(each), SPLITS["standard"].config(size)) for each in seeds]
    return scored(FactorReader(pipe), torch.cat(drawn), torch.cat(read_back), z, given, scenes)


def scored(
    reader: FactorReader, drawn: Tensor, read_back: Tensor, z: Tensor, maps: Tensor, scenes: Sequence[Scene]
) -> dict[str, float]:
    """Numbers of drawings (n, 3, H, W), the i-th of the embedding of scene i and the map of scene i + 1."""
    features = reader.of_pictures(drawn)
    own, other = (features * z).sum(1), (features * z.roll(-1, 0)).sum(1)
    to_given, to_own = ((read_back - each).abs().mean((1, 2, 3)) for each in (maps.roll(-1, 0), maps))
    found = {
        "meaning": float(own.mean()),
        "meaning_of_the_other": float(other.mean()),
        "map": float(to_given.mean()),
        "map_of_the_other": float(to_own.mean()),
        "both_right": float(((own > other) & (to_given < to_own)).float().mean()),
    }
    bodies = [bare_caption(scene) for scene in scenes]
    places = [scene.attributes["place"] for scene in scenes]
    read = {"light": reader.lights(features, bodies), "kind": reader.kinds(features, places)}
    for factor, names in read.items():
        shown = [_shown(scene, factor) for scene in scenes]
        nexts = [*shown[1:], shown[0]]
        apart = [
            (name in first - second, name in second - first)
            for name, first, second in zip(names, shown, nexts, strict=True)
            if first != second
        ]
        if apart:
            kept, taken = np.mean(apart, axis=0)
            found |= {factor: float(kept), f"{factor}_of_the_other": float(taken)}
    return found


def _shown(scene: Scene, factor: str) -> set[str]:
    if factor == "kind":
        return set(scene.attributes["placed_kinds"])
    return {scene.attributes[factor]}
