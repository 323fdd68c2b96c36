"""What is the image of a call to look like, and how is the network told?

As an embedding of a picture (`unicon.embeddings`), decoded by the decoder adapter. It may be noised first:
the noisier it is, the less of it has to be kept. Its noise belongs to a sample, as all noise does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from adapters import DecoderAdapter, Likeness
from unicon.branch import IMAGE
from unicon.call.request import Request
from unicon.embeddings import NOISE, check_unit
from unicon.pictures import as_pictures
from unicon.prior import PriorSettings
from unicon.prior_ar import ArPriorSettings
from unicon.ranges import FINITE, Range
from unicon.sampling.guidance import Variant
from unicon.sampling.levels import add_noise
from unicon.sampling.loop import Noise
from unicon.sampling.noise import INITIAL

LIKE = "like"
"""Whose noise it is: no branch may be called so, since it is a parameter of the call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LikeSettings:
    """How a call follows what it is to look like."""

    scale: float = 1.0
    guidance_scale: float = 1.0
    noise_level: int = 0

    def __post_init__(self) -> None:
        FINITE.check("like_scale", self.scale)
        FINITE.check("like_guidance_scale", self.guidance_scale)
        levels = Range(least=0, most=NOISE.last_timestep, whole=True, hint="0 is none")
        levels.check("like_noise_level", self.noise_level)
        if self.scale == 0 and self.guidance_scale != 1:
            raise ValueError(
                f"like_guidance_scale={self.guidance_scale} has no effect at like_scale=0, which switches "
                "the decoder adapter off; leave one out"
            )


def check_like(
    wanted: bool,
    settings: LikeSettings,
    decoder: DecoderAdapter | None,
    request: Request,
    *,
    nothing: bool = False,
) -> None:
    """ValueError where there is nothing to decode, nothing to decode it with, or nothing it would change.

    `nothing`: that like=False asks for the decoder adapter, told nothing.
    """
    if nothing and (settings.guidance_scale != 1 or settings.noise_level):
        raise ValueError(f"{settings} of a call with like=False, which tells nothing: leave them out")
    if not wanted:
        if settings != LikeSettings():
            raise ValueError(f"{settings} of a call without like: give like=picture, or leave them out")
        return
    if decoder is None:
        raise ValueError("like needs a decoder adapter, and none is loaded: pipe.load_decoder(folder)")
    if not request.plans[IMAGE].moves:
        raise ValueError(
            "like says what the image looks like, but the image is given and held; leave one out"
        )


def read_prior(
    prior: bool | PriorSettings | ArPriorSettings, like: Any, prompt_embeds: Tensor | None
) -> bool | PriorSettings | ArPriorSettings:
    """How a prior is asked, if one is; ValueError where it would contradict what is given."""
    if prior is False:
        return False
    if not isinstance(prior, (bool, PriorSettings, ArPriorSettings)):
        raise ValueError(
            f"prior is a {type(prior).__name__}; give True, PriorSettings(...) or ArPriorSettings(...)"
        )
    if like is not None:
        raise ValueError("prior and like both say what the image looks like; keep one")
    if prompt_embeds is not None:
        raise ValueError(
            "prior reads prompts, and prompt_embeds stand in their place: give the prompt itself"
        )
    return prior


def read_like(like: Any, width: int, embed: Callable[[Sequence[Tensor]], Tensor]) -> Tensor:
    """Embeddings (n, width) of what a call is given.

    Either they themselves, as tensors or arrays of one or two dimensions, or pictures of any sizes, which
    `embed` takes as a list of (n, 3, H, W).
    """
    if isinstance(like, np.ndarray) and like.ndim <= 2:
        like = torch.from_numpy(like)
    if isinstance(like, Tensor) and like.ndim <= 2:
        return check_unit(like, width, LIKE)
    values = like if isinstance(like, Sequence) and not isinstance(like, str) else [like]
    pictures = [as_pictures(value, LIKE) for value in values]
    if not pictures:
        raise ValueError("like is an empty list; give at least one picture, or leave it out")
    return F.normalize(embed(pictures), dim=-1)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Told:
    """What the network is told, for every sample."""

    z: Tensor
    """Normalised and noised, (sample, width)."""
    settings: LikeSettings
    on_conditions: bool
    """Whether condition branches are told, too."""
    anything: bool = True
    """Whether there is something to tell; otherwise what stands for nothing told is."""

    @classmethod
    def nothing(
        cls, num_samples: int, settings: LikeSettings, decoder: DecoderAdapter, device: torch.device
    ) -> Told:
        """That the decoder adapter is there, and nothing is known of the picture."""
        z = torch.zeros(num_samples, decoder.config.clip.width, device=device)
        return cls(z=z, settings=settings, on_conditions=decoder.config.on_conditions, anything=False)

    @classmethod
    def of(cls, z: Tensor, settings: LikeSettings, decoder: DecoderAdapter, noise: Noise) -> Told:
        """Of embeddings (sample, width), noised on their own where that is wanted."""
        z = decoder.normalise(z)
        if settings.noise_level:
            level = NOISE.at_timestep(torch.full((len(z),), float(settings.noise_level)))
            z = add_noise(z, noise.draw(LIKE, INITIAL, z.shape[1:]).to(z), level)
        return cls(z=z, settings=settings, on_conditions=decoder.config.on_conditions)

    def likeness(
        self, variants: Sequence[Variant], running: Sequence[int], clean: Sequence[int]
    ) -> Likeness | None:
        """For one call of the network. A CLEAN branch has nothing to decode, and is told nothing."""
        branches = tuple(b for b in running if b not in clean and (b == 0 or self.on_conditions))
        if not branches:
            return None
        shape = (len(variants), len(self.z))
        # Filled on the device: a list would be brought to it in every step.
        given = [
            torch.full((1, len(self.z)), v.like and self.anything, device=self.z.device) for v in variants
        ]
        return Likeness(
            z=self.z.expand(*shape, -1),
            noise_level=torch.full(shape, float(self.settings.noise_level), device=self.z.device),
            given=torch.cat(given),
            weight=self.settings.scale,
            branches=branches,
        )
