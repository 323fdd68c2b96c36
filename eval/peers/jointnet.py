"""How does JointNet (Zhang et al. 2024, arXiv 2310.06347) join two branches?

A trained copy of the whole UNet denoises the map beside the frozen one, which denoises the picture, both
always at one level. Each encoder's features go into the other's decoder, and each latent into the other's
input, through convolutions that start at zero; those of both sides are trained. Where the authors' models are
tuned once more with masked inputs to hold one side, this one replaces (`Peer.holds`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_2d_blocks import CrossAttnDownBlock2D, CrossAttnUpBlock2D
from safetensors.torch import load_file
from torch import Tensor, nn

from adapters.files import write_tensors
from eval.peers.peer import CONDITION, IMAGE, PeerInput, Specialist
from unicon.devices import use_quick_attention

TALK = "talk.safetensors"


class JointNet(Specialist):
    """A picture and its map together."""

    KIND = "jointnet"
    own = ("joint",)
    holds = False

    def __init__(self, unet: nn.Module, network: UNet2DConditionModel):
        super().__init__()
        self.unet: Any = unet.requires_grad_(False)
        self.network = network
        self.heard_by_image, self.heard_by_map = Talk(network), Talk(network)
        use_quick_attention(network)

    @classmethod
    def on(cls, unet: Any, factor: int) -> JointNet:
        return cls(unet, copy.deepcopy(unet).requires_grad_(True))

    @classmethod
    def load(cls, folder: Path, unet: nn.Module) -> JointNet:
        made = cls(unet, UNet2DConditionModel.from_pretrained(folder / "unet"))
        made.talk.load_state_dict(load_file(folder / TALK))
        return made

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder / "unet")
        write_tensors(folder / TALK, {n: t.cpu() for n, t in self.talk.state_dict().items()}, {})

    @property
    def talk(self) -> nn.ModuleDict:
        """What each branch hears from the other."""
        return nn.ModuleDict({"image": self.heard_by_image, "map": self.heard_by_map})

    def forward(self, asked: PeerInput) -> Tensor:
        image = encode(self.unet, asked, IMAGE, self.heard_by_image.latent(asked.x[CONDITION]))
        condition = encode(self.network, asked, CONDITION, self.heard_by_map.latent(asked.x[IMAGE]))
        return torch.stack(
            [
                decode(self.unet, self.heard_by_image.features(image, condition)),
                decode(self.network, self.heard_by_map.features(condition, image)),
            ]
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Features:
    """One UNet half-way: what its encoder found, and what its decoder needs."""

    skips: tuple[Tensor, ...]
    middle: Tensor
    time: Tensor
    text: Tensor


class Talk(nn.Module):
    """Convolutions that start at zero, from one branch to the other."""

    def __init__(self, unet: UNet2DConditionModel):
        super().__init__()
        widths = skip_widths(unet)
        self.latent = _silent(nn.Conv2d(unet.config["in_channels"], widths[0], 3, padding=1))
        self.skips = nn.ModuleList([_silent(nn.Conv2d(width, width, 1)) for width in widths])
        self.middle = _silent(nn.Conv2d(widths[-1], widths[-1], 1))

    def features(self, own: Features, other: Features) -> Features:
        """A branch's own features with what it hears of the other's."""
        heard = [layer(skip) for layer, skip in zip(self.skips, other.skips, strict=True)]
        skips = tuple(mine + more for mine, more in zip(own.skips, heard, strict=True))
        return replace(own, skips=skips, middle=own.middle + self.middle(other.middle))


def skip_widths(unet: UNet2DConditionModel) -> list[int]:
    """Channels of every feature that an encoder hands to its decoder, in order."""
    channels, layers = unet.config["block_out_channels"], unet.config["layers_per_block"]
    widths = [channels[0]]
    for index, width in enumerate(channels):
        halves = index + 1 < len(channels)
        widths += [width] * (layers + halves)
    return widths


def encode(unet: Any, asked: PeerInput, branch: int, heard: Tensor) -> Features:
    """The first half of a diffusers UNet; `heard` is added behind its input convolution."""
    x, text = asked.x[branch], asked.texts[branch]
    time = unet.time_embedding(unet.time_proj(asked.timesteps(branch)).to(x.dtype))
    hidden = unet.conv_in(x) + heard
    skips = [hidden]
    for block in unet.down_blocks:
        told = {"encoder_hidden_states": text} if isinstance(block, CrossAttnDownBlock2D) else {}
        hidden, more = block(hidden_states=hidden, temb=time, **told)
        skips += more
    middle = unet.mid_block(hidden, time, encoder_hidden_states=text)
    return Features(skips=tuple(skips), middle=middle, time=time, text=text)


def decode(unet: Any, found: Features) -> Tensor:
    """The second half."""
    hidden, left = found.middle, list(found.skips)
    for block in unet.up_blocks:
        told = {"encoder_hidden_states": found.text} if isinstance(block, CrossAttnUpBlock2D) else {}
        own = [left.pop() for _ in block.resnets][::-1]
        hidden = block(hidden_states=hidden, temb=found.time, res_hidden_states_tuple=tuple(own), **told)
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
