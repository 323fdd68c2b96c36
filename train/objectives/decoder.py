"""How does a frozen base learn to draw what an embedding shows?

The decoder of unCLIP (Ramesh et al. 2022, section 2.1) as an adapter: predict the noise of a picture while
its own CLIP embedding is told. Embedding and caption are dropped by themselves, so that each can be guided by
itself; a share of the embeddings is noised, and its noise level told, so that a user may ask for less of it.
Adapters for conditions are neither needed nor touched, and work beside it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import PartialState
from PIL import Image
from torch import Tensor

from adapters import DecoderAdapter, DecoderConfig, Likeness, graft_decoder, joint_forward, save_decoder
from train.assemble import bare_base, family_pipeline
from train.embeddings import EmbeddingSet
from train.examples import Examples, SceneExamples
from train.levels import parse_law
from train.objectives.base import Draws, Objective
from train.objectives.joint import VALIDATION_SEED
from train.objectives.prior import clip_of, embeddings_of_data
from train.pairs.cache import PairCache
from train.pairs.encoding import PairEncoder
from train.pairs.examples import PairReader, report_skipped
from train.pairs.framing import View
from train.validation import HeldOut, encoders_on
from train.weights import Weighting, parse_weight
from unicon.data.pairs import open_pairs
from unicon.data.scenes import SceneConfig, render
from unicon.devices import use_quick_attention
from unicon.embeddings import NOISE
from unicon.pictures import as_array, as_pictures
from unicon.pipeline import UniConPipeline
from unicon.ranges import AT_LEAST_1, COUNT, SHARE
from unicon.sampling.levels import Schedule, add_noise, network_target
from unicon.sheets import contact_sheet, picture


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderTraining:
    """The adapter's size, and what is dropped and noised."""

    num_tokens: int = 4
    """Tokens that an embedding becomes."""
    token_width: int = 256
    """Width of each of them."""
    levels: str = "uniform"
    """How often the picture's noise levels are trained, see `train.levels`."""
    loss_weight: str = "plain"
    """How much the error counts at each noise level, see `train.weights`."""
    caption_dropout: float = 0.5
    """Share of captions that are dropped, so that pictures are drawn from the embedding."""
    like_dropout: float = 0.1
    """Share of items that are not told their embedding."""
    noised: float = 0.5
    """Share of embeddings that are noised, at a level that is anywhere on their schedule."""
    validation_items: int = 6
    """Pictures held out to look at: at most a tenth of your own."""
    validation_steps: int = 20
    """Steps of every picture drawn of them."""

    def __post_init__(self):
        parse_law(self.levels)  # raises where it is none
        parse_weight(self.loss_weight)
        SHARE.check_fields(self, "caption_dropout", "like_dropout", "noised")
        COUNT.check_fields(self, "validation_items")
        AT_LEAST_1.check_fields(self, "num_tokens", "token_width", "validation_steps")


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneDecoderTraining(DecoderTraining):
    """The mini family's decoder adapter, learnt from the family's latents and embeddings: 0.7M parameters."""

    token_width: int = 96
    base: str = "unet/export"
    """UNet and scheduler below the family's folder."""
    latents: str = "latents"
    """Folder of encoded scenes, below the family's."""
    embeddings: str = "embeddings"
    """Folder of the CLIP embeddings of the same scenes, below the family's."""
    num_scenes: int = 16384
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def build(self, folder: Path) -> DecoderObjective:
        """The objective, with base and data below the family's folder."""
        pipe = family_pipeline(folder, folder / self.base)
        _register_image_encoder(pipe, folder / "clip" / "export")
        use_quick_attention(pipe.unet)
        examples = SceneExamples(folder / self.latents, "image", self.num_scenes)
        found = EmbeddingSet.open(folder / self.embeddings)
        return DecoderObjective(self, pipe, examples, found, np.arange(len(examples)), self._held_out)

    def _held_out(self) -> HeldOut | None:
        """Scenes that neither training nor evaluation renders."""
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + self.validation_items)
        scenes = [render(seed, SceneConfig(second_view=False)) for seed in seeds]
        if not scenes:
            return None
        pictures = as_pictures([picture(scene.image) for scene in scenes], "scenes")
        return HeldOut(pictures=pictures, maps=pictures, captions=[scene.caption for scene in scenes])


