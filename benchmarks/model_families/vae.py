"""How is a VAE of latents trained?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from train.objectives.base import Draws

from .latent_models import LatentModel, LatentModelConfig


class Vae(LatentModel):
    """With the decoder's deviation learnt (Rybkin et al. 2021), so that nothing weighs its two terms."""

    def __init__(self, config: LatentModelConfig, latents: np.ndarray):
        super().__init__(config, latents, seen=2 * config.code)
        self.log_deviation = nn.Parameter(torch.zeros(()))

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        real = self.real(items)
        mean, log_variance = self.own(real).chunk(2, dim=1)
        log_variance = log_variance.clamp(-12, 6)
        code = mean + (log_variance / 2).exp() * draws["code"].to(self.device)
        square = (self.made(code) - real).square().flatten(1)
        surprise = (square / (2 * self.log_deviation).exp() / 2 + self.log_deviation).sum(1)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        return (surprise + divergence) / square.shape[1], {"square": square.mean(1), "nats": divergence}
