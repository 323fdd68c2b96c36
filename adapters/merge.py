"""How do adapters run without low-rank arithmetic?

Merging gives every branch its own dense matrices: queries, keys and values of the joint reads stacked in one, the output
composed with the projection, and the condition branch's own attentions. The base and the adapters stay as they are;
`unmerge` drops the copies. Changing an adapter afterwards does not change what was merged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from adapters.base import transformer_blocks
from adapters.grafting import check_unmerged, grafted
from adapters.joint import GraftedProcessor, JointAttention, KeyValues, TextAttention, attend
from adapters.layout import Layout
from adapters.lowrank import AttentionUpdate, FusedProjection, LowRank, SelfAttentionAdapter, SharedProjection


def merge_for_inference(unet: nn.Module) -> int:
    """Merge all adapters on a UNet; returns the bytes this adds.

    Raises `ValueError` if none is grafted, the UNet is merged already, or frozen weights cannot be read: on `meta`
    (offloaded), sharded, quantised or wrapped by another adapter library.
    """
    check_unmerged(unet)
    if not grafted(unet):
        raise ValueError("no adapters to merge: graft them first")
    merged = [
        (attn, kind(attn, f"{path}.{name}"))
        for path, block in transformer_blocks(unet).items()
        for name, attn, kind in (("attn1", block.attn1, MergedJoint), ("attn2", block.attn2, MergedText))
        if attn is not None
    ]
    for attn, processor in merged:  # only now, so that an error leaves nothing half merged
        attn.set_processor(processor)
    return sum(buffer.nbytes for _, processor in merged for buffer in processor.adapters.buffers())


def unmerge(unet: nn.Module) -> None:
    """Undo `merge_for_inference`. A UNet that is not merged stays as it is."""
    for block in transformer_blocks(unet).values():
        for attn in (block.attn1, block.attn2):
            if isinstance(attn, Attention) and isinstance(attn.processor, MergedJoint | MergedText):
                attn.set_processor(attn.processor.unmerged)


class Dense(nn.Module):
    """A merged matrix, (rows, columns), with or without bias."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", bias, persistent=False)

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        return F.linear(x, self.weight[rows], None if self.bias is None else self.bias[rows])


class MergedAttention(nn.Module):
    """A condition branch's own attention, to itself or to its text."""

    def __init__(self, attn: Attention, update: AttentionUpdate, path: str):
        super().__init__()
        self.heads = attn.heads
        self.q, self.k, self.v = (
            Dense(*_merged(linear, low_rank, path))
            for linear, low_rank in ((attn.to_q, update.q), (attn.to_k, update.k), (attn.to_v, update.v))
        )
        self.out = Dense(*_merged(attn.to_out[0], update.out, path))

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        return self.out(attend(self.q(hidden), self.k(context), self.v(context), self.heads))


class MergedReads(nn.Module):
    """An adapter's part in one self-attention: `SelfAttentionAdapter` without low-rank arithmetic."""

    def __init__(self, attn: Attention, part: SelfAttentionAdapter, path: str):
        super().__init__()
        self.pool_keys, self.inner = part.pool_keys, attn.inner_dim
        self.own = None if part.own is None else MergedAttention(attn, part.own, path)
        self.reads = part.reads
        if self.reads:
            self.image, self.condition = (_stacked(attn, u, path) for u in (part.image, part.condition))
            self.outputs = _outputs(attn, part, path)

    def tokens(self, hidden: Tensor, *, is_image: bool, asks: bool, answers: bool) -> list[Tensor]:
        """Queries if asking, keys and values if answering, in one product."""
        rows = slice(0 if asks else self.inner, None if answers else self.inner)
        stacked = (self.image if is_image else self.condition)(hidden, rows)
        return list(stacked.split(self.inner, dim=-1))

    def output(
        self, attn: nn.Module, image: Tensor | None, condition: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None]:
        if len(self.outputs) == 1:  # fused
            both = self.outputs[0](torch.cat([image, condition], dim=-1))
            image, condition = both.chunk(2, dim=-1)
            return image, condition
        return (
            None if image is None else self.outputs[0](image),
            None if condition is None else self.outputs[1](condition),
        )


class MergedText(TextAttention):
    """The processor of `attn2`, merged."""

    is_merged = True

    def __init__(self, attn: Attention, path: str):
        super().__init__(attn.processor.original)
        self.unmerged = attn.processor
        for name, update in attn.processor.adapters.items():
            self.adapters[name] = MergedAttention(attn, update, path)

    def own_attention(self, attn: Attention, hidden: Tensor, context: Tensor, joint: Layout) -> Tensor:
        layers = {b: self.adapters[name] for b, name in joint.conditions.items() if name in self.adapters}
        return _per_branch(self, attn, hidden, context, layers, joint)


