"""How does a text become the embedding of a picture, one component after another?

The autoregressive prior of unCLIP (Ramesh et al. 2022, section 2.2), small: an embedding is turned to its
principal components, each rounded to one of a few buckets, and a causal transformer says what comes next
after [encoded text, text embedding, how near the picture is to its text, components so far]. When sampled it
is told a nearness from the upper half. Of several candidates the one nearest to the text is kept, as of the
diffusion prior (`unicon.prior`), which the paper found better.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from unicon.embeddings import TextEmbeddings, principal
from unicon.prior import best_of
from unicon.ranges import AT_LEAST_1, Range
from unicon.sampling.loop import Noise

PRIOR_AR = "prior_ar"
"""Whose noise it is, and its place in a pipeline."""
REACH = 4.0
"""Deviations on either side that buckets cover; beyond, the outermost one stands."""

_TEMPERATURE = Range(above=0, hint="1 is as learnt")
_TOP_P = Range(above=0, most=1, hint="1 is everything")

Past = list[tuple[Tensor, Tensor]]
"""Keys and values of every layer, (n, heads, tokens, channels of a head)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ArPriorSettings:
    """How embeddings are sampled."""

    temperature: float = 1.0
    """Below 1 likelier components are drawn more often."""
    top_p: float = 0.95
    """Components are drawn from the likeliest ones that hold this share of the probability."""
    n_best: int = 2
    """Candidates of each sample, of which the nearest to the text is kept."""

    def __post_init__(self) -> None:
        _TEMPERATURE.check_fields(self, "temperature")
        _TOP_P.check_fields(self, "top_p")
        AT_LEAST_1.check_fields(self, "n_best")


