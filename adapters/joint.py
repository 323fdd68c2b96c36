"""What does an attention compute when its block has adapters?

With h the normalised input, each branch receives: its own attention (frozen; on condition branches with the
adapter's update, on image branches with those of LoRAs) + the sum over its pairs of weight * projection(its
read of the other branch). Beside its text, a branch may read an embedding that it is to look like
(`decoder.py`). In a read, queries, keys, values and output are the frozen matrices plus the update of the
branch *the token is from*; adapters with locality add positions to queries and keys.

Two processors: for `attn1` (own attention and reads) and for `attn2` (text). Frozen layers are called, on all
branches at once, and never unpacked: their weights may be offloaded or sharded. Without a layout the original
processor runs. The same without low-rank arithmetic is `merge.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from adapters.hidden import Hidden
from adapters.image_lora import ImageUpdate
from adapters.layout import Layout, Member
from adapters.lowrank import AttentionUpdate, SelfAttentionAdapter
from adapters.positions import sinusoids

Key = tuple[int, str]
"""A branch, as its adapter's update makes it look: (branch index, adapter name)."""


class Tokens(NamedTuple):
    """Queries, keys and values of the whole batch, (item, tokens, inner) each."""

    query: Tensor
    key: Tensor
    value: Tensor


class Answer(NamedTuple):
    """Keys and values of one branch, (guidance, sample, tokens, inner) each."""

    key: Tensor
    value: Tensor


class Reading(NamedTuple):
    """What one block has before its branches read each other."""

    own: dict[int, Tensor]
    """Each running branch's own attention, (guidance, sample, tokens, width)."""
    questions: dict[Key, Tensor]
    answers: dict[Key, Answer]


