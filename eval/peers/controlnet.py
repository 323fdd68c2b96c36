"""What does ControlNet (Zhang et al. 2023) add to a base?

diffusers' own: a trained copy of the UNet's encoder that sees the map as a picture through a small
convolutional embedding, and speaks to the frozen decoder through convolutions that start at zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import ControlNetModel
from torch import Tensor, nn

from eval.peers.peer import IMAGE, PeerInput, Specialist, said_of
from unicon.devices import use_quick_attention

EMBEDDING = (16, 32, 96, 256)
"""Channels of the map's embedding, diffusers' own: each after the first halves the side."""


class ControlNet(Specialist):
    """A picture from its map."""

    KIND = "controlnet"
    own = ("generate",)
    sees_pictures = True

    def __init__(self, unet: nn.Module, network: ControlNetModel):
        super().__init__()
        self.unet: Any = unet.requires_grad_(False)
        self.network = network
        use_quick_attention(network)

    @classmethod
    def on(cls, unet: Any, factor: int) -> ControlNet:
        channels = EMBEDDING[: factor.bit_length()]  # one more than there are halvings
        return cls(unet, ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=channels))

    @classmethod
    def load(cls, folder: Path, unet: nn.Module) -> ControlNet:
        return cls(unet, ControlNetModel.from_pretrained(folder / "controlnet"))

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder / "controlnet")

    def forward(self, asked: PeerInput) -> Tensor:
        x, told, text = asked.x[IMAGE], asked.timesteps(IMAGE), asked.texts[IMAGE]
        assert asked.maps is not None, "a ControlNet is given its map as a picture"
        skips, middle = self.network(x, told, text, controlnet_cond=asked.maps, return_dict=False)
        out = self.unet(
            x,
            told,
            text,
            down_block_additional_residuals=skips,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return said_of(IMAGE, out)
