"""How do several answers of the network become one clean estimate?

A denoiser is a function (x, levels) -> clean estimate, both [branch, sample, C, H, W]. Guidance asks for
several *variants* of it at once and combines them, so whoever owns the network (the pipeline) can stack all
variants into one call: it provides `evaluate(x, levels, variants) -> [variant, branch, sample, C, H, W]`,
and gets a denoiser back.

Formulas combine clean estimates. Their weights sum to 1 and clean = (x - sigma * noise) / alpha, so at one
x and level combining noise estimates, as usually written, gives the same result; clean estimates stay
finite at zero SNR. What a variant means for prompts and attention is the pipeline's business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from unicon.sampling.levels import Levels, spread
from unicon.sampling.plans import Known

Denoiser = Callable[[Tensor, Levels], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to ask the network."""

    text: bool = True
    """With the prompt; otherwise with the negative or empty one."""
    joint: bool = True
    """With joint attention between branches; otherwise each branch on its own."""
    like: bool = True
    """With what it is to look like, if that is told; otherwise with what stands for nothing told."""


CONDITIONED = Variant()
UNCONDITIONED = Variant(text=False)
SEPARATE = Variant(joint=False)
UNLIKE = Variant(like=False)

Evaluate = Callable[[Tensor, Levels, Sequence[Variant]], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class Guidance:
    """Guidance scales, one per branch; a single number is for all of them."""

    text: float | tuple[float, ...] = 1.0
    """Classifier-free guidance s (Ho & Salimans 2022, in the convention where 1 is off)."""
    condition: float | tuple[float, ...] = 0.0
    """Condition guidance s_c, along joint minus separate; 0 is off."""
    like: float | tuple[float, ...] = 1.0
    """Guidance by what it is to look like, along told minus not told, both with the prompt; 1 is off."""
    rescale: float = 0.0
    """Share phi, 0 to 1, by which the guided estimate gets back the deviation of the prompted one (Lin et
    al. 2023, section 3.4), measured on clean estimates, where over-exposure shows (diffusers: on network
    outputs)."""
    log_snr: tuple[float, float] = (-math.inf, math.inf)
    """Lowest and highest level at which a branch is guided, both included; beyond them all its scales are off
    (Kynkäänniemi et al. 2024, arXiv 2404.07724). So they are where it is CLEAN: there is nothing to guide."""

    def __post_init__(self) -> None:
        if not 0 <= self.rescale <= 1:
            raise ValueError(f"guidance rescale must be from 0 to 1, got {self.rescale}")

    @property
    def variants(self) -> tuple[Variant, ...]:
        """What has to be asked, in the order `combine` expects; a scale that is off asks for nothing."""
        text = (UNCONDITIONED,) if any(scale != 1 for scale in _each(self.text)) else ()
        separate = (SEPARATE,) if any(scale != 0 for scale in _each(self.condition)) else ()
        unlike = (UNLIKE,) if any(scale != 1 for scale in _each(self.like)) else ()
        return (*text, CONDITIONED, *separate, *unlike)

    def combine(self, estimates: Tensor) -> Tensor:
        """[variant, branch, sample, ...] clean estimates, in the order of `variants`, into one."""
        answers = dict(zip(self.variants, estimates, strict=True))
        prompted = guided = answers[CONDITIONED]
        if UNCONDITIONED in answers:
            guided = text_guidance(prompted, answers[UNCONDITIONED], self._scale(self.text, guided))
        if SEPARATE in answers:
            guided = guided + self._scale(self.condition, guided) * (prompted - answers[SEPARATE])
        if UNLIKE in answers:
            guided = guided + (self._scale(self.like, guided) - 1) * (prompted - answers[UNLIKE])
        if not self.rescale or len(answers) == 1:
            return guided
        return rescale_deviation(guided, prompted, self.rescale)

    def __call__(self, evaluate: Evaluate) -> Denoiser:
        """The guided denoiser: one `evaluate` per call."""

        def denoise(x: Tensor, levels: Levels) -> Tensor:
            scales = self._at(levels)
            return scales.combine(evaluate(x, levels, scales.variants))

        return denoise

    def _at(self, levels: Levels) -> Guidance:
        """The scales that hold at one level per branch."""
        low, high = self.log_snr
        guided = [low <= level <= high and level != math.inf for level in levels.on_host.log_snr.tolist()]
        if all(guided):
            return self

        def where(scale: float | tuple[float, ...], off: float) -> tuple[float, ...]:
            values = _each(scale)
            values = values * len(guided) if len(values) == 1 else values
            return tuple(v if g else off for v, g in zip(values, guided, strict=True))

        return replace(
            self, text=where(self.text, 1.0), condition=where(self.condition, 0.0), like=where(self.like, 1.0)
        )

    def _scale(self, scale: float | tuple[float, ...], estimates: Tensor) -> Tensor | float:
        values, branches = _each(scale), len(estimates)
        if len(values) not in (1, branches):
            raise ValueError(
                f"got {len(values)} guidance scales for {branches} branches; give one, or one per branch"
            )
        if len(set(values)) == 1:
            return values[0]
        return _per_branch(values, estimates.ndim, estimates.device, estimates.dtype)


@lru_cache(maxsize=16)
def _per_branch(values: tuple[float, ...], num_dims: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """One number per branch, as [branch, 1, 1, ...]; brought to the device once."""
    with torch.inference_mode(False):  # a later call may need gradients through it
        scales = torch.tensor(values, dtype=torch.float64).to(device, dtype)
        return scales.reshape(-1, *[1] * (num_dims - 1))


def text_guidance(prompted: Tensor, unprompted: Tensor, scale: Tensor | float) -> Tensor:
    """unprompted + scale * (prompted - unprompted); scale 1 returns `prompted` bitwise."""
    return prompted + (scale - 1) * (prompted - unprompted)


def rescale_deviation(guided: Tensor, prompted: Tensor, share: float) -> Tensor:
    """Pull each picture's standard deviation towards that of `prompted`. [branch, sample, ...] in and out."""
    axes = tuple(range(2, guided.ndim))
    ratio = prompted.std(axes, keepdim=True) / guided.std(axes, keepdim=True)
    return guided * (share * ratio + (1 - share))


def reconstruct(denoise: Denoiser, known: Mapping[int, Known]) -> Denoiser:
    """Pull all branches towards explaining known parts (Ho et al. 2022, eq. 7); the known parts come out as
    given.

    clean - weight * alpha / 2 * d |known - estimate of it|^2 / dx, by a backward pass through `denoise`,
    which must therefore not run under `torch.inference_mode` (`no_grad` is fine).
    """

    def denoise_known(x: Tensor, levels: Levels) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            clean = denoise(x, levels)
            gaps = [part.weight**0.5 * (part.keep(clean[i]) - clean[i]) for i, part in known.items()]
            (slope,) = torch.autograd.grad(torch.stack(gaps).square().sum(), x)
        pulled = clean.detach() - spread(levels.alpha, x) / 2 * slope
        for i, part in known.items():
            pulled[i] = part.keep(pulled[i])
        return pulled

    return denoise_known


def _each(scale: float | tuple[float, ...]) -> tuple[float, ...]:
    return (scale,) if isinstance(scale, (int, float)) else tuple(scale)
