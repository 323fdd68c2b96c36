"""What does a call of the pipeline return?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from diffusers.utils import BaseOutput
from torch import Tensor

from unicon.branch import IMAGE
from unicon.pictures import as_array, as_output


@dataclass
class UniConOutput(BaseOutput):
    """Pictures of the branches asked for, in the call's `output_type`."""

    images: Any = None
    """List of PIL images, array (N, H, W, 3), tensor (N, 3, H, W), latents (N, C, h, w); or None."""
    conditions: dict[str, Any] = field(default_factory=dict)
    """The same for every condition asked for, by adapter name; an ensemble's mean (latents: all members)."""
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    """Float maps (N, H, W, 3) in [0, 1] of the conditions, whatever the output type (not for latents)."""
    uncertainty: dict[str, np.ndarray] = field(default_factory=dict)
    """Standard deviation over the ensemble (N, H, W); only with ensemble_size above 1."""
    members: dict[str, np.ndarray] = field(default_factory=dict)
    """The ensemble itself (members, N, H, W, 3); only with ensemble_size above 1."""

    def to_tuple(self) -> tuple[Any, ...]:
        """All five fields in this order, also those that are None or empty."""
        return tuple(getattr(self, each.name) for each in fields(self))


def check_finite(latents: Mapping[str, Tensor], dtype: torch.dtype) -> None:
    """ValueError naming the branches whose latents a run has broken; `dtype` is the network's."""
    if broken := [name for name, x in latents.items() if not bool(x.isfinite().all())]:
        raise ValueError(
            f"latents of {', '.join(broken)} hold NaN or infinity after the run; {dtype} may be too narrow "
            "for this base: load it with dtype=torch.float32"
        )


def latent_output(latents: Mapping[str, Tensor]) -> UniConOutput:
    """Latents (sample, C, h, w) by branch, as they are."""
    return UniConOutput(
        images=latents.get(IMAGE), conditions={n: x for n, x in latents.items() if n != IMAGE}
    )


def picture_output(pictures: Mapping[str, Tensor], output_type: str, num_members: int) -> UniConOutput:
    """Pictures (sample, 3, H, W) by branch, ensembles of conditions averaged."""
    images = as_output(pictures[IMAGE], output_type) if IMAGE in pictures else None
    stacks = {
        name: stack.unflatten(0, (-1, num_members)).transpose(0, 1)
        for name, stack in pictures.items()
        if name != IMAGE
    }
    means = {name: stack.mean(0) for name, stack in stacks.items()}
    several = stacks if num_members > 1 else {}
    return UniConOutput(
        images=images,
        conditions={name: as_output(mean, output_type) for name, mean in means.items()},
        maps={name: as_array(mean) for name, mean in means.items()},
        uncertainty={name: stack.std(0).mean(-3).cpu().numpy() for name, stack in several.items()},
        members={name: as_array(stack) for name, stack in several.items()},
    )
