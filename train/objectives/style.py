"""How is a style learnt from one to a few pictures?

A LoRA on the image branch alone, on a frozen base; adapters for conditions are neither needed nor touched,
and work with the style afterwards. What a style is gets decided at high noise, so that is where it is learnt:
the levels follow the style-friendly law (Choi et al. 2024, arXiv 2411.14793), by default pure, as published.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image, ImageOps
from torch import Tensor, nn

from adapters import ImageLora, graft_lora, joint_forward, save_lora, set_lora_weight
from train.levels import parse_law
from train.objectives.base import Draws, Objective, hold, named
from train.pairs.framing import View, buckets, framed, nearest
from train.validation import encoders_on
from train.weights import Weighting, parse_weight
from unicon.bases import base_size
from unicon.data.pairs.names import as_text
from unicon.data.photos import list_photos, load_photo
from unicon.devices import use_quick_attention
from unicon.latents import encode
from unicon.pictures import as_pictures
from unicon.pipeline import UniConPipeline
from unicon.ranges import AT_LEAST_1, COUNT, SHARE
from unicon.sampling.levels import Schedule, add_noise, network_target
from unicon.sheets import contact_sheet, picture
from unicon.styles import StyleCard, with_phrases
from unicon.texts import TextReader

STYLE = "style"
MOST = 200
"""References that are held in memory; more are a data set, not a style."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StyleConfig(StyleCard):
    """A style: its references, its card, and how it is learnt."""

    data: str = ""
    """A picture, or a folder of a few; captions in .txt files of the same names."""
    base: str = "mini"
    """The frozen base: mini, a folder, or a hub id."""
    rank: int = 32
    """Of its low-rank updates."""
    levels: str = "style_friendly"
    """How often noise levels are trained, see `train.levels`: "0.8 style_friendly + 0.2 uniform", ..."""
    loss_weight: str = "plain"
    """How much the error counts at each noise level, see `train.weights`: "soft_min_snr(5)", ..."""
    resolution: int = 0
    """Side of a square of as many pixels as references are seen at; 0: the base's own."""
    panels: bool = False
    """Whether all references are one picture, laid out as the panels of a page."""
    flip: bool = False
    """Whether references are seen mirrored, too."""
    caption_dropout: float = 0.0
    """Share of items that are learnt under the phrase alone."""
    prompts: tuple[str, ...] = ("a red chair", "a person", "a house by a tree", "a bottle on a table")
    """What is drawn with and without the style to look at it."""
    guidance_scale: float = 2.0
    """Of those pictures; more for Stable Diffusion."""

    def __post_init__(self):
        parse_law(self.levels)  # raises where it is none
        parse_weight(self.loss_weight)
        if not self.prompts:
            raise ValueError("prompts is empty; name at least one, or leave looking out: --validate_every 0")
        AT_LEAST_1.check_fields(self, "rank")
        SHARE.check_fields(self, "caption_dropout")
        COUNT.check_fields(self, "resolution")

    @property
    def card(self) -> StyleCard:
        stated = {field.name: getattr(self, field.name) for field in fields(StyleCard)}
        return StyleCard(**{**stated, "title": self.title or self.phrase})

    def build(self, folder: Path) -> StyleObjective:
        """The objective. Raises ValueError for references that cannot be read, or without words."""
        if not self.data or not self.phrase:
            raise ValueError(
                'give --data PICTURES and --phrase WORDS, such as --phrase "in the style of a woodcut"'
            )
        pipe = UniConPipeline.from_pretrained(self.base, adapters=(), dtype=torch.float32)
        use_quick_attention(pipe.unet)
        return StyleObjective(self, pipe, read_references(self))


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """One picture of the style."""

    image: Image.Image
    caption: str


def read_references(config: StyleConfig) -> list[Reference]:
    """The pictures of `config.data` with their captions; one page of them where they are panels."""
    files = list_photos(config.data)
    if len(files) > MOST:
        raise ValueError(f"{config.data}: holds {len(files)} pictures; a style is learnt from at most {MOST}")
    found = [Reference(image=load_photo(path), caption=_caption(path)) for path in files]
    return [_page(found)] if config.panels else found


def _caption(path: Path) -> str:
    text = path.with_suffix(".txt")
    return as_text(text.read_bytes(), str(text)).strip() if text.is_file() else ""


