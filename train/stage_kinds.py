"""Of which kinds of stages is a family made?

How each is carried out is for `train.stages`, which there are and in what order for `train.recipes`.
"""

from __future__ import annotations

from dataclasses import dataclass

from train.config import RunConfig

SCENE_SEED = 1_000_000
"""First seed of the training scenes; evaluation scenes start at 0 and end far below."""
ADAPTERS = {"depth": "depth", "edge": "edge", "pose": "pose", "appearance": "second"}
"""The mini family's adapters and the array of the latent shards that holds each one's pictures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderStage:
    """Render `num` training scenes into the folder `name`."""

    name: str = "scenes"
    num: int
    first_seed: int = SCENE_SEED


@dataclass(frozen=True, kw_only=True, slots=True)
class CropStage:
    """Render `num` pictures with small versions of them (`train.crops`) into the folder `name`."""

    name: str = "crops"
    num: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoStage:
    """Prepare a labelled photo set, given as `--photos PATH`, into the folder `name`."""

    name: str = "photos"


@dataclass(frozen=True, kw_only=True, slots=True)
class PairStage:
    """Frame pairs with maps of `condition`, given as `--pairs PATH`, into the folder `name`."""

    name: str = "pairs"
    condition: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeStage:
    """Latents and text embeddings of the shards in `source`."""

    name: str
    source: str
    base: str = ""
    """Whose encoders these are of; empty: the family's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbedStage:
    """CLIP embeddings of the pictures and captions of the shards in `source`."""

    name: str
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AssembleStage:
    """Put the exported parts together as one pipeline in half precision, in the folder `name`."""

    name: str = "pipeline"
    adapters: tuple[str, ...] = tuple(ADAPTERS)
    num_familiar: int = 200
    """Scenes on which it is measured what is familiar to the base."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RebaseStage:
    """Put `parts` that were trained in the place of those of `base`, in a copy of it, the folder `name`."""

    name: str = "pipeline"
    base: str
    parts: tuple[str, ...]
    """"unet", or names of adapters."""


Preparation = (
    RenderStage | CropStage | PhotoStage | PairStage | EncodeStage | EmbedStage | AssembleStage | RebaseStage
)
"""A stage that trains nothing."""
Stage = Preparation | RunConfig
