"""Who is where in the batch, and who reads whom?

A batch is a view of (guidance, branch, sample), contiguous. Branches have indices; those whose keys and
values come from a cache are not in the batch, all others are, in increasing order. Everything is settled
once per call, in Python, so that no layer searches, masks or synchronises.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from adapters.config import AdapterConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """An image branch and a condition branch that read each other through one adapter.

    A weight multiplies what its branch receives. It is a number, or a tensor of shape (samples,) or
    (guidance, samples). The number 0 means that the branch does not read, and the read is not computed.
    """

    image: int
    condition: int
    adapter: str
    image_weight: float | Tensor = 1.0
    condition_weight: float | Tensor = 1.0


class Route(NamedTuple):
    """A pair in one call: which of its two reads are computed."""

    pair: Pair
    image_reads: bool
    condition_reads: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A running branch under one adapter: whether its queries, and its keys and values, are needed."""

    branch: int
    adapter: str
    is_image: bool
    asks: bool
    answers: bool

    @property
    def key(self) -> tuple[int, str]:
        return (self.branch, self.adapter)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """One call's batch and routes, as the attention processors get them."""

    num_guidance: int
    running: tuple[int, ...]
    """The branches in the batch, in its order."""
    conditions: dict[int, str]
    """The adapter of each running condition branch."""
    routes: tuple[Route, ...]
    members: tuple[Member, ...]
    latent_size: tuple[int, int]
    """Height and width; the blocks of the top resolution have one token per latent pixel."""
    recording: bool = False
    loras: dict[str, float] = field(default_factory=dict)
    """LoRAs of the image branches, with their weights."""
    lora_branches: tuple[int, ...] = ()
    """The running branches that get them."""
    like: Tensor | None = None
    """Tokens that say what branches are to look like, (guidance, sample, K, width)."""
    like_branches: tuple[int, ...] = ()
    """The running branches that read them."""
    like_weight: float = 1.0

    def branch(self, batch: Tensor, index: int) -> Tensor:
        """One running branch, (guidance, sample, ...), of a (guidance * branch * sample, ...) batch."""
        # A product with odd strides takes a slow path (bfloat16 on CPU: four times as slow). They can be
        # odd even where a tensor counts as contiguous, in dimensions of size 1; viewing sets those right.
        part = self._split(batch)[:, self.running.index(index)].contiguous()
        return part.view(part.shape)

    def branches(self, batch: Tensor) -> dict[int, Tensor]:
        """All running branches, as strided views."""
        return dict(zip(self.running, self._split(batch).unbind(1), strict=True))

    def stack(self, parts: Mapping[int, Tensor], changes: Mapping[int, Tensor]) -> Tensor:
        """The batch made of `parts`, each (guidance, sample, ...), with the changes added to theirs.

        In the dtype of `parts`: under autocast a change may be wider, and would make all after it slower.
        """
        summed = [
            parts[b] + changes[b].to(parts[b].dtype) if b in changes else parts[b] for b in self.running
        ]
        return torch.stack(summed, dim=1).flatten(0, 2)

    def add(self, batch: Tensor, changes: Mapping[int, Tensor]) -> Tensor:
        """`batch` with each change added to its branch."""
        return self.stack(self.branches(batch), changes) if changes else batch

    def _split(self, batch: Tensor) -> Tensor:
        return batch.unflatten(0, (self.num_guidance, len(self.running), -1))


def make_layout(
    *,
    pairs: Sequence[Pair],
    running: Sequence[int],
    cached: Collection[int],
    configs: Mapping[str, AdapterConfig],
    num_guidance: int,
    like: Tensor,
    loras: Mapping[str, float],
    lora_branches: Collection[int],
) -> Layout:
    """Settle one call: `like` is the latent batch, (guidance * running * sample, channels, height, width)."""
    num_samples = like.shape[0] // (num_guidance * len(running))
    pairs = [_prepared(pair, like, num_guidance, num_samples) for pair in pairs]
    there = {*running, *cached}
    routes = [_route(p, running, there, fused=configs[p.adapter].projection == "fused") for p in pairs]
    return Layout(
        num_guidance=num_guidance,
        running=tuple(running),
        conditions={p.condition: p.adapter for p in pairs if p.condition in running},
        routes=tuple(r for r in routes if r.image_reads or r.condition_reads),
        members=_members(routes, running),
        latent_size=(like.shape[-2], like.shape[-1]),
        loras={name: weight for name, weight in loras.items() if weight != 0},
        lora_branches=tuple(b for b in running if b in lora_branches),
    )