class AutoregressivePrior(ModelMixin, ConfigMixin):
    """The network, and what turns embeddings into buckets and back (in its buffers)."""

    @register_to_config
    def __init__(
        self,
        width: int,
        num_tokens: int,
        components: int,
        buckets: int = 64,
        channels: int = 160,
        layers: int = 5,
        heads: int = 5,
        nearnesses: int = 8,
    ):
        super().__init__()
        self.from_tokens = nn.Linear(width, channels)
        self.from_text = nn.Linear(width, channels)
        self.from_nearness = nn.Embedding(nearnesses, channels)
        self.from_bucket = nn.Embedding(buckets, channels)
        self.places = nn.Parameter(0.02 * torch.randn(num_tokens + 2 + components - 1, channels))
        self.blocks = nn.ModuleList(_Block(channels, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.to_bucket = nn.Linear(channels, buckets)
        self.mean: Tensor
        self.directions: Tensor
        self.std: Tensor
        self.edges: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("directions", torch.zeros(components, width))
        self.register_buffer("std", torch.zeros(components))
        self.register_buffer("edges", torch.zeros(nearnesses - 1))

    def forward(self, texts: TextEmbeddings, nearness: Tensor, buckets: Tensor) -> Tensor:
        """Logits (n, components, buckets) of every component after those before it.

        `buckets` (n, components) are those of all components, `nearness` (n,) is the number of its own.
        """
        prefix, mask = self._prefix(texts, nearness)
        x = torch.cat([prefix, self.from_bucket(buckets[:, :-1])], dim=1)
        out, _ = self._run(x, mask, None)
        return out[:, prefix.shape[1] - 1 :]

    def _prefix(self, texts: TextEmbeddings, nearness: Tensor) -> tuple[Tensor, Tensor]:
        """(n, tokens + 2, channels), and which of them may be read."""
        dtype = self.places.dtype
        told = self.from_text(texts.projected.to(dtype))[:, None], self.from_nearness(nearness)[:, None]
        mask = F.pad(texts.mask, (0, 2), value=True)
        return torch.cat([self.from_tokens(texts.tokens.to(dtype)), *told], dim=1), mask

    def _run(self, x: Tensor, mask: Tensor, past: Past | None) -> tuple[Tensor, Past]:
        """Logits at the places of x, which follow those of `past`. `mask` (n, prefix) as of `_prefix`."""
        before = past[0][0].shape[2] if past else 0
        length = before + x.shape[1]
        x = x + self.places[before:length]
        readable = F.pad(mask, (0, length - mask.shape[1]), value=True)[:, None, None]
        causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()[before:]
        # Padding reads itself at least.
        itself = torch.eye(length, dtype=torch.bool, device=x.device)[before:]
        kept: Past = []
        for number, block in enumerate(self.blocks):
            x, keys = block(x, causal & readable | itself, past[number] if past else None)
            kept.append(keys)
        return self.to_bucket(self.norm(x)).float(), kept

    # --- embeddings and buckets ---------------------------------------------------------------------------

    @torch.no_grad()
    def to_buckets(self, z: Tensor) -> Tensor:
        """Embeddings (n, width) as numbers of buckets (n, components)."""
        values = (z.float() - self.mean.float()) @ self.directions.float().T / self.std.float()
        num = self.config["buckets"]
        return ((values + REACH) * (num / (2 * REACH))).floor().long().clamp(0, num - 1)

    @torch.no_grad()
    def to_embeddings(self, buckets: Tensor) -> Tensor:
        """And back, to the middles of the buckets: unit vectors (n, width)."""
        values = (buckets.float() + 0.5) * (2 * REACH / self.config["buckets"]) - REACH
        z = (values * self.std.float()) @ self.directions.float() + self.mean.float()
        return F.normalize(z, dim=-1)

    @torch.no_grad()
    def nearness(self, z: Tensor, z_text: Tensor) -> Tensor:
        """Number (n,) of the bucket of each cosine."""
        return torch.bucketize((z * z_text).sum(-1), self.edges.float())


class _Block(nn.Module):
    """A transformer block, its norms first."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(channels), nn.LayerNorm(channels)])
        self.to_qkv = nn.Linear(channels, 3 * channels)
        self.to_out = nn.Linear(channels, channels)
        self.inner = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(
        self, x: Tensor, mask: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = self.to_qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (each.transpose(1, 2) for each in (q, k, v))
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.to_out(found.transpose(1, 2).flatten(2))
        return x + self.inner(self.norms[1](x)), (k, v)


@torch.no_grad()
def fit_buckets(prior: AutoregressivePrior, z: Tensor, z_text: Tensor) -> None:
    """Take components, deviations and nearnesses from a training set: unit vectors (n, width) of pictures and
    of their captions. ValueError for fewer embeddings than components, or fewer components than asked for."""
    num = prior.config["components"]
    mean, directions, std = principal(z)
    if len(std) < num:
        raise ValueError(
            f"{len(z)} embeddings have {len(std)} components, not {num}: give more pictures, or fewer "
            "components"
        )
    prior.mean.copy_(mean)
    prior.directions.copy_(directions[:num])
    prior.std.copy_(std[:num])
    shares = torch.arange(1, len(prior.edges) + 1, device=z.device) / (len(prior.edges) + 1)
    prior.edges.copy_(torch.quantile((z * z_text).sum(-1).float(), shares.float()))


def enough_components(z: Tensor, error: float) -> int:
    """How many keep all but a share `error` of the variance (published: 1 %)."""
    variances = principal(z)[2].square()
    if not len(variances):
        raise ValueError(f"all {len(z)} embeddings are the same: the training set shows one picture only")
    left = 1 - variances.cumsum(0) / variances.sum()
    return min(int((left > error).sum()) + 1, len(variances))


def check_buckets(prior: AutoregressivePrior) -> None:
    """ValueError for a prior that was never fitted."""
    if not bool((prior.std > 0).all()):
        raise ValueError(
            "this autoregressive prior has no components (its std is zero): load a trained one, or set them "
            "with unicon.prior_ar.fit_buckets"
        )


@torch.no_grad()
def sample_prior_ar(
    prior: AutoregressivePrior, texts: TextEmbeddings, noise: Noise, settings: ArPriorSettings | None = None
) -> Tensor:
    """Embeddings (n, width), unit vectors, one for each of `texts`.

    Raises ValueError for a prior that was never fitted.
    """
    settings = settings or ArPriorSettings()
    check_buckets(prior)
    device, num = texts.z.device, len(texts.z)
    wide = torch.float32 if device.type == "mps" else torch.float64  # which Apple's devices do not have
    several = texts[torch.arange(num, device=device).repeat_interleave(settings.n_best)]

    def chance(step: int) -> Tensor:
        """Uniform in (0, 1), one per candidate, from each sample's own noise."""
        drawn = noise.draw(PRIOR_AR, step, (settings.n_best,)).to(device, wide)
        return torch.special.ndtr(drawn).flatten()

    upper = prior.config["nearnesses"] // 2
    nearness = upper + (chance(0) * (prior.config["nearnesses"] - upper)).long()
    x, mask = prior._prefix(several, nearness)
    past, buckets = None, []
    for step in range(prior.config["components"]):
        logits, past = prior._run(x, mask, past)
        buckets.append(draw(logits[:, -1], chance(step + 1), settings))
        x = prior.from_bucket(buckets[-1])[:, None]
    found = prior.to_embeddings(torch.stack(buckets, dim=1))
    return best_of(found.unflatten(0, (num, settings.n_best)), texts.z)


def draw(logits: Tensor, chance: Tensor, settings: ArPriorSettings) -> Tensor:
    """One bucket (n,) of each row of logits (n, buckets), the one that `chance` in (0, 1) falls on."""
    shares = (logits.to(chance.dtype) / settings.temperature).softmax(-1)
    shares, order = shares.sort(descending=True, dim=-1, stable=True)
    before = shares.cumsum(-1) - shares
    shares = shares.where(before < settings.top_p, 0)
    reached = shares.cumsum(-1) >= chance[:, None] * shares.sum(-1, keepdim=True)
    return order.gather(1, reached.long().argmax(-1, keepdim=True))[:, 0]
