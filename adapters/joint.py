"""What does an attention compute when its block has adapters?

With h the normalised input, each branch receives: its own attention (frozen; on condition branches with the adapter's
update) + the sum over its pairs of weight * projection(its read of the other branch). In a read, queries, keys, values
and output are the frozen matrices plus the update of the branch *the token is from*.

Two processors: for `attn1` (own attention and reads) and for `attn2` (text). Frozen layers are called, on all branches
at once, and never unpacked: their weights may be offloaded or sharded. Without a layout the original processor runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from adapters.layout import Layout, Member
from adapters.lowrank import AttentionUpdate

Tokens = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values."""
KeyValues = dict[tuple[int, str], tuple[Tensor, Tensor]]
"""Keys and values in one block, each (guidance, sample, tokens, inner), by (branch, adapter)."""


class GraftedProcessor(nn.Module):
    """A processor that moves and trains with its UNet, but is no part of the UNet's state dict."""

    is_merged = False

    def __init__(self, original: Any):
        super().__init__()
        self.original = original
        self.adapters = nn.ModuleDict()
        self.register_load_state_dict_post_hook(_expect_no_keys)

    def state_dict(self, *args: Any, destination: Any = None, **_: Any) -> Any:
        return {} if destination is None else destination


def _expect_no_keys(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [key for key in keys.missing_keys if ".processor." not in key]


class TextAttention(GraftedProcessor):
    """The processor of `attn2`."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        joint: Layout | None = None,
    ) -> Tensor:
        if joint is None or not any(name in self.adapters for name in joint.conditions.values()):
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        return self.own_attention(attn, hidden_states, context, joint)

    def own_attention(self, attn: Attention, hidden: Tensor, context: Tensor, joint: Layout) -> Tensor:
        """Every branch's attention to its text."""
        updates = {b: self.adapters[name] for b, name in joint.conditions.items() if name in self.adapters}
        return updated_attention(attn, hidden, context, frozen_tokens(attn, hidden, context), updates, joint)


class JointAttention(GraftedProcessor):
    """The processor of `attn1`."""

    def __init__(self, original: Any):
        super().__init__(original)
        self.cached: KeyValues = {}
        """For the length of one call: what held-clean branches answer in this block."""
        self.recorded: KeyValues = {}
        """What the running branches answered in the last recording call."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        joint: Layout | None = None,
    ) -> Tensor:
        if joint is None:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        own, questions, answers = self.prepare(attn, hidden_states, joint)
        if joint.recording:
            self.recorded = answers
        return joint.add(own, self.reads(attn, questions, {**self.cached, **answers}, joint))

    def prepare(
        self, attn: Attention, hidden: Tensor, joint: Layout
    ) -> tuple[Tensor, dict[tuple[int, str], Tensor], KeyValues]:
        """Every branch's own attention, and the queries and the keys and values of the reads."""
        tokens = frozen_tokens(attn, hidden, hidden)
        updates = {b: self.adapters[name].own for b, name in joint.conditions.items()}
        updates = {b: update for b, update in updates.items() if update is not None}
        own = updated_attention(attn, hidden, hidden, tokens, updates, joint)
        questions, answers = {}, {}
        for member in self.members(joint):
            h, q, k, v = (joint.branch(t, member.branch) for t in (hidden, *tokens))
            part = self.adapters[member.adapter]
            update = part.image if member.is_image else part.condition
            if member.asks:
                questions[member.key] = q + update.q(h)
            if member.answers:
                answers[member.key] = self.pooled(member, (k + update.k(h), v + update.v(h)), joint)
        return own, questions, answers

    def members(self, joint: Layout) -> list[Member]:
        """Those whose adapter reads in this block."""
        return [m for m in joint.members if self.adapters[m.adapter].reads]

    def pooled(
        self, member: Member, key_value: tuple[Tensor, Tensor], joint: Layout
    ) -> tuple[Tensor, Tensor]:
        """Keys and values averaged over windows, at the top resolution only."""
        window = self.adapters[member.adapter].pool_keys
        height, width = joint.latent_size
        if window == 1 or key_value[0].shape[-2] != height * width:
            return key_value
        key, value = (_average(t, height, width, window) for t in key_value)
        return key, value

    def reads(
        self, attn: Attention, questions: Mapping[tuple[int, str], Tensor], answers: KeyValues, joint: Layout
    ) -> dict[int, Tensor]:
        """What each branch receives from the others, (guidance, sample, tokens, width)."""
        received: dict[int, Tensor] = {}
        for route in joint.routes:
            pair, part = route.pair, self.adapters[route.pair.adapter]
            if not part.reads:
                continue
            image, condition = (pair.image, pair.adapter), (pair.condition, pair.adapter)
            found = (
                attend(questions[image], *answers[condition], attn.heads) if route.image_reads else None,
                attend(questions[condition], *answers[image], attn.heads) if route.condition_reads else None,
            )
            weights = ((pair.image, pair.image_weight), (pair.condition, pair.condition_weight))
            for (branch, weight), change in zip(weights, part.output(attn, *found), strict=True):
                if change is not None:
                    change = weighted(change, weight)
                    received[branch] = received[branch] + change if branch in received else change
        return received


def frozen_tokens(attn: Attention, hidden: Tensor, context: Tensor) -> Tokens:
    """The frozen queries, keys and values of the whole batch."""
    return attn.to_q(hidden), attn.to_k(context), attn.to_v(context)


def updated_attention(
    attn: Attention,
    hidden: Tensor,
    context: Tensor,
    tokens: Tokens,
    updates: Mapping[int, AttentionUpdate],
    joint: Layout,
) -> Tensor:
    """The frozen attention on the whole batch, with an update on some branches."""
    q, k, v = tokens
    q = joint.add(q, {b: u.q(joint.branch(hidden, b)) for b, u in updates.items()})
    k = joint.add(k, {b: u.k(joint.branch(context, b)) for b, u in updates.items()})
    v = joint.add(v, {b: u.v(joint.branch(context, b)) for b, u in updates.items()})
    found = attend(q, k, v, attn.heads)
    out = joint.add(attn.to_out[0](found), {b: u.out(joint.branch(found, b)) for b, u in updates.items()})
    return attn.to_out[1](out)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention, (..., tokens, inner) for each. A cache of one guidance half serves all halves."""
    key, value = (t.expand(*query.shape[:-2], *t.shape[-2:]) for t in (key, value))
    found = F.scaled_dot_product_attention(*(_split_heads(t, heads) for t in (query, key, value)))
    return found.transpose(1, 2).reshape(query.shape)


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    return tokens.reshape(-1, tokens.shape[-2], heads, tokens.shape[-1] // heads).transpose(1, 2)


def _average(tokens: Tensor, height: int, width: int, window: int) -> Tensor:
    grid = tokens.flatten(0, -3).transpose(1, 2).unflatten(2, (height, width))
    pooled = F.avg_pool2d(grid, window, ceil_mode=True).flatten(2).transpose(1, 2)
    return pooled.unflatten(0, tokens.shape[:-2])


def weighted(change: Tensor, weight: float | Tensor) -> Tensor:
    """`change` (guidance, sample, tokens, width) times a number or a (guidance, sample) or (sample,) tensor."""
    if isinstance(weight, Tensor):
        return change * weight[..., None, None]
    return change if weight == 1.0 else change * weight
