"""How does a prior learn which pictures a text could describe?

unCLIP's diffusion prior (Ramesh et al. 2022, section 2.2): it predicts the clean embedding itself, with a
squared error, from a noised one and the caption; a share of the captions is dropped, as the empty caption.
Embeddings are computed once. A fresh prior learns unit vectors; one that is continued (by a low-rank
adaptation, if wanted) keeps its statistics, and is given embeddings of the lengths these are of: ours are of
unit vectors, released ones of what the encoder gives.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import PartialState
from diffusers import PriorTransformer
from PIL import Image
from torch import Tensor, nn

from eval.metrics.embeddings import embedding_scores
from train.embeddings import Clip, EmbeddingSet, write_embeddings
from train.objectives.base import Draws, Objective
from train.pairs.contents import CONTENTS, Contents
from unicon.data.pairs import Pairs, open_pairs
from unicon.embeddings import NOISE, TextEmbeddings, check_same_clip
from unicon.pipeline import UniConPipeline
from unicon.prior import (
    PriorSettings,
    check_statistics,
    embeddings_of,
    fit_statistics,
    load_clip,
    new_prior,
    predict,
    sample_prior,
    save_clip,
    width_of,
)
from unicon.ranges import AT_LEAST_1, COUNT, LESS_THAN_1
from unicon.sampling.levels import add_noise
from unicon.sampling.noise import NoiseSource
from unicon.sheets import picture
from unicon.sources import find_adapter

_TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PriorConfig:
    """Geometry of a prior, and how it is learnt."""

    channels: int = 512
    """Width of the transformer."""
    layers: int = 8
    """Transformer blocks."""
    heads: int = 8
    """Heads of their attentions."""
    text_dropout: float = 0.1
    """Share of captions that are dropped, which is what guidance needs."""
    start_from: str = ""
    """A PriorTransformer to continue from, such as a released one: its folder, or OWNER/NAME/FOLDER on the
    hub; empty: random weights."""
    lora_rank: int = 0
    """Rank of a low-rank adaptation of `start_from` (needs peft); 0: all of it is trained."""
    validation_items: int = 64
    """Pictures that are held out to look at: at most a tenth of all."""

    def __post_init__(self):
        AT_LEAST_1.check_fields(self, "channels", "layers", "heads")
        if self.channels % self.heads:
            raise ValueError(f"channels is {self.channels}; it must be a multiple of heads {self.heads}")
        LESS_THAN_1.check_fields(self, "text_dropout")
        COUNT.check_fields(self, "validation_items")
        if self.lora_rank and not self.start_from:
            raise ValueError("lora_rank adapts a prior that is there: give --start_from FOLDER")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScenePriorConfig(PriorConfig):
    """The mini family's prior, learnt from the family's embeddings: 1.7M parameters."""

    channels: int = 160
    layers: int = 5
    heads: int = 5
    embeddings: str = "embeddings"
    """Folder of the CLIP embeddings of the scenes, below the family's."""
    num_scenes: int = 16384
    """Scenes that are learnt from: the first that can be read, all where there are fewer."""

    def build(self, folder: Path) -> PriorObjective:
        """The objective, with its data below the family's folder."""
        found = EmbeddingSet.open(folder / self.embeddings)
        return PriorObjective(self, found, found.readable()[: self.num_scenes])


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPriorConfig(PriorConfig):
    """A prior for your own pictures and captions."""

    data: str = ""
    """A folder, file or hub data set of pictures with captions, see docs/data.md; maps are not needed."""
    base: str = "mini"
    """The base whose CLIP it is for: its image encoder, and its text encoder with a projection."""

    def build(self, folder: Path) -> PriorObjective:
        """The objective. Raises ValueError for data without captions, or a base without a CLIP."""
        found = captioned(self.data, self.base, folder)
        return PriorObjective(self, found, found.readable())


def captioned(data: str, base: str, folder: Path) -> EmbeddingSet:
    """Embeddings of a user's pictures and captions. ValueError for data without captions, or a base without
    a CLIP."""
    if not data:
        raise ValueError("give --data PICTURES with captions, see docs/data.md")
    found = embeddings_of_data(data, clip_of(UniConPipeline.from_pretrained(base, adapters=())), folder)
    if len(found.texts["mask"]) == 1:
        raise ValueError(f"{data}: holds no captions; a prior learns from pictures with captions")
    return found


