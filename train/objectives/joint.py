"""How does an adapter learn to denoise a picture and its condition together?

Each branch gets its own noise level (design: independent), and for a stated share of the pairs one of them is
CLEAN: no noise, no loss, one fixed timestep, and its reading of the other branch is gated off. That last part
is what later lets a run compute a held-clean branch once. A branch that a pair does not have stays at pure
noise, without a loss. The base never trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from adapters import AdapterConfig, JointAdapter, Pair, graft, joint_forward, save_adapter
from train.assemble import base_pipeline, base_place
from train.examples import Encoded, Examples, SceneExamples
from train.latents import TRIGGERS
from train.levels import parse_law
from train.objectives.base import Draws, Objective, among, hold, named
from train.objectives.starting import started
from train.validation import HeldOut, Validator
from train.weights import Weighting, parse_weight
from unicon.cards import Origin, write_card
from unicon.data.scenes import SceneConfig, exact_map, render
from unicon.devices import use_quick_attention
from unicon.pictures import as_pictures
from unicon.pipeline import UniConPipeline
from unicon.ranges import AT_LEAST_1, COUNT, SHARE
from unicon.sampling.levels import Levels, Schedule, add_noise, network_target
from unicon.sheets import picture

VALIDATION_SEED = 700_000
"""First seed of the scenes that runs of the mini family are looked at on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JointConfig:
    """What is the same for every adapter: its size, and how levels and captions are drawn."""

    condition: str
    """What the adapter is for: depth, edge, pose, appearance, or your own."""
    start_from: str = ""
    """An adapter to train on: its folder, OWNER/NAME/FOLDER on the hub, or the name of one of the base's own.
    Rank and all that says what it is are then its own; empty: a fresh one."""
    rank: int = 64
    """Of its low-rank updates: how much it can learn, and how large it is."""
    locality: float = 0.0
    """By how many nats its reads favour their own place at the start (`AdapterConfig.locality`)."""
    clean_timestep: int = 0
    """What the base is told about a CLEAN branch (`AdapterConfig.clean_timestep`)."""
    condition_lora: bool = True
    """Whether the map's own attention is adapted, too; false where maps look as pictures do."""
    skip_blocks: tuple[str, ...] = ()
    """Blocks of the base in which nothing is read, by path or prefix: '["mid_block", "up_blocks.0"]'."""
    pool_keys: int = 1
    """What is read at the top resolution, averaged over windows of this many pixels a side: cheaper."""
    image_levels: str = "uniform"
    """How often the picture's noise levels are trained, see `train.levels`: "normal(-1, 2)", ..."""
    condition_levels: str = "uniform"
    """The same for the map."""
    tied_levels: bool = False
    """Whether both sides always have one level, drawn by `image_levels`; otherwise each has its own."""
    loss_weight: str = "plain"
    """How much the error counts at each noise level, see `train.weights`: "min_snr(5)", ..."""
    clean_image: float = 0.3
    """Share of pairs whose image is CLEAN: what estimation needs."""
    clean_condition: float = 0.25
    """Share of pairs whose condition is CLEAN: what generation from a map needs."""
    caption_dropout: float = 0.2
    """Share of pairs that lose both captions; each branch alone loses its own half as often."""
    bare_photos: float = 0.6
    """Share of pairs with a CLEAN image that lose both captions: a photo to estimate mostly has none."""

    validation_pairs: int = 6
    """Pairs held out to look at (`LoopConfig.validate_every`): at most a tenth of your own, two or none."""
    validation_steps: int = 10
    """Steps of every picture drawn of them."""

    def __post_init__(self):
        SHARE.check_fields(self, "clean_image", "clean_condition", "caption_dropout", "bare_photos")
        COUNT.check_fields(self, "validation_pairs")
        AT_LEAST_1.check_fields(self, "validation_steps", "pool_keys")
        if self.clean_image + self.clean_condition > 1:
            raise ValueError(
                f"clean_image {self.clean_image} + clean_condition {self.clean_condition} must be at most 1"
            )
        for law in (self.image_levels, self.condition_levels):
            parse_law(law)  # raises where it is none
        parse_weight(self.loss_weight)

    def origin(self) -> Origin:
        """For the adapter's card."""
        return Origin()

    def adapter(self, trigger: str) -> AdapterConfig:
        """The adapter's own config."""
        return AdapterConfig(
            condition=self.condition,
            rank=self.rank,
            locality=self.locality,
            clean_timestep=self.clean_timestep,
            condition_lora=self.condition_lora,
            skip_blocks=self.skip_blocks,
            pool_keys=self.pool_keys,
            trigger=trigger,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneJointConfig(JointConfig):
    """An adapter of the mini family, learnt from the family's latent shards."""

    maps: str
    """Array of the latent shards that holds the condition's pictures: depth, edge, pose, second."""
    rank: int = 12
    locality: float = 11.0
    clean_timestep: int = 150
    base: str = "unet/export"
    """UNet and scheduler below the family's folder, or a whole base: mini, or its folder."""
    latents: str = "latents"
    """Folder of encoded pictures and maps, below the family's."""
    num_scenes: int = 8192
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def origin(self) -> Origin:
        return Origin(base="mini", data=f"{self.num_scenes} scenes that unicon renders", licence="apache-2.0")

    def build(self, folder: Path) -> JointObjective:
        """The objective, with base and data below the family's folder."""
        pipe = base_pipeline(folder, self.base)
        start = started(self, pipe, base_place(folder, self.base))
        use_quick_attention(pipe.unet)
        examples = SceneExamples(folder / self.latents, self.maps, self.num_scenes)
        adapter = start or self.adapter(TRIGGERS[self.maps])
        return JointObjective(self, adapter, pipe, examples, self._held_out)

    def _held_out(self) -> HeldOut | None:
        """Scenes that neither training nor evaluation renders."""
        if not self.validation_pairs:
            return None
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + self.validation_pairs)
        scenes = [render(seed, SceneConfig()) for seed in seeds]
        condition = "appearance" if self.maps == "second" else self.maps
        return HeldOut(
            pictures=as_pictures([picture(scene.image) for scene in scenes], "scenes"),
            maps=as_pictures([picture(exact_map(scene, condition)) for scene in scenes], "maps"),
            captions=[scene.caption for scene in scenes],
        )


