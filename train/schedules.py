"""How does the learning rate change over a run?"""

from __future__ import annotations

import math

from train.config import LoopConfig


def rate_share(loop: LoopConfig, step: int) -> float:
    """Share of the full learning rate: warm-up, stable, decay (Hu et al. 2024), as a line or as half a cosine
    (Loshchilov & Hutter 2017).

    The stable phase can be continued for longer later.
    """
    warm = min(1.0, (step + 1) / max(1, loop.warmup_steps))
    decay_steps = loop.decay_share * loop.steps
    left = min(1.0, max(0.0, (loop.steps - step) / decay_steps)) if decay_steps else 1.0
    return min(warm, left if loop.decay == "linear" else (1 - math.cos(math.pi * left)) / 2)
