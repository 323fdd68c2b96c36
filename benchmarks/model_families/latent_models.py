"""What do models of latents that are trained here share?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from train.objectives.base import Draws, Objective

from .networks import FromCode, ToCode


@dataclass(frozen=True, kw_only=True, slots=True)
class LatentModelConfig:
    """A VAE or a GAN of latents."""

    kind: str
    code: int = 128
    """Width of the code."""


class LatentModel(Objective):
    """Latents (N, C, 16, 16), of deviation 1 to the networks, from normal codes."""

    def __init__(self, config: LatentModelConfig, latents: np.ndarray, *, seen: int):
        """`seen` numbers are what its second network makes of latents."""
        super().__init__()
        self.config, self.latents = config, latents
        self.deviation = float(latents.std(dtype=np.float64))
        torch.manual_seed(0)
        self.made = FromCode(config.code, latents.shape[1])
        self.own = ToCode(seen, latents.shape[1])

    @property
    def num_items(self) -> int:
        return len(self.latents)

    def draw(self, generator: torch.Generator, items: Tensor) -> Draws:
        return Draws(code=torch.randn(len(items), self.config.code, generator=generator))

    def real(self, items: np.ndarray) -> Tensor:
        """As the networks see them."""
        chosen = torch.from_numpy(np.asarray(self.latents[items], dtype=np.float32)).to(self.device)
        return chosen / self.deviation

    @torch.no_grad()
    def sample(self, num: int, seed: int) -> Tensor:
        """Latents (num, C, 16, 16), as the decoder takes them."""
        code = torch.randn(num, self.config.code, generator=torch.Generator().manual_seed(seed))
        return self.made(code) * self.deviation

    def export(self, folder: Path) -> None:
        save_file({k: v.contiguous() for k, v in self.made.state_dict().items()}, folder / "made.safetensors")