def _page(references: Sequence[Reference]) -> Reference:
    """All pictures in rows of equal cells, as large as the first; those of another shape on white."""
    columns = math.ceil(math.sqrt(len(references)))
    rows = math.ceil(len(references) / columns)
    width, height = references[0].image.size
    page = Image.new("RGB", (columns * width, rows * height), "white")
    for number, reference in enumerate(references):
        cell = ImageOps.pad(reference.image, (width, height), Image.Resampling.LANCZOS, color="white")
        page.paste(cell, (number % columns * width, number // columns * height))
    captions = [reference.caption for reference in references if reference.caption]
    return Reference(image=page, caption=f"a page of {len(references)} panels: {'; '.join(captions)}")


class StyleObjective(Objective):
    """Predict the noise of one picture at a level, with the LoRA as the only thing that learns."""

    lora: ImageLora

    def __init__(self, config: StyleConfig, pipe: UniConPipeline, references: Sequence[Reference]):
        super().__init__()
        self.config, self.pipe, self.references = config, pipe, references
        self.schedule = Schedule.from_scheduler(pipe.scheduler)
        self.table = parse_law(config.levels)(self.schedule)
        self.weigh = Weighting.on(self.schedule, config.loss_weight, config.levels, self.table)
        with encoders_on(pipe, PartialState().device or torch.device("cpu")):
            self._encode()
        unet = pipe.unet.requires_grad_(False)
        pipe.unload_style()
        self.unet = unet
        hold(self, "lora", ImageLora.for_unet(unet, config.rank))
        self.lora.metadata = config.card.metadata()
        graft_lora(unet, STYLE, self.lora)

    @torch.no_grad()
    def _encode(self) -> None:
        """Latents and embeddings of all references, in every view."""
        config, pipe = self.config, self.pipe
        size = base_size(pipe.unet, pipe.vae)
        sizes = buckets(config.resolution or size.own_px, size.multiple_px)
        views = [View(), View(flip=True)] if config.flip else [View()]
        self.latents: list[Tensor] = []
        for reference in self.references:
            bucket = nearest(*reference.image.size, sizes)
            seen = [framed(reference.image, bucket, view) for view in views]
            seen = as_pictures(seen, "references").to(pipe.vae.device)
            self.latents.append(encode(pipe.vae, seen).cpu())
        shapes = sorted({tuple(latents.shape) for latents in self.latents})
        self._groups = np.array([shapes.index(tuple(latents.shape)) for latents in self.latents])
        captions = ["", *(reference.caption for reference in self.references)]
        reader = TextReader.of(pipe)
        encoded = reader([str(with_phrases(caption, [config.phrase], reader.fits)) for caption in captions])
        self.bare, self.texts = encoded[0].float().cpu(), encoded[1:].float().cpu()

    @property
    def num_items(self) -> int:
        return len(self.references)

    @property
    def groups(self) -> np.ndarray:
        return self._groups

    def trained(self) -> dict[str, nn.Parameter]:
        return named(self.lora, "lora")

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        num, shape = len(items), self.latents[int(items[0])].shape[1:]
        strata = (torch.arange(num) + torch.rand(num, generator=generator)) / num
        return Draws(
            progress=strata[torch.randperm(num, generator=generator)],
            view=torch.rand(num, generator=generator),
            uncaptioned=torch.rand(num, generator=generator),
            noise=torch.randn(num, *shape, generator=generator),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        noise = draws["noise"].to(self.device)
        views = draws["view"].tolist()
        rows = [self.latents[item] for item in items.tolist()]
        clean = torch.stack([row[int(v * len(row))] for row, v in zip(rows, views, strict=True)])
        dropped = (draws["uncaptioned"] < self.config.caption_dropout)[:, None, None]
        text = torch.where(dropped, self.bare, self.texts[items])
        levels = self.schedule.at_timestep(self.table.timesteps(draws["progress"]))
        levels = levels.to(self.device, torch.float32)
        clean = clean.to(self.device)
        out = joint_forward(
            self.unet,
            add_noise(clean, noise, levels),
            levels.timestep.float(),
            text.to(self.device),
            pairs=[],
            num_branches=1,
        )
        target = network_target(clean, noise, levels, self.schedule.prediction)
        error = (out.float() - target).square().mean(dim=(1, 2, 3))
        return error * self.weigh(levels), {"error": error}

    @torch.no_grad()
    def validate(self) -> tuple[dict[str, float], Image.Image]:
        """Pictures of the same noise with and without the style, beside the references."""
        prompts = list(self.config.prompts)
        rows = {}
        for name, weight in (("without", 0.0), ("with the style", 1.0)):
            set_lora_weight(self.unet, STYLE, weight)
            with encoders_on(self.pipe, self.pipe.unet.device):
                drawn = self.pipe(
                    prompts,
                    num_inference_steps=20,
                    guidance_scale=self.config.guidance_scale,
                    generator=torch.Generator().manual_seed(0),
                )
            rows[name] = list(drawn.images)  # pyright: ignore[reportAttributeAccessIssue]
        references = [picture(np.asarray(r.image)) for r in self.references[: len(prompts)]]
        shown = [*references, *([None] * (len(prompts) - len(references)))]
        sheet = contact_sheet(
            [shown, *rows.values()], row_labels=["learnt from", *rows], column_labels=prompts
        )
        pairs = zip(rows["without"], rows["with the style"], strict=True)
        moved = [np.abs(np.asarray(a, float) - np.asarray(b, float)).mean() / 255 for a, b in pairs]
        return {"changed": float(np.mean(moved))}, sheet

    def export(self, folder: Path) -> None:
        """Write one file named by the style's title, an ordinary LoRA with its card in the header."""
        save_lora(self.lora, folder / f"{_slug(self.config.card.title)}.safetensors")


def _slug(title: str) -> str:
    """A title as a file's stem, which becomes the style's name when it is loaded."""
    return re.sub(r"\W+", "_", title.lower()).strip("_") or STYLE
