"""What is an embedding of a picture or a text, and which CLIP made it?

An embedding z is a unit vector, float32: the projected output of a CLIP encoder (Radford et al. 2021) divided
by its length. Those of two CLIPs mean different things, so what is trained on one's refuses the other's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from adapters import ClipIdentity
from unicon.pictures import resize
from unicon.sampling.levels import Schedule

NOISE = Schedule.from_scheduler({"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"})
"""The cosine schedule on which embeddings are noised, in priors and decoders (Ramesh et al. 2022, appendix
C)."""

NAMES = {
    (768, 12, 32): "ViT-B/32",
    (768, 12, 16): "ViT-B/16",
    (1024, 24, 14): "ViT-L/14",
    (1280, 32, 14): "ViT-H/14",
    (1408, 40, 14): "ViT-g/14",
    (1664, 48, 14): "ViT-bigG/14",
}
"""Image encoders by width, layers and patch size, as their authors call them."""

UNIT_TOLERANCE = 0.01
"""How far an embedding's length may be from 1: half precision is far better than that."""

CHUNK = 64
"""Pictures that go through the image encoder at once."""

_SHOWN_WEIGHTS = 8
_SAME = 0.02
"""By how much two copies of one CLIP may differ in a weight, relatively: they may be stored in bfloat16."""


def identity(image_encoder: CLIPVisionModelWithProjection) -> ClipIdentity:
    """Which CLIP this is. Where its weights are offloaded, by its geometry alone."""
    config: Any = image_encoder.config
    width, layers, patch = geometry = (config.hidden_size, config.num_hidden_layers, config.patch_size)
    weight = image_encoder.visual_projection.weight
    shown = () if weight.is_meta else tuple(weight.detach().flatten()[:_SHOWN_WEIGHTS].float().tolist())
    return ClipIdentity(
        name=NAMES.get(geometry, f"ViT-{width}x{layers}/{patch}"),
        width=config.projection_dim,
        weights=tuple(round(value, 6) for value in shown),
    )


def check_same_clip(expected: ClipIdentity, found: ClipIdentity, who: str) -> None:
    """ValueError unless `found`, the base's CLIP, is the one that `who` was trained with."""
    remedy = "load what was trained with this CLIP, or the image encoder it was trained with"
    if (expected.name, expected.width) != (found.name, found.width):
        raise ValueError(
            f"{who} was trained with {expected.name} ({expected.width} wide), the base's image encoder is "
            f"{found.name} ({found.width} wide): {remedy}"
        )
    pairs = list(zip(expected.weights, found.weights, strict=False))
    largest = max((abs(a) for a, _ in pairs), default=0.0)
    if any(abs(a - b) > _SAME * max(abs(a), 0.1 * largest) for a, b in pairs):
        raise ValueError(
            f"{who} was trained with another {expected.name} than the base's image encoder, one with other "
            f"weights: {remedy}"
        )


def check_unit(z: Tensor, width: int, name: str) -> Tensor:
    """Embeddings (n, width) as they are given, float32; (width,) is one.

    Raises ValueError naming `name` for another width, NaN, and lengths other than 1.
    """
    rows = z[None] if z.ndim == 1 else z
    if rows.ndim != 2 or rows.shape[-1] != width or not len(rows):
        raise ValueError(
            f"{name}: embeddings have shape {tuple(z.shape)}; expected (n, {width}), those of the CLIP in use"
        )
    rows = rows.detach().float()
    if not bool(rows.isfinite().all()):
        raise ValueError(f"{name}: embeddings hold NaN or infinity; encode the pictures again")
    lengths = rows.norm(dim=-1)
    if float((lengths - 1).abs().max()) > UNIT_TOLERANCE:
        raise ValueError(
            f"{name}: embeddings have lengths from {float(lengths.min()):.3g} to {float(lengths.max()):.3g}; "
            "divide each by its length: z / z.norm(dim=-1, keepdim=True)"
        )
    return rows


@torch.no_grad()
def embed_pictures(
    image_encoder: CLIPVisionModelWithProjection,
    feature_extractor: Any,
    pictures: Tensor | Sequence[Tensor],
    device: torch.device | None = None,
) -> Tensor:
    """Embeddings (n, width) of pictures (n, 3, H, W) in [0, 1], or of several such in sizes of their own, of
    the length the encoder gives them.

    The shorter side is resized to the encoder's, the middle is cropped. Means and deviations are those of
    `feature_extractor`, or 0.5 without one, as in the mini family.
    """
    config: Any = image_encoder.config
    device = device or image_encoder.device
    several = [pictures] if isinstance(pictures, Tensor) else pictures
    seen = torch.cat([_middle(each.to(device), config.image_size) for each in several])
    mean = getattr(feature_extractor, "image_mean", None) or [0.5] * 3
    std = getattr(feature_extractor, "image_std", None) or [0.5] * 3
    seen = (seen - seen.new_tensor(mean)[:, None, None]) / seen.new_tensor(std)[:, None, None]
    seen = seen.to(image_encoder.dtype).split(CHUNK)
    return torch.cat([image_encoder(part).image_embeds.float() for part in seen])


