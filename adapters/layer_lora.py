"""How does a LoRA reach layers that know of no branches: feed-forwards, projections, convolutions?

By a hook on the layer's output, which adds the update to the rows of the image branches for the length of one
call. Attentions need none: their processors know the branches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adapters.compiling import guard_hooks
from adapters.hidden import Hidden
from adapters.layout import Layout
from adapters.lowrank import LowRank


class ConvUpdate(nn.Module):
    """A low-rank update of a convolution: `down` is one itself, `up` mixes its channels (LoCon)."""

    def __init__(self, layer: nn.Conv2d, rank: int, device: torch.device | None = None):
        super().__init__()
        self.steps = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        self.down = nn.Parameter(torch.zeros(rank, layer.in_channels, *layer.kernel_size, device=device))
        self.up = nn.Parameter(torch.zeros(layer.out_channels, rank, device=device))

    def forward(self, x: Tensor) -> Tensor:
        found = F.conv2d(x.to(self.down.dtype), self.down, **cast(Any, self.steps))
        return F.conv2d(found, self.up[:, :, None, None]).to(x.dtype)


def new_update(layer: nn.Module, rank: int, device: torch.device | None = None) -> LowRank | ConvUpdate:
    """An update of a linear layer or a convolution that changes nothing yet."""
    if isinstance(layer, nn.Conv2d):
        return ConvUpdate(layer, rank, device)
    assert isinstance(layer, nn.Linear), f"a LoRA updates linear layers and convolutions, not {layer}"
    return LowRank(layer.in_features, layer.out_features, rank, device)


def updatable(root: nn.Module) -> dict[str, nn.Module]:
    """The layers of a network that can have an update, by path."""
    # Exactly these: adapters that are grafted already have layers of classes of their own.
    kinds = (nn.Linear, nn.Conv2d)
    return {path: layer for path, layer in root.named_modules() if type(layer) in kinds}


class LayerLoras(Hidden):
    """Sits below a layer and holds the LoRAs' updates of it, by the LoRA's name."""

    PLACE = "grafted_loras"

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.updates = nn.ModuleDict()
        self.weights: Mapping[str, float] = {}
        """Of the LoRAs that are on in this call."""
        self.layout: Layout | None = None
        """Whose image branches get them; None: every row does."""
        self._hook = layer.register_forward_hook(self._add)

    def remove(self) -> None:
        """Stop looking at the layer."""
        self._hook.remove()

    def _add(self, module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        on = [(self.updates[name], weight) for name, weight in self.weights.items() if name in self.updates]
        if not on:
            return out
        x, layout = inputs[0], self.layout
        if layout is None or set(layout.lora_branches) == set(layout.running):
            return out + _sum(on, x)
        changes = {}
        for b in layout.lora_branches:
            rows = layout.branch(x, b)
            changes[b] = _sum(on, rows.flatten(0, 1)).unflatten(0, rows.shape[:2])
        return layout.add(out, changes)


def _sum(updates: Sequence[tuple[nn.Module, float]], x: Tensor) -> Tensor:
    first, weight = updates[0]
    total = first(x) if weight == 1.0 else weight * first(x)
    for update, weight in updates[1:]:
        total = total + (update(x) if weight == 1.0 else weight * update(x))
    return total


_HOOKED = "_lora_layers"
"""Where a network keeps its `LayerLoras`, by path: a step must not search for them."""


def _hooked(root: nn.Module) -> dict[str, LayerLoras]:
    return root.__dict__.setdefault(_HOOKED, {})


def graft_layers(root: nn.Module, name: str, updates: Mapping[str, nn.Module]) -> None:
    """Attach one LoRA's updates to layers of a network, by path; plain calls stay what they were.

    Raises ValueError, and changes nothing, where one of that name is there.
    """
    guard_hooks()
    hooked = _hooked(root)
    if any(name in loras.updates for loras in hooked.values()):
        raise ValueError(
            f"a LoRA {name!r} is already on this network, perhaps by another pipeline that shares it: choose "
            "another name"
        )
    for path, update in updates.items():
        if path not in hooked:
            layer = root.get_submodule(path)
            hooked[path] = LayerLoras(layer)
            layer.add_module(LayerLoras.PLACE, hooked[path])
        hooked[path].updates[name] = update


def ungraft_layers(root: nn.Module, names: Collection[str]) -> None:
    """Take off the updates of these LoRAs, where they have some here."""
    hooked = _hooked(root)
    for path, loras in list(hooked.items()):
        for name in set(loras.updates) & set(names):
            del loras.updates[name]
        if not loras.updates:
            loras.remove()
            del root.get_submodule(path)._modules[LayerLoras.PLACE], hooked[path]


@contextmanager
def telling_layers(
    root: nn.Module, weights: Mapping[str, float], layout: Layout | None = None
) -> Iterator[None]:
    """Let the LoRAs of these weights act for a while, on the image branches of `layout` or on every row."""
    told = _hooked(root).values() if weights else ()
    for loras in told:
        loras.weights, loras.layout = weights, layout
    try:
        yield
    finally:
        for loras in told:
            loras.weights, loras.layout = {}, None
