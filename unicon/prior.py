"""How does a text become the embedding of a picture that it could describe?

The diffusion prior of unCLIP (Ramesh et al. 2022, section 2.2), diffusers' `PriorTransformer`: a causal
transformer over [encoded text, text embedding, timestep, noised z, query], whose last output is z itself. It
works on normalised embeddings, with the mean and deviation in its own weights. Sampling is `unicon.sampling`;
of several candidates the one nearest to the text is kept. Guidance is off by default: it hurt in the paper,
and a prior that is guided strays from the embeddings that pictures have.

Two traps of the class: without an attention mask it is not causal, and a fresh one turns everything to zeros.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import PriorTransformer
from torch import Tensor

from adapters import ClipIdentity
from adapters.decoder_store import read_clip
from adapters.files import write_whole
from unicon.embeddings import NOISE, TextEmbeddings
from unicon.ranges import AT_LEAST_1, FINITE, SHARE
from unicon.sampling.grids import Spacing
from unicon.sampling.guidance import Guidance, Variant
from unicon.sampling.levels import Levels
from unicon.sampling.loop import Noise, sample, start
from unicon.sampling.plans import Plan, run
from unicon.sampling.solvers import Solver

PRIOR = "prior"
"""Whose noise it is."""
CLIP_FILE = "embedding.json"
"""Beside the weights of a prior: whose embeddings they are."""
_GUIDANCE_SCALE = replace(FINITE, hint="1 is off")
_ETA = replace(SHARE, hint="0 is DDIM, 1 as published")


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorSettings:
    """How embeddings are sampled."""

    num_inference_steps: int = 25
    n_best: int = 2
    """Candidates of each sample, of which the nearest to the text is kept."""
    guidance_scale: float = 1.0
    """By the text; 1 is off."""
    eta: float = 1.0
    """Share of fresh noise, 0 (DDIM) to 1 (as published)."""

    def __post_init__(self) -> None:
        AT_LEAST_1.check_fields(self, "num_inference_steps", "n_best")
        _GUIDANCE_SCALE.check_fields(self, "guidance_scale")
        _ETA.check_fields(self, "eta")


@torch.no_grad()
def sample_prior(
    prior: PriorTransformer,
    texts: TextEmbeddings,
    bare: TextEmbeddings,
    noise: Noise,
    settings: PriorSettings | None = None,
) -> Tensor:
    """Embeddings (n, width), unit vectors, one for each of `texts`; `bare` is the empty text, for guidance.

    Raises ValueError for a prior whose statistics were never set.
    """
    settings = settings or PriorSettings()
    check_statistics(prior)
    trajectory = Plan((run(PRIOR),)).resolve(Spacing().grid(NOISE, settings.num_inference_steps))
    shape = (len(texts.z), settings.n_best, width_of(prior))
    guided = Guidance(text=settings.guidance_scale)(_Candidates(prior, texts, bare).evaluate)
    solver = Solver(name="ddim", eta=settings.eta)
    x = start(trajectory, {}, noise, shape, device=texts.z.device)
    x = sample(guided, x, trajectory, solver, noise)[0]
    return best_of(embeddings_of(prior, x), texts.z)


def best_of(candidates: Tensor, z_text: Tensor) -> Tensor:
    """Of candidates (n, m, width) the one nearest to each text's embedding (n, width)."""
    nearest = (candidates * z_text[:, None]).sum(-1).argmax(1)
    return candidates[torch.arange(len(candidates), device=candidates.device), nearest]


def embeddings_of(prior: PriorTransformer, x: Tensor) -> Tensor:
    """What a prior works on (..., width) as unit vectors."""
    mean, std = (t.to(x.device, torch.float32)[0] for t in (prior.clip_mean, prior.clip_std))
    return F.normalize(x.float() * std + mean, dim=-1)


def predict(prior: PriorTransformer, x: Tensor, timestep: Tensor, texts: TextEmbeddings) -> Tensor:
    """The prior's estimate of clean, normalised embeddings from noised ones (n, width); always causal."""
    return prior(
        hidden_states=x.to(prior.dtype),
        timestep=timestep,
        proj_embedding=texts.projected.to(prior.dtype),
        encoder_hidden_states=texts.tokens.to(prior.dtype),
        attention_mask=texts.mask,
        return_dict=False,
    )[0].to(x.dtype)


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The prior as `unicon.sampling` wants it, on one branch of (sample, candidate)."""

    prior: PriorTransformer
    texts: TextEmbeddings
    bare: TextEmbeddings

    def evaluate(self, x: Tensor, levels: Levels, variants: Sequence[Variant]) -> Tensor:
        num = x.shape[1] * x.shape[2]
        own = self.texts[torch.arange(num) // x.shape[2]]
        none = self.bare[torch.zeros(num, dtype=torch.long)]
        timestep = levels.timestep.float().expand(num)
        answers = [predict(self.prior, x.flatten(0, 2), timestep, own if v.text else none) for v in variants]
        return torch.stack([a.unflatten(0, x.shape[:-1]) for a in answers])


def new_prior(width: int, num_tokens: int, *, channels: int, layers: int, heads: int) -> PriorTransformer:
    """One with random weights. Its statistics are still to be set."""
    prior = PriorTransformer(
        num_attention_heads=heads,
        attention_head_dim=channels // heads,
        num_layers=layers,
        embedding_dim=width,
        num_embeddings=num_tokens,
    )
    with torch.no_grad():  # zeros in the class: every place and the query would start alike
        prior.positional_embedding.normal_(std=0.02)
        prior.prd_embedding.normal_(std=0.02)  # pyright: ignore[reportOptionalMemberAccess]
    return prior


@torch.no_grad()
def fit_statistics(prior: PriorTransformer, z: Tensor) -> None:
    """Take mean and deviation from the embeddings (n, width) of a training set. ValueError for fewer than 2,
    or a component that never changes."""
    if len(z) < 2:
        raise ValueError(f"{len(z)} embeddings have no deviation; give at least 2")
    std = z.float().std(0)
    if not bool((std > 0).all()):
        raise ValueError(
            f"component {int((std == 0).nonzero()[0])} of the embeddings is the same in all {len(z)}: the "
            "training set shows one picture only"
        )
    prior.clip_mean.copy_(z.float().mean(0))
    prior.clip_std.copy_(std)
    prior.clip_mean.requires_grad_(False)
    prior.clip_std.requires_grad_(False)


def check_statistics(prior: PriorTransformer) -> None:
    """ValueError for a prior that would turn everything to zeros, as a fresh PriorTransformer does."""
    if not bool((prior.clip_std > 0).all()):
        raise ValueError(
            "this prior has no statistics (its clip_std is zero, as in a fresh PriorTransformer), so every "
            "embedding would be zero: load a trained one, or set them with unicon.prior.fit_statistics"
        )


def width_of(prior: PriorTransformer) -> int:
    """Of the embeddings it makes."""
    return prior.config["clip_embed_dim"] or prior.config["embedding_dim"]


def save_clip(clip: ClipIdentity, folder: Path) -> None:
    """Say beside a prior's weights whose embeddings they are."""
    text = json.dumps({"clip": asdict(clip)}, indent=2) + "\n"
    write_whole(folder / CLIP_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def load_clip(folder: Path) -> ClipIdentity | None:
    """Whose embeddings a prior makes; None for one of others, which does not say."""
    path = folder / CLIP_FILE
    if not path.is_file():
        return None
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))["clip"]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} does not say whose embeddings (clip): fetch or save the prior again"
        ) from error
    return read_clip(entry, path)
