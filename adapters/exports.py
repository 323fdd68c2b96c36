"""What of a joint adapter can other tools use: which part of it is an ordinary LoRA?

The condition branch's own updates (published: y_lora) make the base draw maps, alone and without joint
reading. The rest reads between branches, for which other tools have no place.
"""

from __future__ import annotations

import torch

from adapters.adapter import JointAdapter
from adapters.image_lora import MATRICES, ImageLora
from adapters.lowrank import AttentionUpdate
from adapters.store import modelspec


def map_lora(adapter: JointAdapter) -> ImageLora:
    """The LoRA with which a plain base draws what this adapter's condition branch draws without reading.

    Its file says the trigger words, which a prompt needs for it. Raises `ValueError` for an adapter whose
    condition branch has no updates of its own.
    """
    own: dict[str, AttentionUpdate] = {}
    for path, part in adapter.items():
        for kind, update in (("attn1", part.attn1.own), ("attn2", part.attn2)):
            if update is not None:
                own[f"{path}.{kind}"] = update
    if not own:
        raise ValueError(
            f"adapter {adapter.config.condition!r} has condition_lora=False: its condition branch is the "
            "plain base, so there is no LoRA to export"
        )
    matrices = {
        f"{attention}.{matrix}": getattr(update, part)
        for attention, update in own.items()
        for matrix, part in MATRICES.items()
    }
    condition, trigger = adapter.config.condition, adapter.config.trigger.strip(", ")
    about = modelspec(adapter.base, "lora", title=f"{condition} maps", trigger_phrase=trigger)
    lora = ImageLora(
        adapter.base, {name: len(update.down) for name, update in matrices.items()}, metadata=about
    )
    with torch.no_grad():
        for name, update in lora.items():
            update.down.copy_(matrices[name].down)
            update.up.copy_(matrices[name].up)
    return lora
