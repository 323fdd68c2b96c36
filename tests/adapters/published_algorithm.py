"""What does the published algorithm compute, written out plainly?

A second implementation, from the published layout's own files: whole matrices instead of low-rank updates,
one item after the other, any list of pairs. It is held to tensors of the published code before ours is held
to it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from safetensors.torch import load_file
from torch import Tensor

Pairs = Sequence[tuple[int, int, float, float, str]]


@dataclass
class Checkpoint:
    """A published folder."""

    updates: dict[tuple[str, str, str], Tensor]
    """(folder, block.attention, q, k, v or out) -> the matrix that is added."""
    projections: dict[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> Checkpoint:
        updates = {}
        for file in sorted(folder.glob("*_lora/*.safetensors")):
            halves = defaultdict(dict)
            for name, tensor in load_file(file).items():
                path, which, end = re.fullmatch(
                    r"unet\.(.+)\.to_(q|k|v|out)(?:\.0)?\.lora\.(down|up)\.weight", name
                ).groups()  # pyright: ignore[reportOptionalMemberAccess]
                halves[path, which][end] = tensor
            for (path, which), half in halves.items():
                updates[file.parent.name, path, which] = half["up"] @ half["down"]
        pickled = torch.load(folder / "model.pth", weights_only=True)
        end = ".conv1n.weight"
        return cls(updates, {n.removesuffix(end): t for n, t in pickled.items() if n.endswith(end)})

    def added(self, folder: str, path: str, which: str) -> Tensor | float:
        return self.updates.get((folder, path, which), 0.0)


@torch.no_grad()
def predict(
    unet: UNet2DConditionModel,
    checkpoints: dict[str, Checkpoint],
    inputs: tuple[Tensor, Tensor, Tensor],
    pairs: Pairs,
    num_guidance: int = 1,
) -> Tensor:
    """The UNet's output for (sample, timestep, text), each half of the guidance paired within itself."""
    size = len(inputs[0]) // num_guidance
    halves = [
        [(i + at, c + at, *rest) for i, c, *rest in pairs] for at in range(0, num_guidance * size, size)
    ]
    with _joined(unet, checkpoints, [pair for half in halves for pair in half]):
        return unet(*inputs, return_dict=False)[0]


@contextmanager
def _joined(unet: UNet2DConditionModel, checkpoints: dict[str, Checkpoint], pairs: Any) -> Iterator[None]:
    blocks = {name: m for name, m in unet.named_modules() if isinstance(m, BasicTransformerBlock)}
    for name, block in blocks.items():
        block.forward = partial(_block, block, name, checkpoints, pairs)
    yield
    for block in blocks.values():
        del block.forward


def _block(
    block: Any,
    name: str,
    checkpoints: Any,
    pairs: Any,
    x: Tensor,
    encoder_hidden_states: Any = None,
    **_: Any,
) -> Tensor:
    own = {c: checkpoints[adapter] for _, c, *_, adapter in pairs}
    h = block.norm1(x)
    received = torch.zeros_like(x)
    for i, c, to_image, to_condition, adapter in pairs:
        point, path = checkpoints[adapter], f"{name}.attn1n"
        sides = [("xy_lora", h[i], h[c], "yx_lora"), ("yx_lora", h[c], h[i], "xy_lora")]
        out = [_attention(block.attn1, point, path, *side) for side in sides]
        projection = point.projections.get(name)
        if projection is None:
            continue
        if len(projection) == 2 * x.shape[-1]:
            read_i, read_c = (torch.cat(out, dim=-1) @ projection.T).chunk(2, dim=-1)
        else:
            read_i, read_c = (each @ projection.T for each in out)
        received[i] += to_image * read_i
        received[c] += to_condition * read_c
    alone = [
        _attention(block.attn1, own.get(n), f"{name}.attn1", "y_lora", t, t, "y_lora")
        for n, t in enumerate(h)
    ]
    x = x + torch.stack(alone) + received
    h = block.norm2(x)
    texts = [
        _attention(block.attn2, own.get(n), f"{name}.attn2", "y_lora", t, encoder_hidden_states[n], "y_lora")
        for n, t in enumerate(h)
    ]
    x = x + torch.stack(texts)
    return x + block.ff(block.norm3(x))


def _attention(
    attn: Any, point: Checkpoint | None, path: str, asks: str, hidden: Tensor, context: Tensor, answers: str
) -> Tensor:
    """Of one item (tokens, width): queries and output with the update of the side that asks."""

    def matrix(layer: Any, which: str, side: str) -> Tensor:
        return layer.weight + (0.0 if point is None else point.added(side, path, which))

    q = hidden @ matrix(attn.to_q, "q", asks).T
    k = context @ matrix(attn.to_k, "k", answers).T
    v = context @ matrix(attn.to_v, "v", answers).T
    heads = [t.unflatten(-1, (attn.heads, -1)).transpose(0, 1) for t in (q, k, v)]
    weights = (heads[0] @ heads[1].transpose(1, 2) / heads[0].shape[-1] ** 0.5).softmax(dim=-1)
    found = (weights @ heads[2]).transpose(0, 1).flatten(1)
    return found @ matrix(attn.to_out[0], "out", asks).T + attn.to_out[0].bias
