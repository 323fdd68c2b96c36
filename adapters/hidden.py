"""How does a part sit in a base's tree of modules without being part of the base?

It moves and trains with the module it sits below, and its parent's state dict does not know of it.
"""

from __future__ import annotations

from typing import Any

from torch import nn


class Hidden(nn.Module):
    """A child under the name `PLACE`, absent from state dicts."""

    PLACE: str

    def __init__(self) -> None:
        super().__init__()
        self.register_load_state_dict_post_hook(_expect_no_keys)

    def state_dict(self, *args: Any, destination: Any = None, **_: Any) -> Any:
        return {} if destination is None else destination


def _expect_no_keys(module: nn.Module, keys: Any) -> None:
    assert isinstance(module, Hidden)
    keys.missing_keys[:] = [key for key in keys.missing_keys if f".{module.PLACE}." not in key]
