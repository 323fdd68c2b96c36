"""What makes a frozen base decode embeddings of pictures: of which tensors, and what do they compute?

The decoder of unCLIP (Ramesh et al. 2022, arXiv 2204.06125, section 2.1) is told an embedding z in two
places, as tokens beside the text and in its time embedding. So is the base here, and at the start neither
changes it: an attention of its own beside each text attention reads the tokens (as IP-Adapter does, Ye et al.
2023) through an output that starts at zero, and so does what is added to the time embedding. Tokens appended
to the text would not start as nothing: a zero key takes its share of the softmax.

z comes normalised, and may be noised; then its noise level is told beside it (as in Stable unCLIP).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn

from adapters.base import bare, check_base, geometry
from adapters.config import BaseGeometry, BlockGeometry, DecoderConfig
from adapters.joint import attend


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Likeness:
    """What branches are to look like in one call of the network."""

    z: Tensor
    """Embeddings as `DecoderAdapter.normalise` makes them, noised or not, (guidance, sample, width)."""
    noise_level: Tensor
    """Timestep of that noise, 0 where there is none, (guidance, sample)."""
    given: Tensor
    """Whether z is told; where not, the learnt embedding that stands for none is. Bool (guidance, sample)."""
    weight: float = 1.0
    """What the adapter adds is multiplied by it; 0 is the base."""
    branches: tuple[int, ...] = (0,)
    """Which branches are told."""


class CastLinear(nn.Linear):
    """Computes in its own format, answers in its input's: a float32 adapter on a half-precision base."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.to(self.weight.dtype)).to(input.dtype)


class DecoderBlock(nn.Module):
    """The attention to z in one transformer block; its queries are those of the frozen text attention."""

    def __init__(self, block: BlockGeometry, token_width: int, device: torch.device | None = None):
        super().__init__()
        self.key = CastLinear(token_width, block.inner, bias=False, device=device)
        self.value = CastLinear(token_width, block.inner, bias=False, device=device)
        self.out = CastLinear(block.inner, block.width, bias=False, device=device)

    def forward(self, attn: Attention, hidden: Tensor, tokens: Tensor) -> Tensor:
        """What a branch (guidance, sample, tokens, width) receives from z (guidance, sample, K, width)."""
        return self.out(attend(attn.to_q(hidden), self.key(tokens), self.value(tokens), attn.heads))


class DecoderAdapter(nn.Module):
    """One CLIP's embeddings for one base. Fresh, it changes nothing: every output starts at zero."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: DecoderConfig, device: torch.device | None = None):
        super().__init__()
        self.config = config
        width, told = config.clip.width, 2 * config.clip.width
        self.register_buffer("mean", torch.zeros(width, device=device))
        self.register_buffer("std", torch.ones(width, device=device))
        self.none = nn.Parameter(torch.zeros(width, device=device))
        self.tokens = CastLinear(told, config.num_tokens * config.token_width, device=device)
        self.norm = nn.LayerNorm(config.token_width, device=device)
        self.time = CastLinear(told, config.time_width, device=device)
        # Module names may not hold dots.
        self.blocks = nn.ModuleDict(
            {
                path.replace(".", "/"): DecoderBlock(block, config.token_width, device)
                for path, block in self.base.blocks.items()
                if block.context
            }
        )

    @classmethod
    def for_unet(cls, unet: nn.Module, config: DecoderConfig, *, seed: int = 0) -> DecoderAdapter:
        """A fresh float32 one on the UNet's device; the same seed gives the same tensors everywhere.

        Raises `ValueError` if the UNet has no text attention, or `config.base` is another base.
        """
        if config.base is not None:
            check_base(config.base, unet, "the decoder's config")
        found = geometry(unet)
        if not any(block.context for block in found.blocks.values()):
            raise ValueError("this UNet has no text attention, beside which a decoder adapter reads")
        config = replace(config, base=found, time_width=time_width(unet))
        adapter = cls(config, device=next(unet.parameters()).device)
        adapter.reset(seed)
        return adapter

    @property
    def base(self) -> BaseGeometry:
        """The geometry of the base it is for."""
        assert self.config.base is not None, "adapters are made by for_unet, or with a stored config"
        return self.config.base

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Draw everything anew (uniform, variance 1 / (3 width)); outputs and biases are zero."""
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in self.named_parameters():
            if name == "norm.weight":
                tensor.fill_(1.0)
            elif tensor.ndim == 1 or name == "time.weight" or name.endswith(".out.weight"):
                tensor.zero_()
            elif not tensor.is_meta:
                bound = tensor.shape[1] ** -0.5
                tensor.copy_(torch.empty(tensor.shape).uniform_(-bound, bound, generator=generator))

    def part(self, path: str) -> DecoderBlock | None:
        """Its part in the block at a path, if that reads text."""
        key = path.replace(".", "/")
        return cast(DecoderBlock, self.blocks[key]) if key in self.blocks else None

    def stored(self) -> Iterator[tuple[str, Tensor]]:
        """(name as stored, tensor): trained ones, and the statistics of the embeddings."""
        return ((_stored(name), tensor) for name, tensor in self.state_dict(keep_vars=True).items())

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Put these tensors, named as in `stored()`, in place of all, dtype and device too."""
        keys = {_stored(name): name for name in self.state_dict()}
        self.load_state_dict({keys[name]: tensor for name, tensor in tensors.items()}, assign=True)
        self.requires_grad_(True)

    @torch.no_grad()
    def set_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Mean and standard deviation (width,) of the embeddings it is trained on."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def normalise(self, z: Tensor) -> Tensor:
        """Embeddings (..., width) with mean 0 and deviation 1 over the training set, float32."""
        return (z.float() - self.mean.to(z.device, torch.float32)) / self.std.to(z.device, torch.float32)

    def forward(self, likeness: Likeness, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The tokens (guidance, sample, K, token width) and the change of the time embedding
        (guidance, sample, channels) that say what to look like."""
        given, level = likeness.given, likeness.noise_level
        z = torch.where(given[..., None], likeness.z, self.none.to(likeness.z.dtype))
        level = torch.where(given, level, 0)
        said = get_timestep_embedding(
            level.flatten(), z.shape[-1], flip_sin_to_cos=True, downscale_freq_shift=0
        )
        told = torch.cat([z, said.unflatten(0, level.shape).to(z)], dim=-1).to(dtype)
        tokens = self.tokens(told).unflatten(-1, (self.config.num_tokens, self.config.token_width))
        return self.norm(tokens.to(self.norm.weight.dtype)).to(dtype), self.time(told) * likeness.weight


def _stored(name: str) -> str:
    return name.removeprefix("blocks.").replace("/", ".")


def time_width(unet: nn.Module) -> int:
    """Channels of a UNet's time embedding."""
    return cast(Any, bare(unet)).time_embedding.linear_2.out_features


def check_decoder_base(config: DecoderConfig, unet: nn.Module, source: str) -> None:
    """Raise `ValueError` saying what differs unless `unet` is the base `source` was built for."""
    assert config.base is not None, "adapters are made by for_unet, or with a stored config"
    check_base(config.base, unet, source)
    if (here := time_width(unet)) != config.time_width:
        raise ValueError(
            f"{source} was built for another base: its time embedding has {config.time_width} channels, this "
            f"base's {here}. Load it on the base family it was trained on, or train one for this base"
        )
