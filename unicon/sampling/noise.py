"""Where does randomness come from?

Every noise tensor is a pure function of (seed of the sample, branch name, step): adding a condition,
changing the batch size or the order of branches leaves all other noise as it was. It is drawn on the CPU in
float32 and moved, so every device gets the same. Global random state is neither read nor changed, unless no
seed or generator is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

INITIAL = -1
"""The step of the noise a branch starts from."""


@dataclass(frozen=True, slots=True)
class NoiseSource:
    """Noise for a batch, one seed per sample."""

    seeds: tuple[int, ...]

    @classmethod
    def from_seed(cls, seed: int, num_samples: int) -> NoiseSource:
        """Sample i of a seed is the same picture in a batch of any size."""
        return cls(tuple(stable_hash(seed, "sample", i) for i in range(num_samples)))

    @classmethod
    def from_generator(
        cls, generator: torch.Generator | Sequence[torch.Generator] | None, num_samples: int
    ) -> NoiseSource:
        """One seed per sample, drawn from diffusers' usual `generator` argument, which it advances.

        A list gives each sample its own generator; a single one is drawn from once per sample, in order;
        None draws from torch's global generator. A second call with the same generator gives other
        pictures, and a re-seeded generator the same ones.
        """
        if generator is None or isinstance(generator, torch.Generator):
            return cls(tuple(_draw_seed(generator) for _ in range(num_samples)))
        if len(generator) != num_samples:
            raise ValueError(
                f"got {len(generator)} generators for {num_samples} samples; give one, or one per sample"
            )
        return cls(tuple(_draw_seed(one) for one in generator))

    def draw(self, branch: str, step: int, shape: Sequence[int]) -> Tensor:
        """Standard normal noise [sample, *shape] for a branch at a step; float32, on the CPU."""
        return torch.stack([_normal(stable_hash(seed, branch, step), shape) for seed in self.seeds])


def stable_hash(*parts: int | str) -> int:
    """63 bits from the parts, the same in every process and version (unlike Python's `hash`)."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _normal(seed: int, shape: Sequence[int]) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def _draw_seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**63 - 1, (), generator=generator, device=device))