def clip_of(pipe: UniConPipeline) -> Clip:
    """The CLIP of a base, on this process's device. ValueError where it has none."""
    if pipe.image_encoder is None:
        raise ValueError(
            "this base has no image encoder: use one saved with image_encoder=CLIPVisionModelWithProjection"
        )
    if not isinstance(getattr(pipe.text_encoder, "text_projection", None), nn.Module):
        raise ValueError(
            f"this base's text encoder is a {type(pipe.text_encoder).__name__} without a projection: use a "
            "base saved with text_encoder=CLIPTextModelWithProjection"
        )
    for part in (pipe.image_encoder, pipe.text_encoder):
        torch.nn.Module.to(part, PartialState().device)
    return Clip(pipe.image_encoder, pipe.feature_extractor, pipe.text_encoder, pipe.tokenizer)


def embeddings_of_data(data: str, clip: Clip, folder: Path) -> EmbeddingSet:
    """Embeddings of a user's pictures, made once below `folder` for what this data holds and this CLIP."""
    pairs = open_pairs(data)
    held = _contents(pairs, folder)

    def items():
        for entry in pairs:
            try:
                seen = None if entry.image is None else entry.image.load()
            except (ValueError, OSError):
                seen = None
            yield seen, entry.captions

    target = folder / f"embeddings-{clip.key(held)}"
    found = write_embeddings(target, len(pairs), items, clip)
    if not len(found.readable()):
        raise ValueError(f"{data}: no picture can be read; `unicon check` names every problem")
    return found


def _contents(pairs: Pairs, folder: Path) -> str:
    """Changes with what any picture shows, with any caption and with their order."""
    contents, digest = Contents(folder / CONTENTS, PartialState().process_index), hashlib.blake2b()
    for index in range(len(pairs)):
        try:
            digest.update(contents.of(pairs[index], "").encode())
        except (ValueError, OSError):  # cannot be read, now
            digest.update(b"none")
    contents.close()
    return digest.hexdigest()


