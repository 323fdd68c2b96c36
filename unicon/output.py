"""What does a call of the pipeline return?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diffusers.utils import BaseOutput


@dataclass
class UniConOutput(BaseOutput):
    """Pictures of the branches asked for, in the call's `output_type`."""

    images: Any = None
    """List of PIL images, array (N, H, W, 3), tensor (N, 3, H, W) or latents; None if not asked for."""
    conditions: dict[str, Any] = field(default_factory=dict)
    """The same for every condition asked for, by adapter name."""
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    """Float maps (N, H, W, 3) in [0, 1] of the conditions, whatever the output type (not for latents)."""
    uncertainty: dict[str, np.ndarray] = field(default_factory=dict)
    """Standard deviation over the ensemble (N, H, W); only with ensemble_size above 1."""
    members: dict[str, np.ndarray] = field(default_factory=dict)
    """The ensemble itself (members, N, H, W, 3); only with ensemble_size above 1."""
