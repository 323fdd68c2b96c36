"""How is depth estimated by the networks of transformers: Depth Anything, DPT, ZoeDepth and their kin?

transformers is a core dependency, so these need no extra. The network sees the size its own folder says; what
comes out is resized to the picture before it becomes a map, so the quantiles are of the pixels one gets.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch

from unicon.conditions.annotators.cards import Card
from unicon.conditions.annotators.weights import fetched, local_folder, provenance
from unicon.conditions.arrays import at_size
from unicon.conditions.palettes import depth_to_map
from unicon.sources import without_network

METRIC = ("zoedepth", "glpn")
"""Kinds of networks whose output grows with distance."""
RELATIVE = ("dpt",)
"""Kinds whose output is inverse depth up to a scale and a shift."""


def open_depth(card: Card, weights: str | Path | None, device: str):
    """(draw, provenance) of a transformers folder: the card's, or the user's own."""
    from transformers import AutoConfig, AutoModelForDepthEstimation

    local = None if weights is None else local_folder(card, weights)
    source, revision = (str(local), None) if local else (str(card.hub), card.revision)
    alone = without_network(source)
    with fetched(card):
        # First, since the model's own loading looks for a peft adapter on the hub even where it must not.
        AutoConfig.from_pretrained(source, revision=revision, local_files_only=alone)
        model = AutoModelForDepthEstimation.from_pretrained(
            source, revision=revision, dtype=torch.float32, local_files_only=alone
        )
        processor = _processor(source, revision, alone)
    place = local or _snapshot(source, revision, alone)
    network, is_metric = model.to(device).eval(), gives_distance(model.config)

    def draw(picture: PIL.Image.Image, file: Path | None) -> np.ndarray:
        depth = predicted(network, processor, picture)
        return depth_to_map(depth if is_metric else -depth)

    return draw, provenance(card, place)


def gives_distance(config: Any) -> bool:
    """Whether a network's output grows with distance, else it is inverse depth. ValueError if not known."""
    if config.model_type == "depth_anything":
        return config.depth_estimation_type == "metric"
    if config.model_type not in METRIC + RELATIVE:
        raise ValueError(
            f"depth network of kind {config.model_type!r}: whether its output is depth or inverse depth is "
            f"not known; use one of depth_anything, {', '.join(METRIC + RELATIVE)}"
        )
    return config.model_type in METRIC


@torch.inference_mode()
def predicted(network: Any, processor: Any, picture: PIL.Image.Image) -> np.ndarray:
    """The network's own output float32 (H, W) at the picture's size."""
    inputs = processor(images=picture, return_tensors="pt")
    output = network(pixel_values=inputs["pixel_values"].to(network.device))
    depth = output.predicted_depth[0].float().cpu().numpy()
    if not np.isfinite(depth).all():
        raise ValueError("the depth network gave NaN or infinite values; expected numbers: check its weights")
    height, width = picture.size[::-1]
    rows, columns = _border(processor, height), _border(processor, width)
    whole = at_size(depth, (height + 2 * rows, width + 2 * columns))
    return whole[rows : rows + height, columns : columns + width]


def _border(processor: Any, side: int) -> int:
    """Pixels that a processor adds at both ends of a side: ZoeDepth's mirrors the picture there."""
    is_zoe = "ZoeDepth" in type(processor).__name__ and getattr(processor, "do_pad", False)
    return int(math.sqrt(side / 2) * 3) if is_zoe else 0


def _processor(source: str, revision: str | None, alone: bool) -> Any:
    """With Pillow's arithmetic, which every installation has; the one of torchvision is an extra's."""
    from transformers import AutoImageProcessor

    return AutoImageProcessor.from_pretrained(
        source, revision=revision, backend="pil", local_files_only=alone
    )


def _snapshot(source: str, revision: str | None, alone: bool) -> Path:
    from huggingface_hub import hf_hub_download

    file = hf_hub_download(source, "config.json", revision=revision, local_files_only=alone)
    return Path(file).parent