def _middle(pictures: Tensor, side: int) -> Tensor:
    height, width = pictures.shape[-2:]
    scale = side / min(height, width)
    seen = resize(pictures, max(side, round(height * scale)), max(side, round(width * scale)))
    top, left = (seen.shape[-2] - side) // 2, (seen.shape[-1] - side) // 2
    return seen[..., top : top + side, left : left + side]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextEmbeddings:
    """What a CLIP's text encoder says about captions."""

    projected: Tensor
    """Embeddings (n, width) of the length the encoder gives them, which is how priors are told them."""
    tokens: Tensor
    """The encoded text (n, tokens, width), in the width of embeddings."""
    mask: Tensor
    """Which tokens are the caption's own, bool (n, tokens)."""

    @property
    def z(self) -> Tensor:
        """Embeddings as unit vectors."""
        return F.normalize(self.projected.float(), dim=-1)

    def __getitem__(self, rows: Any) -> TextEmbeddings:
        return TextEmbeddings(projected=self.projected[rows], tokens=self.tokens[rows], mask=self.mask[rows])

    def to(self, device: torch.device) -> TextEmbeddings:
        return TextEmbeddings(
            projected=self.projected.to(device), tokens=self.tokens.to(device), mask=self.mask.to(device)
        )


@torch.no_grad()
def embed_texts(
    text_encoder: Any, tokenizer: Any, texts: Sequence[str], device: torch.device | None = None
) -> TextEmbeddings:
    """Embeddings of texts; one longer than the tokenizer takes is cut.

    Raises ValueError for a text encoder without a projection, whose states lie in no space with pictures.
    """
    projection = getattr(text_encoder, "text_projection", None)
    if not isinstance(projection, nn.Module):
        raise ValueError(
            f"a {type(text_encoder).__name__} has no projection into the space of CLIP's pictures; give a "
            "CLIPTextModelWithProjection"
        )
    encoded = tokenizer(
        list(texts),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    )
    device = device or text_encoder.device
    mask, out = encoded.attention_mask.to(device), text_encoder(encoded.input_ids.to(device))
    states = out.last_hidden_state
    # CLIPs that are published are as wide inside as outside, and priors read their states as they are.
    tokens = states if states.shape[-1] == out.text_embeds.shape[-1] else projection(states)
    return TextEmbeddings(projected=out.text_embeds.float(), tokens=tokens.float(), mask=mask.bool())


def principal(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (width,), directions (k, width) and deviations (k,) of embeddings (n, width), largest first."""
    mean = z.float().mean(0)
    _, sizes, directions = torch.linalg.svd(z.float() - mean, full_matrices=False)
    std = sizes / max(len(z) - 1, 1) ** 0.5
    real = std > 1e-6 * std.max().clamp(min=1e-12)
    return mean, directions[real], std[real]


def slerp(a: Tensor, b: Tensor, share: float | Tensor) -> Tensor:
    """Spherical interpolation along the last dimension, lengths interpolated linearly.

    `share` 0 is `a` and 1 is `b`, both exactly (Shoemake 1985; Ramesh et al. 2022, section 3.2). A tensor's
    shape broadcasts against `a` without its last dimension. Opposite vectors have no way between them, and
    nearly equal ones are interpolated in a line.
    """
    t = torch.as_tensor(share, dtype=a.dtype, device=a.device)[..., None]
    lengths = a.norm(dim=-1, keepdim=True), b.norm(dim=-1, keepdim=True)
    u, v = a / lengths[0], b / lengths[1]
    angle = (u * v).sum(-1, keepdim=True).clamp(-1, 1).acos()
    if bool((math.pi - angle < 1e-3).any()):
        raise ValueError("slerp between opposite vectors has no direction: give others")
    sine = angle.sin()
    near = sine < 1e-6
    first = torch.where(near, 1 - t, ((1 - t) * angle).sin() / sine.clamp(min=1e-6))
    second = torch.where(near, t, (t * angle).sin() / sine.clamp(min=1e-6))
    between = (first * u + second * v) * torch.lerp(*lengths, t)
    return torch.where(t == 0, a, torch.where(t == 1, b, between))