class PriorObjective(Objective):
    """Predict a picture's clean embedding from its caption and a noised one."""

    def __init__(self, config: PriorConfig, found: EmbeddingSet, items: np.ndarray):
        super().__init__()
        self.config, self.found = config, found
        held_out = min(config.validation_items, len(items) // 10)
        self.items, self.held_out = items[: len(items) - held_out], items[len(items) - held_out :]
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        self.prior = self._prior()
        self.on_unit_vectors = is_of_unit_vectors(self.prior, found.embeddings(self.items))

    def _prior(self) -> PriorTransformer:
        config = self.config
        if config.start_from:
            prior = _started(config.start_from, self.found)
            return _with_lora(prior, config.lora_rank) if config.lora_rank else prior
        prior = new_prior(
            self.found.clip.width,
            self.found.num_tokens,
            channels=config.channels,
            layers=config.layers,
            heads=config.heads,
        )
        fit_statistics(prior, F.normalize(self.found.embeddings(self.items), dim=-1))
        return prior

    @property
    def num_items(self) -> int:
        return len(self.items)

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        num = len(items)
        # Stratified: a batch covers the levels evenly, which lowers the variance of its loss.
        strata = (torch.arange(num) + torch.rand(num, generator=generator)) / num
        return Draws(
            progress=strata[torch.randperm(num, generator=generator)],
            caption=torch.rand(num, generator=generator),
            uncaptioned=torch.rand(num, generator=generator),
            noise=torch.randn(num, self.found.clip.width, generator=generator),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        rows = self.items[np.asarray(items)]
        dropped = draws["uncaptioned"] < self.config.text_dropout
        said = self.found.captions(rows, draws["caption"], dropped).to(self.device)
        clean, noise = self._clean(rows), draws["noise"].to(self.device)
        levels = NOISE.at_timestep(draws["progress"] * NOISE.last_timestep).to(self.device, torch.float32)
        out = predict(self.prior, add_noise(clean, noise, levels), levels.timestep, said).float()
        error = (out - clean).square().mean(1)
        near = F.cosine_similarity(embeddings_of(self.prior, out), embeddings_of(self.prior, clean))
        return error, {"cosine": near}

    def _clean(self, rows: np.ndarray) -> Tensor:
        """Normalised embeddings (n, width), of the lengths that this prior's statistics are of."""
        z = self.found.embeddings(rows).to(self.device)
        z = F.normalize(z, dim=-1) if self.on_unit_vectors else z
        return (z - self.prior.clip_mean.float()) / self.prior.clip_std.float()

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Image.Image] | None:
        """Embeddings sampled for captions that are not trained on, beside their pictures': cosines to their
        own picture, to another's, to their own and another's caption; which rank first; all as a picture."""

        def made(said: TextEmbeddings, bare: TextEmbeddings) -> Tensor:
            noise = NoiseSource.from_seed(0, len(said.z))
            return sample_prior(self.prior, said, bare, noise, PriorSettings(n_best=1))

        return look_at(self.found, self.held_out, made, self.device)

    def export(self, folder: Path) -> None:
        """Write the prior in diffusers' layout, a low-rank adaptation merged, and its CLIP beside it."""
        _without_lora(self.prior).save_pretrained(folder)
        save_clip(self.found.clip, folder)


def is_of_unit_vectors(prior: PriorTransformer, z: Tensor) -> bool:
    """Whether a prior's statistics are of unit vectors, rather than of what the encoder gives, such as `z`
    (n, width): mean^2 + deviation^2 add up to the mean square of the lengths, and the nearer one is meant.

    The file beside it cannot tell: a released prior that was continued here has one, and its own statistics.
    """
    mean, std = (t.detach().cpu().double() for t in (prior.clip_mean, prior.clip_std))
    square = (mean.square() + std.square()).sum().log()
    raw = z.double().square().sum(1).mean().log()
    return bool(square.abs() <= (square - raw).abs())


def _started(source: str, found: EmbeddingSet) -> PriorTransformer:
    """The prior to continue. ValueError for one without statistics, or of another CLIP than the data's."""
    try:
        folder = find_adapter(source)
    except ValueError as error:
        raise ValueError(f"--start_from: {error}") from error
    prior: Any = PriorTransformer.from_pretrained(folder)
    check_statistics(prior)
    clip = load_clip(folder)
    if clip is not None:
        check_same_clip(clip, found.clip, f"the prior of --start_from {source}")
    is_so, expected = (width_of(prior), prior.config["num_embeddings"]), (found.clip.width, found.num_tokens)
    if is_so != expected:
        raise ValueError(
            f"{source} makes embeddings {is_so[0]} wide of {is_so[1]} tokens, this CLIP's are {expected[0]} "
            f"wide of {expected[1]}: choose the prior of this CLIP"
        )
    prior.clip_mean.requires_grad_(False)
    prior.clip_std.requires_grad_(False)
    return prior


def look_at(
    found: EmbeddingSet,
    rows: np.ndarray,
    make: Callable[[TextEmbeddings, TextEmbeddings], Tensor],
    device: torch.device,
) -> tuple[dict[str, float], Image.Image] | None:
    """What `make` (texts and the empty one to embeddings) answers to the captions of `rows`, beside their
    pictures: numbers, and all cosines as a picture. None for fewer than two."""
    if len(rows) < 2:
        return None
    every = torch.zeros(len(rows))
    said = found.captions(rows, every, every > 0).to(device)
    bare = found.captions(rows[:1], every[:1], every[:1] == 0).to(device)
    true = F.normalize(found.embeddings(rows), dim=-1).numpy()
    z = make(said, bare).float().cpu().numpy()
    return embedding_scores(z, true, said.z.cpu().numpy()), picture(z @ true.T / 2 + 0.5)


def _with_lora(prior: PriorTransformer, rank: int) -> PriorTransformer:
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ValueError("--lora_rank needs peft: pip install peft, or train all of it") from error
    prior.requires_grad_(False)
    prior.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=_TARGETS))
    return prior


def _without_lora(prior: PriorTransformer) -> PriorTransformer:
    """The prior with its low-rank adaptation merged; itself where it has none."""
    if not getattr(prior, "_hf_peft_config_loaded", False):
        return prior
    from peft.tuners.tuners_utils import BaseTunerLayer

    merged = copy.deepcopy(prior)
    for path, layer in list(merged.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, name = path.rpartition(".")
            setattr(merged.get_submodule(parent), name, layer.get_base_layer())
    merged._hf_peft_config_loaded = False
    return merged
