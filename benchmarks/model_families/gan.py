"""How is a GAN of latents trained?"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from train.objectives.base import Draws

from .latent_models import LatentModel, LatentModelConfig


class Gan(LatentModel):
    """Relativistic, with zero-centred penalties on both sides (Huang et al. 2024, "R3GAN").

    Both players step at once: the generator's loss sees the critic's weights as they are, detached.
    """

    penalty = 10.0
    """With R3GAN's 1 the critic wins: its loss is 0.06 after 1 000 steps, the generator's 5."""

    def __init__(self, config: LatentModelConfig, latents: np.ndarray):
        super().__init__(config, latents, seen=1)

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        real = self.real(items)
        made = self.made(draws["code"].to(self.device))
        of_real, of_made = self.own(real)[:, 0], self.own(made.detach())[:, 0]
        penalty = self._penalty(real, made.detach())
        frozen = {name: p.detach() for name, p in self.own.named_parameters()}
        fooled = torch.func.functional_call(self.own, frozen, (made,))[:, 0]
        critic = F.softplus(of_made - of_real) + 0.5 * self.penalty * penalty
        maker = F.softplus(of_real.detach() - fooled)
        return critic + maker, {"critic": critic, "maker": maker, "penalty": penalty}

    def _penalty(self, real: Tensor, made: Tensor) -> Tensor:
        """Squared slopes of the critic, per picture (n,): of every fourth, which count for four."""
        few = [each[::4].clone().requires_grad_() for each in (real, made)]
        slopes = torch.autograd.grad(sum(self.own(each).sum() for each in few), few, create_graph=True)
        penalty = torch.zeros(len(real), device=real.device)
        penalty[::4] = 4 * sum(slope.square().flatten(1).sum(1) for slope in slopes)
        return penalty
