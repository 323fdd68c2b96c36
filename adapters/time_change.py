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


class TimeChange(nn.Module):
    """Sits below the time embedding, so that the adapter moves and trains with its UNet, but is no part of
    the UNet's state dict."""

    def __init__(self, adapter: DecoderAdapter, time_embedding: nn.Module):
        super().__init__()
        self.adapter = adapter
        self.change: Tensor | None = None
        self._hook = time_embedding.register_forward_hook(self._add)
        self.register_load_state_dict_post_hook(_expect_no_keys)

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

    def state_dict(self, *args: Any, destination: Any = None, **_: Any) -> Any:
        return {} if destination is None else destination

    def _add(self, module: nn.Module, inputs: Any, embedding: Tensor) -> Tensor:
        return embedding if self.change is None else embedding + self.change.to(embedding)


def _expect_no_keys(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [key for key in keys.missing_keys if ".grafted_decoder." not in key]
