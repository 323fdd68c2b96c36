"""What is this adapter: which condition or which embedding, which form, for which base?

Plain data, no torch: read and written as `config.json`. Whether a base is the right one is for `base.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PROJECTIONS = ("branch", "fused", "shared")


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockGeometry:
    """The sizes of one transformer block that an adapter's tensors depend on."""

    width: int
    """Channels of the block's residual stream."""
    inner: int
    """Channels of queries, keys and values, all heads together."""
    heads: int
    context: int
    """Channels of the text tokens; 0 where the block has no text attention."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseGeometry:
    """A base's fingerprint: fine-tuned checkpoints of one family share it, other families do not."""

    latent_channels: int
    blocks: dict[str, BlockGeometry]
    """One entry per transformer block, keyed by its path in the UNet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdapterConfig:
    """Everything about an adapter that is not a tensor."""

    condition: str
    """What the condition branch shows: "depth", "edge", "pose", ..."""
    rank: int = 64
    """Rank of every low-rank update."""
    projection: str = "branch"
    """How joint reads enter the residual. "branch": diag(gain) + low rank, one per branch; "fused": one
    2C x 2C matrix over both branches; "shared": one C x C matrix for both (the last two as published)."""
    condition_lora: bool = True
    """Whether the condition branch's own self- and text-attention carry an update (published: y_lora)."""
    reads_when_clean: bool = False
    """Whether a CLEAN branch still reads the other one. False is what allows the held-clean shortcut, and has
    to be trained in: reading gated off wherever a branch was CLEAN."""
    skip_blocks: tuple[str, ...] = ()
    """Blocks without joint reading, by path or by prefix: ("down_blocks.0", "up_blocks.3") is the top
    resolution of Stable Diffusion 1.5."""
    pool_keys: int = 1
    """At the top resolution, keys and values are averaged over windows of this many pixels a side."""
    locality: float = 0.0
    """By how many nats a read favours the token at its own place over one far away, before training; 0: reads
    carry no positions (as published). Learnt per head; what a small base needs, see `positions.py`."""
    clean_timestep: int = 0
    """What the base is told about a CLEAN branch, in training and use alike. A base does little at timestep
    0; a small one answers reads better when told a level at which it still has something to understand."""
    trigger: str = ""
    """Words put before the prompt of the condition branch."""
    palette: str = ""
    """Name of the palette the map is drawn with; empty for a map that is not a drawing."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Smallest and largest value of the map as a picture."""
    base: BaseGeometry | None = field(default=None, repr=False)
    """The base it was built for; filled in by `JointAdapter.for_unet`."""

    def __post_init__(self) -> None:
        _require(self, "condition", bool(self.condition), "must name the condition")
        _require(self, "rank", self.rank >= 1, "must be at least 1")
        _require(self, "projection", self.projection in PROJECTIONS, f"must be one of {PROJECTIONS}")
        _require(self, "pool_keys", self.pool_keys >= 1, "must be at least 1 (1: no pooling)")
        _require(self, "locality", self.locality >= 0, "must not be negative")
        _require(self, "clean_timestep", self.clean_timestep >= 0, "must not be negative")
        _require(self, "value_range", self.value_range[0] < self.value_range[1], "must increase")

    def skips(self, path: str) -> bool:
        """Whether the block at `path` has no joint reading."""
        return any(path == name or path.startswith(f"{name}.") for name in self.skip_blocks)

    @property
    def allows_shortcut(self) -> bool:
        """Whether a held-clean branch may be computed once and cached."""
        return self.projection == "branch" and not self.reads_when_clean


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipIdentity:
    """Which CLIP made an embedding. Those of two CLIPs mean different things, also where both are as wide."""

    name: str
    """Its image encoder: "ViT-L/14", "ViT-H/14", ..."""
    width: int
    """Of its embeddings."""
    weights: tuple[float, ...]
    """A few weights of its projection, by which two CLIPs of one geometry are told apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """Everything about a decoder adapter that is not a tensor."""

    clip: ClipIdentity
    """Whose embeddings it decodes."""
    num_tokens: int = 4
    """Tokens made of an embedding (Ramesh et al. 2022, section 2.1: four)."""
    token_width: int = 256
    on_conditions: bool = False
    """Whether condition branches are told the embedding, too; otherwise a map is not asked to look like
    anything, and knows of it only what it reads from the image."""
    time_width: int = 0
    """Channels of the base's time embedding; filled in by `DecoderAdapter.for_unet`."""
    base: BaseGeometry | None = field(default=None, repr=False)
    """The base it was built for; filled in by `DecoderAdapter.for_unet`."""

    def __post_init__(self) -> None:
        _require(self, "num_tokens", self.num_tokens >= 1, "must be at least 1")
        _require(self, "token_width", self.token_width >= 1, "must be at least 1")


def _require(config: object, name: str, ok: bool, rule: str) -> None:
    if not ok:
        raise ValueError(f"{type(config).__name__}.{name}={getattr(config, name)!r}: {rule}")
