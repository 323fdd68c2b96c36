"""How much is spent, and which of it decides about one set of pictures?"""

from __future__ import annotations

from dataclasses import dataclass

STEPS = {"VAE": "vae_steps", "GAN": "gan_steps", "base": "steps", "joint with depth": "steps"}
"""Of which steps a model's pictures depend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much is spent; what decides about a result is part of it."""

    num: int = 120
    """Pictures of each model."""
    reference: int = 1000
    """Training pictures that all are compared with."""
    training: int = 3600
    """Scenes that the VAE and the GAN learn from."""
    steps: int = 10
    """Of the base's and the joint model's sampling."""
    vae_steps: int = 500
    gan_steps: int = 2000
    rare: int = 100
    """Fresh pictures with a rare attribute, and twice as many without."""
    draws: int = 10

    def of_scenes(self) -> dict[str, int]:
        """What decides about scenes alone, whatever models are trained and sampled."""
        return {name: getattr(self, name) for name in ("reference", "training", "rare")}

    def of_model(self, model: str) -> dict[str, int]:
        """What decides about the pictures of one model and what they are compared with."""
        own = ("num", STEPS[model]) if model in STEPS else ("num",)
        return self.of_scenes() | {name: getattr(self, name) for name in own}
