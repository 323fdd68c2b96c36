"""Which data and which random numbers does a step see?

Both are functions of (seed, step) alone, drawn for the whole global batch and then sliced by process and
micro-batch. So resuming, accumulating or changing the number of processes cannot change a trajectory.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from named parts; stable over processes and Python versions."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of everything random in one step (levels, noise, dropout, augmentation)."""
    return torch.Generator().manual_seed(seed_of(seed, "step", step))


def batch_items(seed: int, step: int, batch_size: int, num_items: int) -> np.ndarray:
    """Indices of the global batch of `step`: consecutive slices of one shuffle per epoch, none skipped."""
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs, offsets = np.divmod(positions, num_items)
    items = np.empty(batch_size, dtype=np.int64)
    for epoch in np.unique(epochs):
        order = np.random.default_rng(seed_of(seed, "epoch", int(epoch))).permutation(num_items)
        here = epochs == epoch
        items[here] = order[offsets[here]]
    return items
