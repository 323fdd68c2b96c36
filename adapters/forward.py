"""How is the network called with several branches, and how is a held-clean branch computed only once?"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

import torch
from accelerate.hooks import CpuOffload
from torch import Tensor, nn

from adapters.base import bare
from adapters.config import AdapterConfig
from adapters.decoder import Likeness
from adapters.grafting import grafted, grafted_decoder, joint_attentions, lora_weights
from adapters.joint import Answer, Key
from adapters.layer_lora import telling_layers
from adapters.layout import Layout, Pair, check_pairs, make_layout, recording_layout
from adapters.texts import told


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanCache:
    """What held-clean branches answer in every block. It is the same in every step of a run."""

    branches: tuple[int, ...]
    num_guidance: int
    num_samples: int
    latent_size: tuple[int, int]
    blocks: dict[str, dict[Key, Answer]]

    @property
    def num_bytes(self) -> int:
        pairs = (pair for block in self.blocks.values() for pair in block.values())
        return sum(tensor.nbytes for pair in pairs for tensor in pair)


def joint_forward(
    unet: nn.Module,
    sample: Tensor,
    timestep: Tensor | float,
    encoder_hidden_states: Tensor,
    *,
    pairs: Sequence[Pair],
    num_branches: int,
    num_guidance: int = 1,
    cache: CleanCache | None = None,
    lora_branches: Collection[int] = (0,),
    likeness: Likeness | None = None,
    timestep_cond: Tensor | None = None,
) -> Tensor:
    """The UNet's prediction for all running branches.

    `sample` (guidance * branch * sample, channels, height, width) and `encoder_hidden_states` (as many, rows,
    width; see `adapters.texts`) hold the running branches in increasing order: all of `num_branches`, except
    those in `cache`. `timestep` is one number, or one per item. Pairs keep the same branch indices with and
    without a cache. `lora_branches` get the LoRAs that are grafted (`graft_lora`); the decoder adapter tells
    `likeness` to its branches. `timestep_cond` (item, width), diffusers' name, is for UNets that are
    told their guidance. Raises `ValueError` for shapes, pairs or a cache that do not fit together.
    """
    cached = () if cache is None else cache.branches
    running = [b for b in range(num_branches) if b not in cached]
    num_samples = _check_batch(sample, timestep, encoder_hidden_states, len(running), num_guidance)
    if cache is not None:
        _check_cache(cache, sample, pairs, num_branches, num_guidance, num_samples)
    configs = {name: adapter.config for name, adapter in grafted(unet).items()}
    check_pairs(pairs, range(num_branches), configs)
    layout = make_layout(
        pairs=pairs, running=running, cached=cached, configs=configs, num_guidance=num_guidance, like=sample,
        loras=lora_weights(unet), lora_branches=lora_branches,
    )  # fmt: skip
    if both := {p.condition for p in pairs} & set(layout.lora_branches if layout.loras else ()):
        raise ValueError(f"branch {both.pop()} is a condition in a pair: LoRAs are for image branches")
    if likeness is None or likeness.weight == 0:
        telling = contextlib.nullcontext()
    else:
        layout, telling = _with_likeness(unet, layout, likeness, num_samples, sample.dtype)
    used = pairs or layout.loras or layout.like is not None
    with _answering(unet, cache), telling, telling_layers(bare(unet), layout.loras, layout):
        return _call(unet, sample, timestep, encoder_hidden_states, layout if used else None, timestep_cond)


def _with_likeness(
    unet: nn.Module, layout: Layout, likeness: Likeness, num_samples: int, dtype: torch.dtype
) -> tuple[Layout, AbstractContextManager[None]]:
    """The layout with tokens for the branches that are told, and the time embedding's change, while it is
    on."""
    decoder = grafted_decoder(unet)
    if decoder is None:
        raise ValueError("there is a likeness to decode, but no decoder adapter is grafted: graft_decoder")
    shape = (layout.num_guidance, num_samples)
    wanted = {"z": (*shape, decoder.adapter.config.clip.width), "noise_level": shape, "given": shape}
    for name, expected in wanted.items():
        found = tuple(getattr(likeness, name).shape)
        if found != expected:
            raise ValueError(f"likeness.{name} has shape {found}, this call needs {expected}")
    # A UNet that is moved to its device when it is called takes the decoder with it, which is asked before.
    if isinstance(hook := getattr(bare(unet), "_hf_hook", None), CpuOffload):
        hook.pre_forward(bare(unet))
    tokens, change = decoder.adapter(likeness, dtype)
    branches = tuple(b for b in layout.running if b in likeness.branches)
    layout = replace(layout, like=tokens, like_branches=branches, like_weight=float(likeness.weight))
    rows = {b: change if b in branches else torch.zeros_like(change) for b in layout.running}
    return layout, decoder.telling(layout.stack(rows, {}))


@torch.no_grad()
def record_clean(
    unet: nn.Module,
    sample: Tensor,
    timestep: Tensor | float,
    encoder_hidden_states: Tensor,
    *,
    pairs: Sequence[Pair],
    branches: Collection[int],
    num_guidance: int = 1,
    timestep_cond: Tensor | None = None,
) -> CleanCache:
    """Keys and values, per block, of held-clean branches that read nobody.

    The batch holds `branches` in increasing order, as in `joint_forward`; `timestep` is what CLEAN is told:
    the adapters' `clean_timestep`. `pairs` are those of the run. With `num_guidance=1` the cache serves
    every guidance half of later calls. Raises `ValueError` if one of the adapters was not trained for it
    (`reads_when_clean`) or mixes branches in its projection.
    """
    branches = sorted(branches)
    num_samples = _check_batch(sample, timestep, encoder_hidden_states, len(branches), num_guidance)
    configs = {name: adapter.config for name, adapter in grafted(unet).items()}
    check_pairs(pairs, {*branches, *(b for p in pairs for b in (p.image, p.condition))}, configs)
    pairs = [p for p in pairs if p.image in branches or p.condition in branches]
    for name in sorted({p.adapter for p in pairs}):
        _check_shortcut(name, configs[name])
    layout = recording_layout(pairs=pairs, branches=branches, num_guidance=num_guidance, like=sample)
    _call(unet, sample, timestep, encoder_hidden_states, layout, timestep_cond)
    return CleanCache(
        branches=tuple(branches),
        num_guidance=num_guidance,
        num_samples=num_samples,
        latent_size=(sample.shape[-2], sample.shape[-1]),
        blocks=_collect(unet),
    )


def _call(
    unet: nn.Module,
    sample: Tensor,
    timestep: Tensor | float,
    encoder_hidden_states: Tensor,
    layout: Layout | None,
    timestep_cond: Tensor | None,
) -> Tensor:
    return unet(
        sample,
        timestep,
        timestep_cond=timestep_cond,
        **told(unet, encoder_hidden_states, sample),
        cross_attention_kwargs=None if layout is None else {"joint": layout},
        return_dict=False,
    )[0]


@contextmanager
def _answering(unet: nn.Module, cache: CleanCache | None) -> Iterator[None]:
    # On the processors and not in the layout: a block compiled once for all must not depend on its own path.
    if cache is None:
        yield
        return
    processors = dict(joint_attentions(unet))
    for path, processor in processors.items():
        processor.cached = cache.blocks[path]
    try:
        yield
    finally:
        for processor in processors.values():
            processor.cached = {}


def _collect(unet: nn.Module) -> dict[str, dict[Key, Answer]]:
    blocks = {}
    for path, processor in joint_attentions(unet):
        blocks[path], processor.recorded = processor.recorded, {}
    return blocks


def _check_batch(
    sample: Tensor, timestep: Tensor | float, text: Tensor, num_running: int, num_guidance: int
) -> int:
    """The number of samples in a batch of (guidance, branch, sample)."""
    items = sample.shape[0]
    if num_guidance < 1 or num_running < 1:
        raise ValueError(
            f"got {num_guidance} guidance halves and {num_running} running branches: at least 1 of each"
        )
    if items % (num_guidance * num_running):
        raise ValueError(
            f"a batch of {items} items is no (guidance, branch, sample) view with {num_guidance} guidance "
            f"halves and {num_running} running branches: stack them in that order"
        )
    if text.shape[0] != items:
        raise ValueError(
            f"encoder_hidden_states has {text.shape[0]} items, the latents {items}: one prompt per item"
        )
    if isinstance(timestep, Tensor) and timestep.ndim and timestep.shape != (items,):
        raise ValueError(
            f"timestep has shape {tuple(timestep.shape)}: give one number, or one per item ({items},)"
        )
    return items // (num_guidance * num_running)


def _check_shortcut(name: str, config: AdapterConfig) -> None:
    if config.projection != "branch":
        raise ValueError(
            f"adapter {name!r} has a {config.projection!r} projection, which needs both branches in every "
            "step: run it two-way, without a cache (only 'branch' projections allow the held-clean shortcut)"
        )
    if config.reads_when_clean:
        raise ValueError(
            f"adapter {name!r} was trained with reads_when_clean=True, so its clean branch changes in every "
            "step: run it two-way, or train it with reads_when_clean=False"
        )


def _check_cache(
    cache: CleanCache,
    sample: Tensor,
    pairs: Sequence[Pair],
    num_branches: int,
    num_guidance: int,
    num_samples: int,
) -> None:
    size = (sample.shape[-2], sample.shape[-1])
    if cache.latent_size != size or cache.num_samples != num_samples:
        raise ValueError(
            f"the cache holds {cache.num_samples} samples of {cache.latent_size} latents, the call has "
            f"{num_samples} of {size}: record it again for this run"
        )
    if cache.num_guidance not in (1, num_guidance):
        raise ValueError(
            f"the cache holds {cache.num_guidance} guidance halves, the call {num_guidance}: record 1"
        )
    if outside := [b for b in cache.branches if b >= num_branches]:
        raise ValueError(f"the cache holds branch {outside[0]}, but there are only {num_branches} branches")
    recorded = {key for block in cache.blocks.values() for key in block}
    for pair in pairs:
        for branch in {pair.image, pair.condition} & set(cache.branches):
            if recorded and (branch, pair.adapter) not in recorded:
                raise ValueError(
                    f"{pair}: the cache has no branch {branch} under {pair.adapter!r}: record these pairs"
                )
