"""What must a model offer to be sampled, trained and measured like all others?

One function: what it may see of both branches, in; what its network says about them, out. Levels, solvers,
captions, noise and autoencoder are then the same for every peer (`eval.peers.sampling`), and only networks
differ. How each is built is a file of its own.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from unicon.sampling.levels import Levels

Direction = Literal["generate", "estimate", "joint"]
"""generate: a picture from its map; estimate: a map from its picture; joint: both from noise."""
DIRECTIONS: tuple[Direction, ...] = ("generate", "estimate", "joint")
IMAGE, CONDITION = 0, 1
"""Indices of the branches."""
GIVEN: dict[Direction, int] = {"generate": CONDITION, "estimate": IMAGE}
"""The branch that is given, by direction."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PeerInput:
    """What a network may see. The first dimension is the branch, image and condition."""

    x: Tensor
    """Noisy latents (2, sample, C, h, w); clean where the level is CLEAN."""
    levels: Levels
    """Of every latent, (2, sample)."""
    texts: Tensor
    """Embeddings of the caption, the condition's behind its trigger words, (2, sample, tokens, width)."""
    maps: Tensor | None = None
    """The map as a picture, (sample, 3, H, W) in [0, 1], where it is given and the peer `sees_pictures`."""

    def timesteps(self, branch: int) -> Tensor:
        """What a network is told about the latents of one branch, float32 (sample,)."""
        return self.levels.timestep[branch].to(self.x.device, torch.float32)


class Peer(nn.Module, abc.ABC):
    """A model for one or several directions on a frozen base."""

    own: tuple[Direction, ...]
    """The directions it is trained for."""
    holds: bool = True
    """Whether a branch can be given CLEAN while the other is noisy. Otherwise both always have one level, and
    what is given is put back at the other's level after every step."""
    sees_pictures: bool = False
    """Whether it reads a given map as a picture rather than as a latent."""

    @abc.abstractmethod
    def forward(self, asked: PeerInput) -> Tensor:
        """The network's output for both branches, (2, sample, C, h, w), in the base's parameterisation; zero
        for a branch that it says nothing about."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Those it can be asked for: its own, and with replacement all."""
        return self.own if self.holds else DIRECTIONS


class Specialist(Peer):
    """A peer that is trained as a network of its own, and for one direction."""

    KIND: ClassVar[str]
    """Its name in recipes and files."""

    @classmethod
    @abc.abstractmethod
    def on(cls, unet: nn.Module, factor: int) -> Specialist:
        """A new one on a base's UNet, as its authors start it. `factor`: pixels per latent cell and side."""

    @classmethod
    @abc.abstractmethod
    def load(cls, folder: Path, unet: nn.Module) -> Specialist:
        """A trained one."""

    @abc.abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was trained."""


def said_of(branch: int, output: Tensor) -> Tensor:
    """One branch's output (sample, ...) as that of both, with nothing said about the other."""
    nothing = torch.zeros_like(output)
    return torch.stack([output, nothing] if branch == IMAGE else [nothing, output])