class GraftedProcessor(Hidden):
    """A processor that moves and trains with its UNet, but is no part of the UNet's state dict."""

    PLACE = "processor"
    is_merged = False

    def __init__(self, original: Any):
        super().__init__()
        self.original = original
        self.adapters = nn.ModuleDict()
        self.loras = nn.ModuleDict()
        self.decoder: Any = None
        """A decoder adapter's part (`decoder.DecoderBlock`), beside text alone."""

    def image_updates(self, joint: Layout) -> dict[int, Any]:
        """The update of each image branch that gets LoRAs."""
        parts = [(self.loras[name], weight) for name, weight in joint.loras.items() if name in self.loras]
        update = ImageUpdate(cast(Any, parts)) if parts else None
        return {} if update is None else dict.fromkeys(joint.lora_branches, update)


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
        if joint is None or not self.updates(joint):
            out = self.original(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        else:
            context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
            out = self.attend_text(attn, hidden_states, context, joint)
        return out if joint is None else joint.add(out, self.likeness(attn, hidden_states, joint))

    def likeness(self, attn: Attention, hidden: Tensor, joint: Layout) -> dict[int, Tensor]:
        """What branches receive from the embedding that they are to look like."""
        if self.decoder is None or joint.like is None:
            return {}
        read = {b: self.decoder(attn, joint.branch(hidden, b), joint.like) for b in joint.like_branches}
        return {b: weighted(change, joint.like_weight) for b, change in read.items()}

    def updates(self, joint: Layout) -> dict[int, Any]:
        """Each branch's update of this attention, where it has one."""
        own = {b: self.adapters[name] for b, name in joint.conditions.items() if name in self.adapters}
        return {**own, **self.image_updates(joint)}

    def attend_text(self, attn: Attention, hidden: Tensor, context: Tensor, joint: Layout) -> Tensor:
        """Every branch's attention to its text, (item, tokens, width)."""
        tokens = frozen_tokens(attn, hidden, context)
        return updated_attention(attn, hidden, context, tokens, self.updates(joint), joint)


class JointAttention(GraftedProcessor):
    """The processor of `attn1`."""

    def __init__(self, original: Any):
        super().__init__(original)
        self.cached: dict[Key, Answer] = {}
        """For the length of one call: what held-clean branches answer in this block."""
        self.recorded: dict[Key, Answer] = {}
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
        if joint is None or not (joint.recording or self.members(joint) or self.updates(joint)):
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        own, questions, answers = self.prepare(attn, hidden_states, joint)
        if joint.recording:
            self.recorded = answers
        received = self.read(attn, questions, {**self.cached, **answers}, joint)
        return joint.stack(own, received)

    def part(self, name: str) -> SelfAttentionAdapter:
        """An adapter's part in this attention."""
        return cast(SelfAttentionAdapter, self.adapters[name])

    def updates(self, joint: Layout) -> dict[int, Any]:
        """The update of each branch's own attention, where it has one."""
        parts = {b: self.part(name).own for b, name in joint.conditions.items()}
        return {b: own for b, own in parts.items() if own is not None} | self.image_updates(joint)

    def members(self, joint: Layout) -> list[Member]:
        """Those whose adapter reads in this block."""
        return [m for m in joint.members if self.part(m.adapter).reads]

    def prepare(self, attn: Attention, hidden: Tensor, joint: Layout) -> Reading:
        """Own attention, and the tokens of the reads."""
        tokens = frozen_tokens(attn, hidden, hidden)
        own = updated_attention(attn, hidden, hidden, tokens, self.updates(joint), joint)
        questions, answers, positions = {}, {}, self.positions(attn, hidden, joint)
        for m in self.members(joint):
            h, q, k, v = (joint.branch(t, m.branch) for t in (hidden, *tokens))
            update = self.part(m.adapter).side(m.is_image)
            if m.asks:
                questions[m.key] = self.placed(m, q + update.q(h), positions)
            if m.answers:
                key = self.placed(m, k + update.k(h), positions)
                answers[m.key] = self.pool(m, Answer(key, v + update.v(h)), joint)
        return Reading(joint.branches(own), questions, answers)

    def positions(self, attn: Attention, hidden: Tensor, joint: Layout) -> Tensor | None:
        """Positions of this block's tokens (tokens, inner / heads), if an adapter reading here needs them."""
        if all(self.part(m.adapter).places is None for m in self.members(joint)):
            return None
        return sinusoids(hidden.shape[-2], joint.latent_size, attn.inner_dim // attn.heads, like=hidden)

    def placed(self, member: Member, tokens: Tensor, positions: Tensor | None) -> Tensor:
        """Queries or keys (..., tokens, inner), with positions if the adapter has locality."""
        places = self.part(member.adapter).places
        return tokens if places is None or positions is None else places(tokens, positions)

    def pool(self, member: Member, answer: Answer, joint: Layout) -> Answer:
        """Keys and values averaged over windows, at the top resolution only."""
        window = self.part(member.adapter).pool_keys
        height, width = joint.latent_size
        if window == 1 or answer.key.shape[-2] != height * width:
            return answer
        return Answer(*(_average(tokens, height, width, window) for tokens in answer))

    def read(
        self, attn: Attention, questions: Mapping[Key, Tensor], answers: Mapping[Key, Answer], joint: Layout
    ) -> dict[int, Tensor]:
        """What each branch receives from the others, (guidance, sample, tokens, width)."""
        received: dict[int, Tensor] = {}
        for pair, image_reads, condition_reads in joint.routes:
            part = self.part(pair.adapter)
            if not part.reads:
                continue
            image, condition = (pair.image, pair.adapter), (pair.condition, pair.adapter)
            changes = part.output(
                attn,
                attend(questions[image], *answers[condition], attn.heads) if image_reads else None,
                attend(questions[condition], *answers[image], attn.heads) if condition_reads else None,
            )
            for branch, weight, change in zip(
                (pair.image, pair.condition), (pair.image_weight, pair.condition_weight), changes, strict=True
            ):
                if change is not None:
                    change = weighted(change, weight)
                    received[branch] = received[branch] + change if branch in received else change
        return received


def frozen_tokens(attn: Attention, hidden: Tensor, context: Tensor) -> Tokens:
    """The frozen queries, keys and values of the whole batch."""
    assert attn.to_k is not None
    assert attn.to_v is not None
    return Tokens(attn.to_q(hidden), attn.to_k(context), attn.to_v(context))


def updated_attention(
    attn: Attention,
    hidden: Tensor,
    context: Tensor,
    tokens: Tokens,
    updates: Mapping[int, AttentionUpdate | ImageUpdate],
    joint: Layout,
) -> Tensor:
    """The frozen attention on the whole batch, with an update on some branches, (item, tokens, width)."""
    q, k, v = tokens
    q = joint.add(q, {b: u.q(joint.branch(hidden, b)) for b, u in updates.items()})
    k = joint.add(k, {b: u.k(joint.branch(context, b)) for b, u in updates.items()})
    v = joint.add(v, {b: u.v(joint.branch(context, b)) for b, u in updates.items()})
    found = attend(q, k, v, attn.heads)
    to_out, dropout = cast(nn.ModuleList, attn.to_out)
    out = joint.add(to_out(found), {b: u.out(joint.branch(found, b)) for b, u in updates.items()})
    return dropout(out)


_FEW_TOKENS = 512
"""Up to here plain products are faster to learn through than fused attention, on a CPU in bfloat16."""


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Softmax attention of (..., tokens, inner) tensors. A cache of one guidance half serves all halves."""
    key, value = (t.expand(*query.shape[:-2], *t.shape[-2:]) for t in (key, value))
    q, k, v = (_split_heads(t, heads) for t in (query, key, value))
    return _scaled_dot_product(q, k, v).transpose(1, 2).reshape(query.shape)


def _scaled_dot_product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    learning = query.requires_grad or key.requires_grad or value.requires_grad
    few = max(query.shape[-2], key.shape[-2]) <= _FEW_TOKENS
    if learning and few and query.dtype == torch.bfloat16 and query.device.type == "cpu":
        return _in_plain_products(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def _in_plain_products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    q, k, v = (t.flatten(0, 1) for t in (query, key, value))
    unused = q.new_empty(q.shape[0], q.shape[1], k.shape[1])
    scores = torch.baddbmm(unused, q, k.transpose(-1, -2), beta=0, alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(dim=-1).to(v.dtype), v).unflatten(0, query.shape[:2])


def weighted(change: Tensor, weight: float | Tensor) -> Tensor:
    """`change` (guidance, sample, tokens, width) times a number, or one per sample."""
    if isinstance(weight, Tensor):
        return change * weight[..., None, None]
    return change if weight == 1.0 else change * weight


def _split_heads(tokens: Tensor, heads: int) -> Tensor:
    return tokens.reshape(-1, tokens.shape[-2], heads, tokens.shape[-1] // heads).transpose(1, 2)


def _average(tokens: Tensor, height: int, width: int, window: int) -> Tensor:
    grid = tokens.flatten(0, -3).transpose(1, 2).unflatten(2, (height, width))
    pooled = F.avg_pool2d(grid, window, ceil_mode=True).flatten(2).transpose(1, 2)
    # Of one item it comes with channels far apart, of which attention's fast kernels take none.
    return pooled.contiguous().unflatten(0, tokens.shape[:-2])
