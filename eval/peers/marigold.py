"""How does Marigold (Ke et al. 2024) make an estimator of a base?

A copy of the whole UNet, every weight of it trained, whose input convolution is doubled to see the picture's
clean latent beside the noisy one of the map, and halved so that its answers start at the same scale. Left out
of its recipe: noise of several resolutions, and the ensemble.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from eval.peers.peer import CONDITION, IMAGE, PeerInput, Specialist, said_of
from unicon.devices import use_quick_attention


class Marigold(Specialist):
    """A map from its picture."""

    KIND = "marigold"
    own = ("estimate",)

    def __init__(self, network: UNet2DConditionModel):
        super().__init__()
        self.network = network
        use_quick_attention(network)

    @classmethod
    def on(cls, unet: Any, factor: int) -> Marigold:
        network = copy.deepcopy(unet).requires_grad_(True)
        network.conv_in = doubled(network.conv_in)
        network.register_to_config(in_channels=network.conv_in.in_channels)
        return cls(network)

    @classmethod
    def load(cls, folder: Path, unet: nn.Module) -> Marigold:
        return cls(UNet2DConditionModel.from_pretrained(folder / "unet"))

    def save(self, folder: Path) -> None:
        self.network.save_pretrained(folder / "unet")

    def forward(self, asked: PeerInput) -> Tensor:
        both = torch.cat([asked.x[IMAGE], asked.x[CONDITION]], dim=1)
        out = self.network(both, asked.timesteps(CONDITION), asked.texts[CONDITION], return_dict=False)[0]
        return said_of(CONDITION, out)


def doubled(layer: nn.Conv2d) -> nn.Conv2d:
    """An input convolution for two latents that answers to a latent beside itself as before."""
    wide = nn.Conv2d(
        2 * layer.in_channels,
        layer.out_channels,
        kernel_size=layer.kernel_size,  # pyright: ignore[reportArgumentType]
        padding=layer.padding,  # pyright: ignore[reportArgumentType]
    )
    with torch.no_grad():
        wide.weight.copy_(layer.weight.repeat(1, 2, 1, 1) / 2)
        assert wide.bias is not None
        assert layer.bias is not None
        wide.bias.copy_(layer.bias)
    return wide