class MergedJoint(JointAttention):
    """The processor of `attn1`, merged."""

    is_merged = True

    def __init__(self, attn: Attention, path: str):
        super().__init__(attn.processor.original)
        self.unmerged = attn.processor
        for name, part in attn.processor.adapters.items():
            self.adapters[name] = MergedReads(attn, part, path)

    def prepare(
        self, attn: Attention, hidden: Tensor, joint: Layout
    ) -> tuple[Tensor, dict[tuple[int, str], Tensor], KeyValues]:
        layers = {b: self.adapters[name].own for b, name in joint.conditions.items()}
        layers = {b: layer for b, layer in layers.items() if layer is not None}
        own = _per_branch(self, attn, hidden, None, layers, joint)
        questions, answers = {}, {}
        for m in self.members(joint):
            h = joint.branch(hidden, m.branch)
            tokens = self.adapters[m.adapter].tokens(h, is_image=m.is_image, asks=m.asks, answers=m.answers)
            if m.asks:
                questions[m.key] = tokens[0]
            if m.answers:
                answers[m.key] = self.pooled(m, (tokens[-2], tokens[-1]), joint)
        return own, questions, answers


def _per_branch(
    processor: GraftedProcessor,
    attn: Attention,
    hidden: Tensor,
    context: Tensor | None,
    layers: dict[int, MergedAttention],
    joint: Layout,
) -> Tensor:
    """Every branch's own attention: merged where the branch has a layer, else the original processor's."""
    if not layers:
        return processor.original(attn, hidden, context)
    parts = []
    for branch in joint.running:
        h = joint.branch(hidden, branch)
        c = h if context is None else joint.branch(context, branch)
        if branch in layers:
            parts.append(layers[branch](h, c))
        else:
            own = processor.original(attn, h.flatten(0, 1), None if context is None else c.flatten(0, 1))
            parts.append(own.unflatten(0, h.shape[:2]))
    return joint.stack(parts)


def _stacked(attn: Attention, update: AttentionUpdate, path: str) -> Dense:
    """Queries, keys and values of one side in one matrix."""
    parts = [
        _merged(attn.to_q, update.q, path),
        _merged(attn.to_k, update.k, path),
        _merged(attn.to_v, update.v, path),
    ]
    weights, biases = zip(*parts, strict=True)
    return Dense(torch.cat(weights), None if biases[0] is None else torch.cat(biases))


def _outputs(attn: Attention, part: SelfAttentionAdapter, path: str) -> nn.ModuleList:
    """Output and projection as one matrix: one per branch, or one over both."""
    weights, biases = zip(
        *(_merged(attn.to_out[0], u.out, path) for u in (part.image, part.condition)), strict=True
    )
    if isinstance(part.projection, FusedProjection):
        weight, bias = torch.block_diag(*weights), None if biases[0] is None else torch.cat(biases)
        return nn.ModuleList([_composed(part.projection.weight, weight, bias)])
    if isinstance(part.projection, SharedProjection):
        projections = [part.projection.weight, part.projection.weight]
    else:
        projections = [part.projection.image.matrix(), part.projection.condition.matrix()]
    return nn.ModuleList(_composed(p, w, b) for p, w, b in zip(projections, weights, biases, strict=True))


@torch.no_grad()
def _composed(projection: Tensor, weight: Tensor, bias: Tensor | None) -> Dense:
    projection = projection.float()
    bias = None if bias is None else (projection @ bias.float()).to(weight.dtype)
    return Dense((projection @ weight.float()).to(weight.dtype), bias)


@torch.no_grad()
def _merged(linear: nn.Linear, update: LowRank, path: str) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a frozen layer with its update, summed in float32."""
    weight = linear.weight
    if type(linear) is not nn.Linear or type(weight) is not nn.Parameter or weight.is_meta:
        raise ValueError(
            f"{path}: {_describe(linear)}: merge before offloading, sharding or quantising, or run unmerged"
        )
    if tuple(weight.shape) != (linear.out_features, linear.in_features):
        raise ValueError(
            f"{path}: the weights are sharded over processes: merge before sharding, or run unmerged"
        )
    return (weight.float() + update.matrix().to(weight.device)).to(weight.dtype), linear.bias


def _describe(linear: nn.Module) -> str:
    if linear.weight.is_meta:
        return "the frozen weights are on `meta` (offloaded)"
    return f"a {type(linear).__name__} holding a {type(linear.weight).__name__} cannot be merged"
