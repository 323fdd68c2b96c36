"""What is one adapter: the trained tensors of every block, and the config that explains them.

Not here: how it is attached (`grafting.py`), what it computes (`joint.py`), files (`store.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from adapters.base import check_base, geometry
from adapters.config import AdapterConfig, BaseGeometry, BlockGeometry
from adapters.lowrank import AttentionUpdate, SelfAttentionAdapter
from adapters.positions import starting_weight


class BlockAdapter(nn.Module):
    """An adapter's part in one transformer block: `attn1` (self and joint) and `attn2` (text)."""

    def __init__(
        self, block: BlockGeometry, path: str, config: AdapterConfig, device: torch.device | None = None
    ):
        super().__init__()
        self.attn1 = SelfAttentionAdapter(
            block,
            rank=config.rank,
            projection=None if config.skips(path) else config.projection,
            own=config.condition_lora,
            pool_keys=config.pool_keys,
            places=config.locality > 0,
            device=device,
        )
        self.attn2 = None
        if config.condition_lora and block.context:
            self.attn2 = AttentionUpdate(block.width, block.inner, block.context, config.rank, device)


class JointAdapter(nn.Module):
    """One condition's adapter for one base. Its parameters are exactly the trained tensors.

    `adapter[path]` is the part in the block at that path. Fresh, it changes nothing: every update and every
    projection starts at zero.
    """

    def __init__(self, config: AdapterConfig, device: torch.device | None = None):
        super().__init__()
        self.config = config
        self._check_skips()
        # Module names may not hold dots.
        self.blocks = nn.ModuleDict(
            {
                path.replace(".", "/"): BlockAdapter(block, path, config, device)
                for path, block in self.base.blocks.items()
            }
        )

    @classmethod
    def for_unet(cls, unet: nn.Module, config: AdapterConfig, *, seed: int = 0) -> JointAdapter:
        """A fresh float32 adapter on the UNet's device; the same seed gives the same tensors everywhere.

        Raises `ValueError` if the UNet has no transformer blocks, `config.skip_blocks` names none of them, or
        `config.base` is another base.
        """
        if config.base is not None:
            check_base(config.base, unet, f"the config for {config.condition!r}")
        adapter = cls(replace(config, base=geometry(unet)), device=next(unet.parameters()).device)
        adapter.reset(seed)
        return adapter

    @property
    def base(self) -> BaseGeometry:
        """The geometry of the base it is for."""
        assert self.config.base is not None, "adapters are made by for_unet, or with a stored config"
        return self.config.base

    def reset(self, seed: int) -> None:
        """Draw the inner factors anew (uniform, variance 1 / (3 width)), set the weights of positions to
        what `locality` says and everything else to zero."""
        generator = torch.Generator().manual_seed(seed)
        for name, tensor in self.tensors():
            with torch.no_grad():
                tensor.fill_(starting_weight(self.config.locality) if ".places." in name else 0.0)
                if name.endswith(".down") and not tensor.is_meta:
                    bound = tensor.shape[1] ** -0.5
                    tensor.copy_(torch.empty(tensor.shape).uniform_(-bound, bound, generator=generator))

    def __getitem__(self, path: str) -> BlockAdapter:
        return cast(BlockAdapter, self.blocks[path.replace(".", "/")])

    def items(self) -> Iterator[tuple[str, BlockAdapter]]:
        """(block path, its part) in the order of the base."""
        return ((key.replace("/", "."), cast(BlockAdapter, block)) for key, block in self.blocks.items())

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name as stored, parameter): `<block path>.attn1.image.q.down` and so on."""
        return ((name.removeprefix("blocks.").replace("/", "."), p) for name, p in self.named_parameters())

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Put these tensors, named as in `tensors()`, in place of all parameters, dtype and device too."""
        keys = {
            name: key for (name, _), (key, _) in zip(self.tensors(), self.named_parameters(), strict=True)
        }
        self.load_state_dict({keys[name]: tensor for name, tensor in tensors.items()}, assign=True)
        self.requires_grad_(True)

    def _check_skips(self) -> None:
        blocks = self.base.blocks
        for name in self.config.skip_blocks:
            if not any(path == name or path.startswith(f"{name}.") for path in blocks):
                raise ValueError(
                    f"skip_blocks names {name!r}, but no block is there; blocks: {', '.join(blocks)}"
                )