def recording_layout(
    *, pairs: Sequence[Pair], branches: Sequence[int], num_guidance: int, like: Tensor
) -> Layout:
    """A call in which `branches` read nobody and every key and value that others may ask for is kept."""
    sides = {(p.image, p.adapter, True) for p in pairs} | {(p.condition, p.adapter, False) for p in pairs}
    return Layout(
        num_guidance=num_guidance,
        running=tuple(branches),
        conditions={p.condition: p.adapter for p in pairs if p.condition in branches},
        routes=(),
        members=tuple(
            Member(branch=branch, adapter=adapter, is_image=is_image, asks=False, answers=True)
            for branch, adapter, is_image in sorted(sides)
            if branch in branches
        ),
        latent_size=(like.shape[-2], like.shape[-1]),
        recording=True,
    )


def check_pairs(
    pairs: Sequence[Pair], branches: Collection[int], configs: Mapping[str, AdapterConfig]
) -> None:
    """Raise `ValueError` unless pairs are bipartite, over known branches, with one adapter per condition."""
    for pair in pairs:
        if pair.adapter not in configs:
            raise ValueError(
                f"{pair}: no adapter {pair.adapter!r} is grafted; grafted: {sorted(configs) or 'none'}"
            )
        if missing := {pair.image, pair.condition} - set(branches):
            raise ValueError(f"{pair}: there is no branch {missing.pop()}; branches: {sorted(branches)}")
    if both := {p.image for p in pairs} & {p.condition for p in pairs}:
        raise ValueError(
            f"branch {both.pop()} is an image in one pair and a condition in another: choose one"
        )
    adapter_of: dict[int, str] = {}
    for pair in pairs:
        if adapter_of.setdefault(pair.condition, pair.adapter) != pair.adapter:
            raise ValueError(
                f"condition branch {pair.condition} is paired through {adapter_of[pair.condition]!r} and "
                f"{pair.adapter!r}: a condition branch has one adapter; give the map a second branch"
            )
    if len({(p.image, p.condition) for p in pairs}) < len(pairs):
        raise ValueError(f"the same image and condition are paired twice: {list(pairs)}; merge their weights")


def _prepared(pair: Pair, like: Tensor, num_guidance: int, num_samples: int) -> Pair:
    """The pair with its weights as numbers, or as tensors on the latents' device."""

    def prepare(name: str, weight: float | Tensor) -> float | Tensor:
        if not isinstance(weight, Tensor):
            return float(weight)
        if weight.shape not in ((), (num_samples,), (num_guidance, num_samples)):
            raise ValueError(
                f"{name} has shape {tuple(weight.shape)}: give a number, one per sample ({num_samples},) or "
                f"one per guidance half and sample ({num_guidance}, {num_samples})"
            )
        return weight.to(like.device, like.dtype)

    return replace(
        pair,
        image_weight=prepare("image_weight", pair.image_weight),
        condition_weight=prepare("condition_weight", pair.condition_weight),
    )


def _route(pair: Pair, running: Collection[int], there: Collection[int], *, fused: bool) -> Route:
    image = pair.image in running and pair.condition in there and _is_on(pair.image_weight)
    condition = pair.condition in running and pair.image in there and _is_on(pair.condition_weight)
    if fused:  # its projection mixes both reads
        image = condition = image or condition
    return Route(pair=pair, image_reads=image, condition_reads=condition)


def _is_on(weight: float | Tensor) -> bool:
    return isinstance(weight, Tensor) or weight != 0.0


def _members(routes: Sequence[Route], running: Collection[int]) -> tuple[Member, ...]:
    asks = {(r.pair.image, r.pair.adapter, True) for r in routes if r.image_reads}
    asks |= {(r.pair.condition, r.pair.adapter, False) for r in routes if r.condition_reads}
    answers = {(r.pair.condition, r.pair.adapter, False) for r in routes if r.image_reads}
    answers |= {(r.pair.image, r.pair.adapter, True) for r in routes if r.condition_reads}
    return tuple(
        Member(branch=key[0], adapter=key[1], is_image=key[2], asks=key in asks, answers=key in answers)
        for key in sorted(asks | answers)
        if key[0] in running
    )
