"""How are all variants of all branches asked of the UNet in one call?

The seam between `unicon.sampling`, which knows levels and estimates, and `adapters`, which knows one stacked
batch (guidance, branch, sample). Here prompts become rows, variants become guidance halves, clean branches
become a cache, and outputs become clean estimates. Parameterisations and dtypes change nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor

from adapters import AdapterConfig, CleanCache, Pair, joint_forward, record_clean
from unicon.branch import IMAGE
from unicon.call.likeness import Told
from unicon.call.request import Request
from unicon.sampling.guidance import Variant
from unicon.sampling.levels import Levels, Prediction, clean_estimate
from unicon.sampling.plans import span

HeldClean = Literal["auto", "shortcut", "two_way"]


@dataclass(kw_only=True, slots=True, eq=False)
class BranchNetwork:
    """The UNet as `unicon.sampling` wants it: `evaluate(x, levels, variants)`."""

    unet: UNet2DConditionModel
    prediction: Prediction
    pairs: Sequence[Pair]
    prompts: Tensor
    """Text embeddings (2, branch, sample, tokens, width): unprompted first, then prompted. In the UNet's
    number format."""
    reads_when_clean: Collection[str] = ()
    """Adapters whose CLEAN branches go on reading; those of all others read nothing."""
    clean_timesteps: Mapping[int, int] = field(default_factory=dict)
    """What the UNet is told about each branch while it is CLEAN, if not 0."""
    shortcut: bool = False
    """Compute a branch once when it is CLEAN, and answer from a cache as long as it stays there."""
    told: Told | None = None
    """What the image is to look like."""
    scales: Tensor | None = None
    """(branch, width) each branch's guidance, where the UNet is told it."""
    styled: bool = True
    """Whether the image is one that is drawn, which styles are for."""
    cache: CleanCache | None = field(default=None, init=False)
    cached_variants: Sequence[Variant] | None = field(default=None, init=False)
    """Those that the cache is for; None: all alike."""
    _clean_told: dict[tuple[int, ...], Tensor] = field(default_factory=dict, init=False)
    """By branches what the UNet is told of each while it is CLEAN, where the levels are."""

    def evaluate(self, x: Tensor, levels: Levels, variants: Sequence[Variant]) -> Tensor:
        """Clean estimates [variant, branch, sample, C, H, W] of x [branch, sample, C, H, W], one level per
        branch; cached branches answer with themselves."""
        clean = [index for index, is_clean in enumerate(levels.on_host.is_clean.tolist()) if is_clean]
        cached = clean if self.shortcut else []
        running = [b for b in range(len(x)) if b not in cached]
        at = span(running)
        out = joint_forward(
            self.unet,
            x[at].flatten(0, 1).to(self.prompts.dtype).repeat(len(variants), 1, 1, 1),
            self._told(levels, running).repeat_interleave(x.shape[1]).repeat(len(variants)),
            self._texts(variants, running),
            pairs=self._pairs(clean, variants, x.shape[1]),
            num_branches=len(x),
            num_guidance=len(variants),
            cache=self._cache(x, levels, cached, variants),
            lora_branches=(0,) if self.styled and 0 not in clean else (),
            likeness=None if self.told is None else self.told.likeness(variants, running, clean),
            timestep_cond=self._scales(running, x.shape[1], len(variants)),
        ).unflatten(0, (len(variants), len(running), -1))
        answers = [clean_estimate(o, x[at], levels[at], self.prediction).to(x.dtype) for o in out]
        estimates = x.expand(len(variants), *x.shape).clone()
        estimates[:, at] = torch.stack(answers)
        return estimates

    def forget(self) -> None:
        """Drop the cache: a latent it was made from has changed."""
        self.cache = None

    def _cache(
        self, x: Tensor, levels: Levels, cached: list[int], variants: Sequence[Variant]
    ) -> CleanCache | None:
        """Keys and values of the clean branches, recorded when they become clean."""
        if not cached:
            return None
        fits = self.cached_variants is None or self.cached_variants == tuple(variants)
        if self.cache is None or self.cache.branches != tuple(cached) or not fits:
            # One half serves all, unless a clean branch has an unprompted half of its own.
            same = torch.equal(*self.prompts[:, span(cached)])
            halves = [Variant()] if same else variants
            self.cached_variants = None if same else tuple(variants)
            self.cache = record_clean(
                self.unet,
                x[span(cached)].flatten(0, 1).to(self.prompts.dtype).repeat(len(halves), 1, 1, 1),
                self._told(levels, cached).repeat_interleave(x.shape[1]).repeat(len(halves)),
                self._texts(halves, cached),
                pairs=self.pairs,
                branches=cached,
                num_guidance=len(halves),
                timestep_cond=self._scales(cached, x.shape[1], len(halves)),
            )
        return self.cache

    def _told(self, levels: Levels, branches: list[int]) -> Tensor:
        """The timestep of each of these branches, float32."""
        told = tuple(branches)
        if told not in self._clean_told:  # brought to the device once
            clean = torch.tensor([float(self.clean_timesteps.get(b, 0)) for b in branches])
            self._clean_told[told] = clean.to(levels.timestep)
        return levels[span(branches)].told(self._clean_told[told]).float()

    def _scales(self, branches: list[int], num_samples: int, num_guidance: int) -> Tensor | None:
        if self.scales is None:
            return None
        return self.scales[span(branches)].repeat_interleave(num_samples, 0).repeat(num_guidance, 1)

    def _texts(self, variants: Sequence[Variant], branches: list[int]) -> Tensor:
        return torch.cat([self.prompts[int(v.text), span(branches)].flatten(0, 1) for v in variants])

    def _pairs(self, clean: list[int], variants: Sequence[Variant], num_samples: int) -> list[Pair]:
        """The pairs, without reads of clean branches and in guidance halves that ask each branch alone."""
        # Filled where it is needed: a list would be brought to the device in every step.
        halves = [
            self.prompts.new_full((1, num_samples), float(v.joint), dtype=torch.float32) for v in variants
        ]
        joint = torch.cat(halves)

        def reads(pair: Pair, branch: int, weight: float | Tensor) -> float | Tensor:
            if branch in clean and pair.adapter not in self.reads_when_clean:
                return 0.0
            return weight if all(v.joint for v in variants) or _is_zero(weight) else joint * weight

        return [
            replace(
                p,
                image_weight=reads(p, p.image, p.image_weight),
                condition_weight=reads(p, p.condition, p.condition_weight),
            )
            for p in self.pairs
        ]


