"""At what rates do they train, and where are they kept?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from train.config import LoopConfig, RunConfig
from train.loop import fit

from .gan import Gan
from .latent_models import LatentModel, LatentModelConfig
from .vae import Vae


def trained(kind: str, latents: np.ndarray, steps: int, out: Path) -> LatentModel:
    """A "vae" or "gan" of latents (N, C, 16, 16), trained now or before."""
    config = LatentModelConfig(kind=kind)
    loop = LoopConfig(
        steps=steps, batch_size=32, learning_rate=1e-3 if kind == "vae" else 3e-4, weight_decay=0.0,
        betas=(0.9, 0.99) if kind == "vae" else (0.0, 0.99), clip_norm=1000.0, ema_decay=0.998,
        decay_share=0.3, mixed_precision="no", checkpoint_every=250,
    )  # fmt: skip
    objective, run = {"vae": Vae, "gan": Gan}[kind](config, latents), out / f"{kind}-{steps}"
    if not (run / "export").exists():
        fit(objective, RunConfig(name=kind, objective=config, loop=loop), run)
    objective.made.load_state_dict(load_file(run / "export" / "made.safetensors"))
    return objective.eval()