class JointObjective(Objective):
    """Predict both branches' noise, each from both."""

    adapter: JointAdapter

    def __init__(
        self,
        config: JointConfig,
        adapter: AdapterConfig | JointAdapter,
        pipe: UniConPipeline,
        examples: Examples,
        held_out: Callable[[], HeldOut | None],
    ):
        """`adapter` is trained on, or made anew by its config."""
        super().__init__()
        schedule = Schedule.from_scheduler(pipe.scheduler)
        self.config, self.schedule, self.examples = config, schedule, examples
        self.pipe, self._held_out = pipe, held_out
        self._validator: Validator | None = None
        laws = (config.image_levels, config.image_levels if config.tied_levels else config.condition_levels)
        self.tables = [parse_law(law)(schedule) for law in laws]
        self.weightings = [
            Weighting.on(schedule, config.loss_weight, law, table)
            for law, table in zip(laws, self.tables, strict=True)
        ]
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        unet = pipe.unet.requires_grad_(False)
        self.unet = unet
        fresh = isinstance(adapter, AdapterConfig)
        hold(self, "adapter", JointAdapter.for_unet(unet, adapter) if fresh else adapter)
        self.clean_timestep = self.adapter.config.clean_timestep
        graft(unet, {self.adapter.config.condition: self.adapter})

    @property
    def num_items(self) -> int | None:
        return len(self.examples)

    @property
    def groups(self) -> np.ndarray | None:
        return self.examples.groups

    def trained(self) -> dict[str, nn.Parameter]:
        return named(self.adapter, "adapter")

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        num = len(items)
        shape = self.examples.latent_shape(int(items[0]))
        strata = (torch.arange(num) + torch.rand(2, num, generator=generator)) / num
        order = torch.stack([torch.randperm(num, generator=generator) for _ in range(2)])
        return Draws(
            progress=strata.gather(1, order).T.contiguous(),
            mode=torch.rand(num, generator=generator),
            uncaptioned=torch.rand(num, 3, generator=generator),
            noise=torch.randn(num, 2, *shape, generator=generator),
            **self.examples.draw(generator, num),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        device = self.device
        with torch.autocast(device.type, enabled=False):  # what is encoded now is what a cache would hold
            read = self.examples.read(items, draws)
        held = self._held(draws["mode"], read.present)
        levels = self._levels(draws["progress"].T, held, read.present)
        text = self._texts(read, draws["uncaptioned"], held)
        counts = torch.stack([weigh(levels[branch]) for branch, weigh in enumerate(self.weightings)])
        noise = draws["noise"].transpose(0, 1)
        inputs = (read.latents, noise, text, counts, (read.present & ~held).float())
        clean, noise, text, counts, active = (part.to(device) for part in inputs)
        levels = levels.to(device)
        error = self.errors(clean, noise, levels, text)
        loss = (error * counts * active).sum(0) / active.sum(0)
        return loss, {
            "image": among(error[0], active[0]),
            "condition": among(error[1], active[1]),
        }

    def errors(self, clean: Tensor, noise: Tensor, levels: Levels, texts: Tensor) -> Tensor:
        """Mean squared errors of the network's predictions, (branch, pair), as are the levels.

        Latents and noise (branch, pair, C, h, w), texts (branch, pair, tokens, width). A CLEAN branch does
        not read the other one.
        """
        reads = (~levels.is_clean).float()
        pair = Pair(
            image=0,
            condition=1,
            adapter=self.config.condition,
            image_weight=reads[0],
            condition_weight=reads[1],
        )
        out = joint_forward(
            self.unet,
            add_noise(clean, noise, levels).flatten(0, 1),
            levels.told(self.clean_timestep).flatten().float(),
            texts.flatten(0, 1),
            pairs=[pair],
            num_branches=2,
        )
        target = network_target(clean, noise, levels, self.schedule.prediction)
        return (out.float().unflatten(0, (2, -1)) - target).square().mean(dim=(2, 3, 4))

    def validate(self) -> tuple[dict[str, float], Image.Image] | None:
        """How pairs that are not trained on come out in every direction; None where there are none."""
        if self._validator is None:
            held_out = self._held_out()
            if held_out is None or len(held_out) < 2:  # one pair has no other to be compared with
                return None
            self._validator = Validator(
                pipe=self.pipe,
                condition=self.config.condition,
                held_out=held_out,
                steps=self.config.validation_steps,
            )
        return self._validator(self.errors)

    def _held(self, mode: Tensor, present: Tensor) -> Tensor:
        """Which branch of each pair is CLEAN: bool (branch, pair), never both, and none beside a gap."""
        image = mode < self.config.clean_image
        condition = ~image & (mode < self.config.clean_image + self.config.clean_condition)
        return torch.stack([image, condition]) & present.all(0)

    def _levels(self, progress: Tensor, held: Tensor, present: Tensor) -> Levels:
        if self.config.tied_levels:
            progress = progress[:1].expand(2, -1)
        drawn = torch.stack([table.timesteps(u) for table, u in zip(self.tables, progress, strict=True)])
        timestep = torch.where(present, drawn, self.schedule.last_timestep)
        levels = self.schedule.at_timestep(timestep)
        return levels.to(dtype=torch.float32).clean_where(held)

    def _texts(self, read: Encoded, uncaptioned: Tensor, held: Tensor) -> Tensor:
        """Prompt embeddings (branch, pair, tokens, width)."""
        both = uncaptioned[:, 0] < torch.where(held[0], self.config.bare_photos, self.config.caption_dropout)
        alone = (uncaptioned < self.config.caption_dropout / 2).T[1:]
        return torch.where((both | alone)[..., None, None], read.bare[:, None], read.texts)

    def export(self, folder: Path) -> None:
        """Write the adapter's folder: config.json, adapter.safetensors and a card."""
        save_adapter(self.adapter, folder)
        origin = replace(self.config.origin(), commit=self.pipe.commit or "")
        write_card(folder, self.adapter.config, origin=origin)
