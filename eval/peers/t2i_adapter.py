"""What does T2I-Adapter (Mou et al. 2023) add to a base?

diffusers' own: a small convolutional network that turns the map, as a picture, into one feature map per block
of the frozen encoder, once for all steps. Nothing in it starts at zero.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffusers import T2IAdapter
from torch import Tensor, nn

from eval.peers.peer import IMAGE, PeerInput, Specialist, said_of


class T2I(Specialist):
    """A picture from its map."""

    KIND = "t2i"
    own = ("generate",)
    sees_pictures = True

    def __init__(self, unet: nn.Module, network: T2IAdapter):
        super().__init__()
        self.unet: Any = unet.requires_grad_(False)
        self.network = network

    @classmethod
    def on(cls, unet: Any, factor: int) -> T2I:
        widths = list(unet.config["block_out_channels"])
        return cls(unet, T2IAdapter(channels=widths, downscale_factor=factor))

    @classmethod
    def load(cls, folder: Path, unet: nn.Module) -> T2I:
        return cls(unet, T2IAdapter.from_pretrained(folder / "adapter"))

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder / "adapter")

    def forward(self, asked: PeerInput) -> Tensor:
        assert asked.maps is not None, "a T2I-Adapter is given its map as a picture"
        features = self.network(asked.maps)  # a list, of which the UNet takes one after the other
        x, told, text = asked.x[IMAGE], asked.timesteps(IMAGE), asked.texts[IMAGE]
        out = self.unet(x, told, text, down_intrablock_additional_residuals=features, return_dict=False)[0]
        return said_of(IMAGE, out)
