"""How many samples does a call run, and how is what was given spread over them?

Samples lie in the order (input, image of that input, member of its ensemble). What the inputs are is the
caller's business: prompts, pictures, embeddings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The samples of one call."""

    inputs: int
    images_per_input: int = 1
    members: int = 1
    """Size of the ensemble of every image."""

    @classmethod
    def of(cls, counts: Mapping[str, int], images_per_input: int, members: int) -> Batch:
        """The batch for so many of each given thing: 1, which serves all, or as many as of the others."""
        num = max(counts.values(), default=1)
        if wrong := {name: count for name, count in counts.items() if count not in (1, num)}:
            raise ValueError(f"{wrong} do not fit the largest of {dict(counts)}: give 1 or {num} of each")
        return cls(inputs=num, images_per_input=images_per_input, members=members)

    @property
    def copies(self) -> int:
        """Samples per input."""
        return self.images_per_input * self.members

    @property
    def num_samples(self) -> int:
        return self.inputs * self.copies

    def spread(self, values: Tensor) -> Tensor:
        """(1 or inputs, ...) -> (samples, ...)."""
        return values.expand(self.inputs, *values.shape[1:]).repeat_interleave(self.copies, dim=0)

    def texts(self, words: str | Sequence[str] | None) -> list[str | None]:
        """One text per sample."""
        each = [words] if words is None or isinstance(words, str) else list(words)
        each = each * self.inputs if len(each) == 1 else each
        return [text for text in each for _ in range(self.copies)]

    def generators(self, generator: Generators) -> Generators:
        """A list with one per image is used again for every member of the image's ensemble, in order."""
        if generator is None or isinstance(generator, torch.Generator):
            return generator
        if not isinstance(generator, Sequence) or not all(isinstance(g, torch.Generator) for g in generator):
            raise ValueError(
                f"generator is a {type(generator).__name__}; give torch.Generator().manual_seed(0), or a "
                "list of them"
            )
        if len(generator) != self.num_samples and len(generator) * self.members == self.num_samples:
            return [each for each in generator for _ in range(self.members)]
        return generator
