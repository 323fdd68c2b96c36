"""How is a peer sampled, in every direction, by the base's own solver and grid?

A reader of maps and a painter of pictures, as the protocols take them, around any peer. Prompts, noise,
levels and steps are exactly those of the pipeline's own call (`readers.PipelineReader`, `drawing.Painter`): a
joint adapter sampled here gives what the pipeline gives. No guidance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from eval.peers.peer import CONDITION, GIVEN, IMAGE, Direction, Peer, PeerInput
from eval.protocols.drawing import Drawings, as_bytes
from eval.protocols.readers import Readings, generators
from eval.protocols.scene_set import SceneSet
from unicon.branch import IMAGE as IMAGE_NAME
from unicon.latents import decode, encode
from unicon.pictures import as_array, as_pictures
from unicon.pipeline import UniConPipeline
from unicon.sampling.levels import Levels, Schedule, clean_estimate
from unicon.sampling.loop import sample, start
from unicon.sampling.noise import NoiseSource
from unicon.sampling.plans import BranchPlan, Known, Plan, Trajectory, hold, run
from unicon.sampling.solvers import solver_from_scheduler


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PeerSampler:
    """One peer for one condition, with everything that all peers share: the pipeline of their base."""

    pipe: UniConPipeline
    """Its VAE, text encoder and scheduler, and the number format of its UNet."""
    peer: Peer
    condition: str
    trigger: str
    """Words before the prompt of a map."""
    steps: int
    batch_size: int = 16
    name: str = "peer"

    @torch.no_grad()
    def read(self, pictures: np.ndarray, condition: str, keys: Sequence[int], seed: int) -> Readings:
        """Maps of (n, H, W, 3) uint8 pictures, without prompts."""
        self._check(condition, "estimate")
        maps = []
        for span in self._spans(len(pictures), f"{self.name}: estimating {condition}"):
            latents = {IMAGE: encode(self.pipe.vae, self._placed(pictures[span]))}
            prompts = [""] * len(keys[span])
            found = self._run("estimate", prompts, latents, None, keys[span], seed)
            maps.append(as_array(decode(self.pipe.vae, found[CONDITION])).astype(np.float16))
        return Readings(maps=np.concatenate(maps))

    @torch.no_grad()
    def generate(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures from each scene's exact map and its caption."""
        self._check(condition, "generate")
        drawn, exact, keys = [], scenes.maps(condition), scenes.seeds.tolist()
        for span in self._spans(len(scenes), f"{self.name}: generating from {condition}"):
            maps = self._placed(exact[span])
            latents = {CONDITION: encode(self.pipe.vae, maps)}
            found = self._run("generate", scenes.captions[span], latents, maps, keys[span], seed)
            drawn.append(self._picture(found))
        return Drawings(pictures=np.concatenate(drawn))

    @torch.no_grad()
    def joint(self, scenes: SceneSet, condition: str, seed: int) -> Drawings:
        """Pictures and maps from noise, with each scene's caption."""
        self._check(condition, "joint")
        drawn, maps, keys = [], [], scenes.seeds.tolist()
        for span in self._spans(len(scenes), f"{self.name}: generating pictures with {condition}"):
            found = self._run("joint", scenes.captions[span], {}, None, keys[span], seed)
            drawn.append(self._picture(found))
            maps.append(as_array(decode(self.pipe.vae, found[CONDITION])).astype(np.float16))
        return Drawings(pictures=np.concatenate(drawn), maps=np.concatenate(maps))

    def _check(self, condition: str, direction: Direction) -> None:
        if condition != self.condition or direction not in self.peer.directions:
            raise ValueError(
                f"{self.name} was asked to {direction} {condition!r}; it knows {self.condition!r}, and can "
                f"{', '.join(self.peer.directions)}"
            )

    def _run(
        self,
        direction: Direction,
        prompts: Sequence[str],
        given: Mapping[int, Tensor],
        maps: Tensor | None,
        keys: Sequence[int],
        seed: int,
    ) -> Tensor:
        """Latents (2, sample, C, h, w) at the end of a run; `given` clean latents by branch."""
        noise = NoiseSource.from_generator(generators(keys, seed, direction), len(keys))
        trajectory = self._trajectory(direction, given)
        clean = {self._names[branch]: latents for branch, latents in given.items()}
        device = self.pipe.unet.device
        x = start(trajectory, clean, noise, (len(keys), *self._latent_shape), device=device)
        solver, _ = solver_from_scheduler(self.pipe.scheduler)
        texts = self.pipe.encode_prompts([*prompts, *(self.trigger + prompt for prompt in prompts)])
        denoise = self._denoiser(texts.unflatten(0, (2, -1)), maps)
        return sample(denoise, x, trajectory, solver, noise)

    def _denoiser(self, texts: Tensor, maps: Tensor | None):
        prediction = Schedule.from_scheduler(self.pipe.scheduler).prediction
        dtype = self.pipe.unet.dtype
        texts = texts.to(dtype)
        maps = None if maps is None else maps.to(dtype)

        def denoise(x: Tensor, levels: Levels) -> Tensor:
            each = Levels(
                alpha=levels.alpha[:, None].expand(x.shape[:2]),
                sigma=levels.sigma[:, None].expand(x.shape[:2]),
                timestep=levels.timestep[:, None].expand(x.shape[:2]),
            )
            output = self.peer(PeerInput(x=x.to(dtype), levels=each, texts=texts, maps=maps))
            return clean_estimate(output.to(x.dtype), x, levels, prediction)

        return denoise

    def _trajectory(self, direction: Direction, given: Mapping[int, Tensor]) -> Trajectory:
        """What is given is held CLEAN, or by a peer that cannot, known at the other's level."""
        _, spacing = solver_from_scheduler(self.pipe.scheduler)
        grid = spacing.grid(Schedule.from_scheduler(self.pipe.scheduler), self.steps)
        plans = [self._plan(branch, given) for branch in (IMAGE, CONDITION)]
        assert direction == "joint" or set(given) == {GIVEN[direction]}
        return Plan(tuple(plans)).resolve(grid)

    def _plan(self, branch: int, given: Mapping[int, Tensor]) -> BranchPlan:
        name = self._names[branch]
        if branch not in given:
            return run(name)
        if self.peer.holds:
            return hold(name)
        return run(name, known=Known(clean=given[branch], mask=torch.zeros_like(given[branch])))

    @property
    def _names(self) -> tuple[str, str]:
        return (IMAGE_NAME, self.condition)

    @property
    def _latent_shape(self) -> tuple[int, int, int]:
        unet = self.pipe.unet.config
        return (unet["in_channels"], unet["sample_size"], unet["sample_size"])

    def _placed(self, pictures: np.ndarray) -> Tensor:
        """(n, 3, H, W) in [0, 1] where the networks are; ValueError unless of the base's own size."""
        placed = as_pictures(pictures, "pictures").to(self.pipe.unet.device)
        side = self._latent_shape[1] * self.pipe.vae_scale_factor
        if tuple(placed.shape[-2:]) != (side, side):
            raise ValueError(
                f"pictures are {tuple(placed.shape[-2:])} (height, width); peers are sampled in the base's "
                f"own size, {side} x {side}"
            )
        return placed

    def _picture(self, found: Tensor) -> np.ndarray:
        return as_bytes(as_array(decode(self.pipe.vae, found[IMAGE])))

    def _spans(self, num: int, title: str) -> Iterator[slice]:
        for first in tqdm(range(0, num, self.batch_size), desc=title, unit="batch", leave=False):
            yield slice(first, first + self.batch_size)
