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
from unicon.conditions.ensembles import combined
from unicon.conditions.pose_ensembles import AgreedPerson
from unicon.pictures import as_array, as_output


@dataclass
class UniConOutput(BaseOutput):
    """Pictures of the branches asked for, in the call's `output_type`."""

    images: Any = None
    """List of PIL images, array (N, H, W, 3), tensor (N, 3, H, W), latents (N, C, h, w); or None."""
    conditions: dict[str, Any] = field(default_factory=dict)
    """The same for every condition asked for, by adapter name; what an ensemble says together, as
    `unicon.conditions.ensembles` combines it (latents: all members)."""
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    """Float maps (N, H, W, 3) in [0, 1] of the conditions, whatever the output type (not for latents)."""
    uncertainty: dict[str, np.ndarray] = field(default_factory=dict)
    """Standard deviation over the ensemble (N, H, W); only of several estimates."""
    members: dict[str, np.ndarray] = field(default_factory=dict)
    """The ensemble itself (members, N, H, W, 3); only of several estimates."""
    people: dict[str, list[list[AgreedPerson]]] = field(default_factory=dict)
    """Of poses, the people that an ensemble agrees on, for each of N; only of several estimates."""

    def to_tuple(self) -> tuple[Any, ...]:
        """All six fields in this order, also those that are None or empty."""
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


def picture_output(
    pictures: Mapping[str, Tensor], output_type: str, num_members: int, kinds: Mapping[str, str]
) -> UniConOutput:
    """Pictures (sample, 3, H, W) by branch, ensembles of conditions combined; `kinds` are what each adapter's
    name stands for."""
    images = as_output(pictures[IMAGE], output_type) if IMAGE in pictures else None
    conditions = {name: stack for name, stack in pictures.items() if name != IMAGE}
    if num_members == 1:
        return UniConOutput(
            images=images,
            conditions={name: as_output(stack, output_type) for name, stack in conditions.items()},
            maps={name: as_array(stack) for name, stack in conditions.items()},
        )
    members = {
        name: as_array(stack.unflatten(0, (-1, num_members)).transpose(0, 1))
        for name, stack in conditions.items()
    }
    devices = [stack.device for stack in conditions.values()]
    result = ensemble_output(members, output_type, kinds, *devices[:1])
    result.images = images
    return result


def ensemble_output(
    members: Mapping[str, np.ndarray],
    output_type: str,
    kinds: Mapping[str, str],
    device: torch.device | str = "cpu",
) -> UniConOutput:
    """What maps (M, N, H, W, 3) of every condition say together; a single member says it alone. Tensors are
    on `device`."""
    result = UniConOutput()
    for name, stack in members.items():
        found = [combined(stack[:, place], kinds[name]) for place in range(stack.shape[1])]
        maps = np.stack([each.map for each in found])
        result.maps[name] = maps
        result.conditions[name] = as_output(torch.from_numpy(maps).movedim(-1, 1).to(device), output_type)
        if len(stack) > 1:
            result.members[name] = stack
            result.uncertainty[name] = np.stack([each.uncertainty for each in found])
        if found[0].people is not None:
            result.people[name] = [each.people or [] for each in found]
    return result
