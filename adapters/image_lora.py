"""What is a LoRA that only the image branch gets: of which tensors, and what does it compute?

It is an ordinary LoRA, such as a style, of the base's self- and text-attentions and perhaps other layers.
Condition branches do not get it, and reads between branches do not either: what a map is told stays as it was
trained, and only what the image makes of it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from adapters.base import geometry
from adapters.config import BaseGeometry, BlockGeometry
from adapters.lowrank import LowRank

MATRICES = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "out"}
"""A matrix's name in diffusers, and its part of an attention here."""


class LoraPart(nn.Module):
    """Updates of some of the four matrices of one attention."""

    def __init__(self):
        super().__init__()
        self.q: LowRank | None = None
        self.k: LowRank | None = None
        self.v: LowRank | None = None
        self.out: LowRank | None = None


class WeightedSum:
    """Several updates of one matrix, each times its weight. Without any, a zero of no shape."""

    def __init__(self, updates: Sequence[tuple[LowRank | None, float]]):
        self.updates = [(update, weight) for update, weight in updates if update is not None]

    def __call__(self, x: Tensor) -> Tensor:
        total: Tensor | None = None
        for update, weight in self.updates:
            change = update(x) if weight == 1.0 else weight * update(x)
            total = change if total is None else total + change
        return x.new_zeros(()) if total is None else total

    def matrix(self) -> Tensor:
        """The whole update as one matrix in float32."""
        total = torch.zeros(())
        for update, weight in self.updates:
            total = total.to(update.up.device) + weight * update.matrix()
        return total


class ImageUpdate:
    """All LoRAs' updates of one attention; looks like an `AttentionUpdate`."""

    def __init__(self, parts: Sequence[tuple[LoraPart, float]]):
        self.q = WeightedSum([(part.q, weight) for part, weight in parts])
        self.k = WeightedSum([(part.k, weight) for part, weight in parts])
        self.v = WeightedSum([(part.v, weight) for part, weight in parts])
        self.out = WeightedSum([(part.out, weight) for part, weight in parts])


class ImageLora(nn.Module):
    """One LoRA for one base. Its parameters are exactly the trained tensors; alpha is the rank."""

    def __init__(
        self,
        base: BaseGeometry,
        ranks: Mapping[str, int],
        device: torch.device | None = None,
        metadata: Mapping[str, str] | None = None,
        layers: Mapping[str, nn.Module] | None = None,
        text: Mapping[str, nn.Module] | None = None,
    ):
        """`ranks` names the matrices of attentions that it updates: "<block path>.attn1.to_q" and so on.
        `metadata` is what its file says about it, `layers` updates of other layers by path (`layer_lora`),
        `text` those of text encoders, behind "te.", or "te1." and "te2." where there are two.

        Raises ValueError for a name that is no matrix of an attention of this base.
        """
        super().__init__()
        self.base, self.metadata = base, dict(metadata or {})
        self.parts = nn.ModuleDict()
        for name, rank in ranks.items():
            attention, matrix, (width_in, width_out) = _located(name, base)
            key = _key(attention)
            if key not in self.parts:
                self.parts[key] = LoraPart()
            setattr(self.parts[key], MATRICES[matrix], LowRank(width_in, width_out, rank, device))
        self.others = nn.ModuleDict({_key(path): update for path, update in (layers or {}).items()})
        self.text = nn.ModuleDict({_key(path): update for path, update in (text or {}).items()})

    @classmethod
    def for_unet(cls, unet: nn.Module, rank: int, *, seed: int = 0) -> ImageLora:
        """A fresh float32 one of all attentions; it changes nothing yet (`up` is zero).

        `down` is normal with deviation 1 / rank, as peft's "gaussian".
        """
        if rank < 1:
            raise ValueError(f"rank is {rank}; it must be at least 1")
        base = geometry(unet)
        lora = cls(base, dict.fromkeys(matrix_names(base), rank), next(unet.parameters()).device)
        generator = torch.Generator().manual_seed(seed)
        for _, update in lora.items():
            with torch.no_grad():
                update.down.copy_(torch.randn(update.down.shape, generator=generator) / rank)
        return lora

    def part(self, attention: str) -> LoraPart | None:
        """Its part in the attention at a path, if it has one."""
        key = _key(attention)
        return cast(LoraPart, self.parts[key]) if key in self.parts else None

    def layers(self) -> dict[str, nn.Module]:
        """Its updates of other layers, by path."""
        return {key.replace("/", "."): update for key, update in self.others.items()}

    def text_layers(self, encoder: int) -> dict[str, nn.Module]:
        """Its updates of a text encoder, 0 or 1, by path."""
        mine = ("te", "te1") if encoder == 0 else ("te2",)
        parts = ((key.partition("/"), update) for key, update in self.text.items())
        return {path.replace("/", "."): update for (label, _, path), update in parts if label in mine}

    def items(self) -> Iterator[tuple[str, LowRank]]:
        """(name of the attention's matrix, its update)."""
        for key, part in self.parts.items():
            for matrix, attribute in MATRICES.items():
                if (update := getattr(part, attribute)) is not None:
                    yield f"{key.replace('/', '.')}.{matrix}", update


def _key(path: str) -> str:
    """Module names may not hold dots."""
    return path.replace(".", "/")


def matrix_names(base: BaseGeometry) -> list[str]:
    """Every matrix of every attention of a base."""
    return [
        f"{path}.{attention}.{matrix}"
        for path, block in base.blocks.items()
        for attention in (("attn1", "attn2") if block.context else ("attn1",))
        for matrix in MATRICES
    ]


def _located(name: str, base: BaseGeometry) -> tuple[str, str, tuple[int, int]]:
    """(attention, matrix, widths in and out) of a matrix's name."""
    for matrix in MATRICES:
        attention = name.removesuffix(f".{matrix}")
        path, _, kind = attention.rpartition(".")
        block = base.blocks.get(path)
        if attention != name and block is not None and kind in ("attn1", "attn2"):
            return attention, matrix, _widths(block, kind, matrix)
    raise ValueError(f"{name!r} is no matrix of an attention of this base")


def _widths(block: BlockGeometry, kind: str, matrix: str) -> tuple[int, int]:
    if matrix == "to_out.0":
        return block.inner, block.width
    reads_text = kind == "attn2" and matrix != "to_q"
    return block.context if reads_text else block.width, block.inner