def _is_zero(weight: float | Tensor) -> bool:
    return not isinstance(weight, Tensor) and weight == 0.0


def is_told_guidance(unet: UNet2DConditionModel) -> bool:
    """Whether its guidance scale is an input of the UNet, as in latent consistency models."""
    return unet.config["time_cond_proj_dim"] is not None


def _told_scales(unet: UNet2DConditionModel, request: Request) -> Tensor:
    """(branch, width), as such UNets know them (Luo et al. 2023, section 4.1)."""
    scales = torch.tensor(request.moving_scales) - 1  # where 0 is off
    # Sines before cosines of 1000 times the scale.
    embedding = get_timestep_embedding(
        1000 * scales, unet.config["time_cond_proj_dim"], downscale_freq_shift=1
    )
    return embedding.to(unet.dtype)


def branch_network(
    unet: UNet2DConditionModel,
    prediction: Prediction,
    request: Request,
    configs: Mapping[str, AdapterConfig],
    prompts: Tensor,
    held_clean: HeldClean,
    told: Told | None = None,
    *,
    styled: bool = True,
) -> BranchNetwork:
    """The network of a call, its image paired with every condition.

    Raises ValueError for a shortcut that an adapter does not allow, and for adapters that do not agree on
    what a clean image is told.
    """
    configs = {name: configs[name] for name in request.branches if name != IMAGE}
    pairs = [
        Pair(
            image=0,
            condition=index,
            adapter=name,
            image_weight=float(request.branches[name].weight),
            condition_weight=float(request.branches[name].reads),
        )
        for index, name in enumerate(configs, start=1)
    ]
    return BranchNetwork(
        unet=unet,
        prediction=prediction,
        pairs=pairs,
        prompts=prompts.to(unet.dtype),
        clean_timesteps=_clean_timesteps(request, configs),
        reads_when_clean=[name for name, config in configs.items() if config.reads_when_clean],
        shortcut=_shortcut(held_clean, [n for n, config in configs.items() if not config.allows_shortcut]),
        told=told,
        styled=styled,
        scales=_told_scales(unet, request).to(prompts.device) if is_told_guidance(unet) else None,
    )


def _clean_timesteps(request: Request, configs: Mapping[str, AdapterConfig]) -> dict[int, int]:
    """What each branch is told while it is CLEAN; the image what all its adapters were trained with."""
    wanted = {name: config.clean_timestep for name, config in configs.items()}
    if len(set(wanted.values())) > 1 and request.plans[IMAGE].is_given_clean:
        raise ValueError(
            f"the image is given clean, and its adapters were trained with different clean_timestep: {wanted}"
            "; use them in separate calls"
        )
    return dict(enumerate([max(wanted.values(), default=0), *wanted.values()]))


def _shortcut(held_clean: HeldClean, refusing: Sequence[str]) -> bool:
    """Whether clean branches are computed once."""
    if held_clean not in ("auto", "shortcut", "two_way"):
        raise ValueError(f"held_clean is {held_clean!r}; choose auto, shortcut or two_way")
    if held_clean == "shortcut" and refusing:
        raise ValueError(
            f"held_clean='shortcut', but adapter {refusing[0]!r} reads both ways in every step (its config "
            "has reads_when_clean or a fused or shared projection, as published adapters do); use "
            "'two_way' or 'auto'"
        )
    return held_clean != "two_way" and not refusing