@dataclass(frozen=True, kw_only=True, slots=True)
class DataDecoderTraining(DecoderTraining):
    """A decoder adapter for a base, from your own pictures."""

    data: str = ""
    """A folder, file or hub data set of pictures, see docs/data.md; maps are not needed, captions help."""
    base: str = "mini"
    """The frozen base: mini, a folder, or a hub id; with the image encoder whose embeddings it decodes."""
    resolution: int = 0
    """Side of a square of as many pixels as pictures are trained at; 0: the base's own."""
    flip: bool = True
    """Whether pictures are seen mirrored, too."""
    cache: str = "cache"
    """Folder of encoded pictures, below --out; empty: every step encodes its own."""
    bad_share: float = 0.02
    """The run stops where more than this share of the pictures cannot be read."""

    def __post_init__(self):
        DecoderTraining.__post_init__(self)
        SHARE.check_fields(self, "bad_share")
        COUNT.check_fields(self, "resolution")

    def build(self, folder: Path) -> DecoderObjective:
        """The objective. Raises ValueError for pictures that cannot be read, or a base without a CLIP."""
        if not self.data:
            raise ValueError("give --data PICTURES, see docs/data.md")
        state = PartialState()
        pipe = bare_base(self.base, torch.float32)
        embeddings = embeddings_of_data(self.data, clip_of(pipe), folder)
        reader = self._reader(pipe, state, folder)
        found = reader.find(range(len(reader.pairs)), show=state.is_main_process)
        report_skipped(reader.skipped, len(reader.pairs), self.bad_share, folder / "skipped.jsonl")
        found = [each for each in found if np.isfinite(embeddings.pictures[each.index, 0])]
        use_quick_attention(pipe.unet)
        split = len(found) - min(self.validation_items, len(found) // 10)
        kept, held_out = found[:split], found[split:]
        rows = np.array([each.index for each in kept])

        def show() -> HeldOut | None:
            same = [each for each in held_out if each.shape == held_out[0].shape]
            entries = [reader.pairs[each.index] for each in same]
            if not entries:
                return None
            pictures = as_pictures([reader.encoder.pictures(entry, "")[0] for entry in entries], "pictures")
            captions = [entry.captions[0] if entry.captions else "" for entry in entries]
            return HeldOut(pictures=pictures, maps=pictures, captions=captions)

        examples = reader.examples(kept, aligned=True)
        return DecoderObjective(self, pipe, examples, embeddings, rows, show)

    def _reader(self, pipe: UniConPipeline, state: PartialState, folder: Path) -> PairReader:
        encoder = PairEncoder.of(
            pipe,
            state.device,
            resolution=self.resolution,
            views=[View(), View(flip=True)] if self.flip else [View()],
            unpaired=True,
        )
        place = folder / self.cache
        cache = PairCache.of(place, encoder.fingerprint(), state.process_index) if self.cache else None
        return PairReader(pairs=open_pairs(self.data), condition="", encoder=encoder, cache=cache)


def _register_image_encoder(pipe: UniConPipeline, clip: Path) -> None:
    from transformers import CLIPVisionModelWithProjection

    encoder: Any = CLIPVisionModelWithProjection.from_pretrained(clip / "image_encoder")
    pipe.register_modules(image_encoder=encoder)
    clip_of(pipe)  # on this process's device


class DecoderObjective(Objective):
    """Predict the noise of a picture that is told its own embedding."""

    def __init__(
        self,
        config: DecoderTraining,
        pipe: UniConPipeline,
        examples: Examples,
        found: EmbeddingSet,
        rows: np.ndarray,
        held_out: Callable[[], HeldOut | None],
    ):
        """`rows` says where the embedding of each example lies in `found`."""
        super().__init__()
        self.config, self.pipe, self.examples, self._held_out = config, pipe, examples, held_out
        self.schedule = Schedule.from_scheduler(pipe.scheduler)
        self.table = parse_law(config.levels)(self.schedule)
        self.weigh = Weighting.on(self.schedule, config.loss_weight, config.levels, self.table)
        self.z = F.normalize(found.embeddings(rows), dim=-1)
        unet = pipe.unet.requires_grad_(False)
        settings = DecoderConfig(
            clip=found.clip, num_tokens=config.num_tokens, token_width=config.token_width
        )
        self.decoder = DecoderAdapter.for_unet(unet, settings)
        self.decoder.set_statistics(self.z.mean(0), self.z.std(0))
        graft_decoder(unet, self.decoder)
        self.unet = unet  # after the adapter, by whose names its tensors are known

    @property
    def num_items(self) -> int:
        return len(self.examples)

    @property
    def groups(self) -> np.ndarray | None:
        return self.examples.groups

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        num, shape = len(items), self.examples.latent_shape(int(items[0]))
        strata = (torch.arange(num) + torch.rand(num, generator=generator)) / num
        return Draws(
            progress=strata[torch.randperm(num, generator=generator)],
            uncaptioned=torch.rand(num, generator=generator),
            unlike=torch.rand(num, generator=generator),
            noised=torch.rand(num, generator=generator),
            z_progress=torch.rand(num, generator=generator),
            z_noise=torch.randn(num, self.z.shape[1], generator=generator),
            noise=torch.randn(num, *shape, generator=generator),
            **self.examples.draw(generator, num),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.autocast(
            self.device.type, enabled=False
        ):  # what is encoded now is what a cache would hold
            read = self.examples.read(items, draws)
        dropped = (draws["uncaptioned"] < self.config.caption_dropout)[:, None, None]
        text = torch.where(dropped, read.bare[0], read.texts[0]).to(self.device)
        clean, noise = read.latents[0].to(self.device), draws["noise"].to(self.device)
        levels = self.schedule.at_timestep(self.table.timesteps(draws["progress"]))
        levels = levels.to(self.device, torch.float32)
        out = joint_forward(
            self.unet,
            add_noise(clean, noise, levels),
            levels.timestep.float(),
            text,
            pairs=[],
            num_branches=1,
            likeness=self.likeness(items, draws),
        )
        target = network_target(clean, noise, levels, self.schedule.prediction)
        error = (out.float() - target).square().mean(dim=(1, 2, 3))
        return error * self.weigh(levels), {"error": error}

    def likeness(self, items: np.ndarray, draws: Draws) -> Likeness:
        """What every item is told: its embedding, noised or not, or nothing."""
        timestep = (draws["z_progress"] * (NOISE.last_timestep + 1)).floor()
        timestep = torch.where(draws["noised"] < self.config.noised, timestep, 0)
        z = self.decoder.normalise(self.z[items].to(self.device))
        levels = NOISE.at_timestep(timestep).clean_where(timestep == 0).to(self.device, torch.float32)
        noised = add_noise(z, draws["z_noise"].to(self.device), levels)
        given = draws["unlike"] >= self.config.like_dropout
        parts = (noised, timestep, given)
        z, timestep, given = (part[None].to(self.device) for part in parts)
        return Likeness(z=z, noise_level=timestep.float(), given=given)

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Image.Image] | None:
        """Held-out pictures drawn after their embeddings, and without them from the same noise: how near the
        embeddings of what was drawn come to those asked for, and to another picture's."""
        held_out = self._held_out()
        if held_out is None or len(held_out) < 2:
            return None
        with encoders_on(self.pipe, self.pipe.unet.device):
            asked = self.pipe.embed(held_out.pictures)
            drawn = {
                name: self._drawn(held_out.captions, like)
                for name, like in (("like it", asked), ("without", None))
            }
            seen = {name: self.pipe.embed(pictures) for name, pictures in drawn.items()}
        numbers = {
            "cosine": _mean((seen["like it"] * asked).sum(1)),
            "cosine_to_another": _mean((seen["like it"] * asked.roll(1, 0)).sum(1)),
            "cosine_without": _mean((seen["without"] * asked).sum(1)),
        }
        rows = {"picture": held_out.pictures, **drawn}
        cells = [[picture(each) for each in as_array(row)] for row in rows.values()]
        titles = [caption[:24] for caption in held_out.captions]
        return numbers, contact_sheet(cells, row_labels=list(rows), column_labels=titles)

    def _drawn(self, captions: Any, like: Tensor | None) -> Tensor:
        out: Any = self.pipe(
            list(captions),
            like=like,
            num_inference_steps=self.config.validation_steps,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(0),
            output_type="pt",
        )
        return out.images

    def export(self, folder: Path) -> None:
        """Write the adapter's folder: config.json and decoder.safetensors."""
        save_decoder(self.decoder, folder)


def _mean(values: Tensor) -> float:
    return float(values.float().mean())
