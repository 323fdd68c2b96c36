"""How does a specialised peer learn its one direction?

As its authors train it, on the pairs that the joint adapter sees (`train.objectives.joint`): what is given is
CLEAN, what is asked for has a noise level, and a peer for both at once has one level for both. The error is
that of the network's own parameterisation, over what is asked for. Which networks there are: `eval.peers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eval.peers.peer import CONDITION, GIVEN, IMAGE, PeerInput, Specialist
from eval.peers.store import PeerCard, save_peer, specialist
from train.assemble import base_pipeline
from train.examples import Encoded, SceneExamples
from train.latents import TRIGGERS
from train.levels import parse_law
from train.objectives.base import Draws, Objective
from train.shards import Shards, open_shards
from unicon.devices import use_quick_attention
from unicon.latents import downscale
from unicon.pictures import as_pictures
from unicon.ranges import SHARE
from unicon.sampling.levels import Levels, Schedule, add_noise, network_target


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerConfig:
    """One peer for one condition of the mini family."""

    peer: str
    """controlnet, t2i, marigold or jointnet (`eval.peers.store`)."""
    maps: str = "depth"
    """The condition, and the array of the shards that holds its maps: depth, edge or pose."""
    levels: str = "uniform"
    """How often noise levels are trained, see `train.levels`."""
    caption_dropout: float = 0.2
    """Share of pairs that lose their captions. A map is always estimated without."""
    base: str = "unet/export"
    """UNet and scheduler below the family's folder, or a whole base: mini, or its folder."""
    latents: str = "latents"
    """Folder of encoded scenes, below the family's."""
    scenes: str = "scenes"
    """Rendered scenes that the latents are of: for peers that read maps as pictures."""
    num_scenes: int = 8192
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def __post_init__(self) -> None:
        specialist(self.peer)
        parse_law(self.levels)
        if self.maps not in ("depth", "edge", "pose"):
            raise ValueError(f"maps is {self.maps!r}; expected depth, edge or pose")
        SHARE.check_fields(self, "caption_dropout")

    def build(self, folder: Path) -> PeerObjective:
        """The objective, with base and data below the family's folder."""
        pipe = base_pipeline(folder, self.base)
        use_quick_attention(pipe.unet)
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        peer = specialist(self.peer).on(pipe.unet, downscale(pipe.vae))
        examples = SceneExamples(folder / self.latents, self.maps, self.num_scenes)
        pictures = open_shards(folder / self.scenes, self.num_scenes) if peer.sees_pictures else None
        return PeerObjective(self, peer, Schedule.from_scheduler(pipe.scheduler), examples, pictures)


class PeerObjective(Objective):
    """Predict what is asked for from what is given."""

    def __init__(
        self,
        config: PeerConfig,
        peer: Specialist,
        schedule: Schedule,
        examples: SceneExamples,
        pictures: Shards | None,
    ):
        """Raises ValueError for rendered scenes that are not those of the latents."""
        super().__init__()
        if pictures is not None and pictures.captions != examples.scenes.captions:
            raise ValueError(
                f"--scenes {config.scenes} holds other scenes ({len(pictures)}) than --latents "
                f"{config.latents} ({len(examples)}); name the folder that the latents were encoded from"
            )
        self.config, self.peer, self.schedule = config, peer, schedule
        self.examples, self.pictures = examples, pictures
        self.table = parse_law(config.levels)(schedule)
        (self.direction,) = peer.own
        self.asked_for = [b for b in (IMAGE, CONDITION) if b != GIVEN.get(self.direction)]

    @property
    def num_items(self) -> int:
        return len(self.examples)

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        num = len(items)
        strata = (torch.arange(num) + torch.rand(num, generator=generator)) / num
        return Draws(
            progress=strata[torch.randperm(num, generator=generator)],
            uncaptioned=torch.rand(num, generator=generator),
            noise=torch.randn(num, 2, *self.examples.latent_shape(0), generator=generator),
            **self.examples.draw(generator, num),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        read, device = self.examples.read(items, draws), self.device
        levels = self._levels(draws["progress"]).to(device)
        clean, noise = read.latents.to(device), draws["noise"].transpose(0, 1).to(device)
        asked = PeerInput(
            x=add_noise(clean, noise, levels),
            levels=levels,
            texts=self._texts(read, draws["uncaptioned"]).to(device),
            maps=self._maps(self.examples.rows(items, draws)),
        )
        target = network_target(clean, noise, levels, self.schedule.prediction)
        error = (self.peer(asked).float() - target)[self.asked_for].square().mean(dim=(2, 3, 4))
        names = {IMAGE: "image", CONDITION: "condition"}
        return error.mean(0), {names[b]: e for b, e in zip(self.asked_for, error, strict=True)}

    def _levels(self, progress: Tensor) -> Levels:
        """One level for what is asked for, CLEAN for what is given, (branch, pair)."""
        levels = self.schedule.at_timestep(self.table.timesteps(progress).expand(2, -1))
        given = torch.zeros(2, len(progress), dtype=torch.bool)
        if self.direction in GIVEN:
            given[GIVEN[self.direction]] = True
        return levels.to(dtype=torch.float32).clean_where(given)

    def _texts(self, read: Encoded, uncaptioned: Tensor) -> Tensor:
        """Prompt embeddings (branch, pair, tokens, width)."""
        share = 1.0 if self.direction == "estimate" else self.config.caption_dropout
        return torch.where((uncaptioned < share)[None, :, None, None], read.bare[:, None], read.texts)

    def _maps(self, rows: np.ndarray) -> Tensor | None:
        """Exact maps as pictures (pair, 3, H, W), for a peer that reads them."""
        if self.pictures is None:
            return None
        return as_pictures(list(self.pictures.gather(self.config.maps, rows)), "maps").to(self.device)

    def export(self, folder: Path) -> None:
        """Write the network in its library's layout, and what it is."""
        trigger = TRIGGERS[self.config.maps]
        save_peer(
            self.peer,
            PeerCard(kind=self.config.peer, condition=self.config.maps, trigger=trigger),
            folder,
        )
