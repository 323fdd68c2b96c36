"""How do adapters run without low-rank arithmetic?

Merging gives every branch dense matrices of its own: queries, keys and values of the reads stacked in one,
the output composed with the projection, and its own attentions where they are updated. The base and the
adapters stay as they are, and `unmerge` drops the copies; training an adapter afterwards does not change
what was merged.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from adapters.base import transformer_blocks
from adapters.grafting import check_unmerged, grafted, lora_weights
from adapters.image_lora import ImageUpdate, WeightedSum
from adapters.joint import Answer, GraftedProcessor, JointAttention, Reading, TextAttention, attend
from adapters.layout import Layout
from adapters.lowrank import (
    AttentionUpdate,
    BranchProjection,
    FusedProjection,
    LowRank,
    SelfAttentionAdapter,
    SharedProjection,
)


def merge_for_inference(unet: nn.Module) -> int:
    """Merge all adapters on a UNet, and its LoRAs with their weights; returns the bytes this adds.

    Raises `ValueError` if none is grafted, the UNet is merged already, or frozen weights cannot be read: on
    `meta` (offloaded), sharded, quantised or wrapped by another adapter library.
    """
    check_unmerged(unet)
    weights = lora_weights(unet)
    if not grafted(unet) and not weights:
        raise ValueError("no adapters to merge: graft them first")
    merged: list[tuple[Attention, MergedJoint | MergedText]] = []
    for path, block in transformer_blocks(unet).items():
        merged.append((block.attn1, MergedJoint(block.attn1, f"{path}.attn1", weights)))
        if block.attn2 is not None:
            merged.append((block.attn2, MergedText(block.attn2, f"{path}.attn2", weights)))
    for attn, processor in merged:  # only now, so that an error leaves nothing half merged
        attn.set_processor(cast(Any, processor))
    own = (part for _, p in merged for part in (p.adapters, p.image) if part is not None)
    added = (t for part in own for t in chain(part.buffers(), part.parameters()))
    return sum(tensor.nbytes for tensor in added)


def unmerge(unet: nn.Module) -> None:
    """Undo `merge_for_inference`. A UNet that is not merged stays as it is."""
    for block in transformer_blocks(unet).values():
        for attn in (block.attn1, block.attn2):
            if attn is not None and isinstance(attn.processor, (MergedJoint, MergedText)):
                attn.set_processor(cast(Any, attn.processor.unmerged))


class Dense(nn.Module):
    """A merged matrix, (rows, columns), with or without bias."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        return F.linear(x, self.weight[rows], None if self.bias is None else self.bias[rows])


class MergedAttention(nn.Module):
    """A branch's own attention, to itself or to its text."""

    def __init__(self, attn: Attention, update: AttentionUpdate | ImageUpdate, path: str):
        super().__init__()
        self.heads = attn.heads
        self.q = _stacked([(attn.to_q, update.q)], path)
        self.kv = _stacked([(attn.to_k, update.k), (attn.to_v, update.v)], path)
        self.out = _stacked([(_to_out(attn), update.out)], path)

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        key, value = self.kv(context).chunk(2, dim=-1)
        return self.out(attend(self.q(hidden), key, value, self.heads))


