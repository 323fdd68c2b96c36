"""How does a decoder adapter reach the time embedding of a UNet, without changing it?

By a hook on its output, which adds what is told for the length of one call. diffusers' own way,
`class_embedding`, would make every call of the UNet ask for class labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from adapters.decoder import DecoderAdapter
from adapters.hidden import Hidden


class TimeChange(Hidden):
    """Sits below the time embedding and holds the decoder adapter."""

    PLACE = "grafted_decoder"

    def __init__(self, adapter: DecoderAdapter, time_embedding: nn.Module):
        super().__init__()
        self.adapter = adapter
        self.change: Tensor | None = None
        self._hook = time_embedding.register_forward_hook(self._add)

    @contextmanager
    def telling(self, change: Tensor) -> Iterator[None]:
        """Add `change` (item, channels) to the time embedding for a while."""
        self.change = change
        try:
            yield
        finally:
            self.change = None

    def remove(self) -> None:
        """Stop looking at the time embedding."""
        self._hook.remove()

    def _add(self, module: nn.Module, inputs: Any, embedding: Tensor) -> Tensor:
        return embedding if self.change is None else embedding + self.change.to(embedding)