class MergedReads(nn.Module):
    """An adapter's part in one self-attention: `SelfAttentionAdapter` without low-rank arithmetic."""

    def __init__(self, attn: Attention, part: SelfAttentionAdapter, path: str):
        super().__init__()
        self.pool_keys, self.reads, self.inner = part.pool_keys, part.reads, attn.inner_dim
        self.places = copy.deepcopy(part.places)
        self.requires_grad_(False)
        self.own = None if part.own is None else MergedAttention(attn, part.own, path)
        if part.reads:
            self.image, self.condition = (
                _stacked([(attn.to_q, u.q), (attn.to_k, u.k), (attn.to_v, u.v)], path)
                for u in (part.side(is_image=True), part.side(is_image=False))
            )
            self.outputs = nn.ModuleList(_outputs(attn, part, path))

    def tokens(self, hidden: Tensor, *, is_image: bool, asks: bool, answers: bool) -> tuple[Tensor, ...]:
        """Queries if asking, then keys and values if answering, in one product."""
        rows = slice(0 if asks else self.inner, None if answers else self.inner)
        return (self.image if is_image else self.condition)(hidden, rows).split(self.inner, dim=-1)

    def output(
        self, attn: Attention, image: Tensor | None, condition: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        """As `SelfAttentionAdapter.output`."""
        if len(self.outputs) == 1:  # fused
            assert image is not None
            assert condition is not None
            image, condition = self.outputs[0](torch.cat([image, condition], dim=-1)).chunk(2, dim=-1)
            return image, condition
        return (
            None if image is None else self.outputs[0](image),
            None if condition is None else self.outputs[1](condition),
        )


class MergedLoras(GraftedProcessor):
    """What image branches get of LoRAs, merged."""

    image: MergedAttention | None

    def image_updates(self, joint: Layout) -> dict[int, Any]:
        return {} if self.image is None else dict.fromkeys(joint.lora_branches, self.image)


class MergedText(MergedLoras, TextAttention):
    """The processor of `attn2`, merged."""

    is_merged = True

    def __init__(self, attn: Attention, path: str, weights: Mapping[str, float]):
        unmerged = cast(TextAttention, attn.processor)
        super().__init__(unmerged.original)
        self.unmerged = unmerged
        self.image, self.decoder = _merged_loras(attn, unmerged, path, weights), unmerged.decoder
        for name, update in unmerged.adapters.items():
            self.adapters[name] = MergedAttention(attn, cast(AttentionUpdate, update), path)

    def attend_text(self, attn: Attention, hidden: Tensor, context: Tensor, joint: Layout) -> Tensor:
        updates, own = self.updates(joint), {}
        for b in joint.running:
            h, text = joint.branch(hidden, b), joint.branch(context, b)
            own[b] = updates[b](h, text) if b in updates else _frozen(self, attn, h, text)
        return joint.stack(own, {})


class MergedJoint(MergedLoras, JointAttention):
    """The processor of `attn1`, merged."""

    is_merged = True

    def __init__(self, attn: Attention, path: str, weights: Mapping[str, float]):
        unmerged = cast(JointAttention, attn.processor)
        super().__init__(unmerged.original)
        self.unmerged = unmerged
        self.image = _merged_loras(attn, unmerged, path, weights)
        for name in unmerged.adapters:
            self.adapters[name] = MergedReads(attn, unmerged.part(name), path)

    def part(self, name: str) -> MergedReads:
        return cast(MergedReads, self.adapters[name])

    def prepare(self, attn: Attention, hidden: Tensor, joint: Layout) -> Reading:
        updates = self.updates(joint)
        h = {b: joint.branch(hidden, b) for b in joint.running}
        own = {b: updates[b](h[b], h[b]) if b in updates else _frozen(self, attn, h[b], None) for b in h}
        questions, answers, positions = {}, {}, self.positions(attn, hidden, joint)
        for m in self.members(joint):
            tokens = self.part(m.adapter).tokens(
                h[m.branch], is_image=m.is_image, asks=m.asks, answers=m.answers
            )
            if m.asks:
                questions[m.key] = self.placed(m, tokens[0], positions)
            if m.answers:
                key, value = tokens[-2:]
                answers[m.key] = self.pool(m, Answer(self.placed(m, key, positions), value), joint)
        return Reading(own, questions, answers)


def _merged_loras(
    attn: Attention, unmerged: GraftedProcessor, path: str, weights: Mapping[str, float]
) -> MergedAttention | None:
    """What image branches get in this attention; None where no LoRA changes it."""
    parts = [(unmerged.loras[name], w) for name, w in weights.items() if w != 0 and name in unmerged.loras]
    return MergedAttention(attn, ImageUpdate(cast(Any, parts)), path) if parts else None


def _frozen(processor: GraftedProcessor, attn: Attention, hidden: Tensor, context: Tensor | None) -> Tensor:
    """The original processor on one branch, (guidance, sample, tokens, width)."""
    out = processor.original(attn, hidden.flatten(0, 1), None if context is None else context.flatten(0, 1))
    return out.unflatten(0, hidden.shape[:2])


def _outputs(attn: Attention, part: SelfAttentionAdapter, path: str) -> list[Dense]:
    """Output and projection as one matrix: one per branch, or one over both."""
    image, condition = (
        _stacked([(_to_out(attn), part.side(is_image).out)], path) for is_image in (True, False)
    )
    projection = part.projection
    if isinstance(projection, BranchProjection):
        return [
            _composed(projection.image.matrix(), image),
            _composed(projection.condition.matrix(), condition),
        ]
    if isinstance(projection, SharedProjection):
        return [_composed(projection.weight, image), _composed(projection.weight, condition)]
    both = Dense(torch.block_diag(image.weight, condition.weight), _cat([image.bias, condition.bias]))
    return [_composed(cast(FusedProjection, projection).weight, both)]


@torch.no_grad()
def _composed(projection: Tensor, out: Dense) -> Dense:
    projection, dtype = projection.float(), out.weight.dtype
    bias = None if out.bias is None else (projection @ out.bias.float()).to(dtype)
    return Dense((projection @ out.weight.float()).to(dtype), bias)


@torch.no_grad()
def _stacked(layers: Sequence[tuple[nn.Module | None, LowRank | WeightedSum]], path: str) -> Dense:
    """Frozen layers with their updates, summed in float32, one below the other."""
    linears = [_readable(linear, path) for linear, _ in layers]
    weights = [
        (linear.weight.float() + update.matrix().to(linear.weight.device)).to(linear.weight.dtype)
        for linear, (_, update) in zip(linears, layers, strict=True)
    ]
    return Dense(torch.cat(weights), _cat([linear.bias for linear in linears]))


def _cat(biases: Sequence[Tensor | None]) -> Tensor | None:
    present = [bias for bias in biases if bias is not None]
    assert len(present) in (0, len(biases)), "queries, keys and values have biases together or not at all"
    return torch.cat(present) if present else None


def _readable(linear: nn.Module | None, path: str) -> nn.Linear:
    """`linear`, if its weights are plain and all here."""
    if type(linear) is not nn.Linear:
        raise ValueError(
            f"{path} has a {type(linear).__name__} where a plain Linear can be merged: unload or fuse other "
            "adapters and merge before quantising, or run unmerged"
        )
    weight = linear.weight
    if weight.is_meta:
        raise ValueError(
            f"{path}: the frozen weights are on `meta`: merge before offloading, or run unmerged"
        )
    if type(weight) is not nn.Parameter or tuple(weight.shape) != (linear.out_features, linear.in_features):
        raise ValueError(
            f"{path}: the frozen weights are sharded or packed ({type(weight).__name__} of "
            f"{tuple(weight.shape)}): merge before sharding or quantising, or run unmerged"
        )
    return linear


def _to_out(attn: Attention) -> nn.Module:
    return cast(nn.ModuleList, attn.to_out)[0]
