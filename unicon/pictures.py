"""How do pictures of any kind become tensors the network takes, and come back in the user's size?

Pictures are float tensors (sample, 3, H, W) in [0, 1] here. Reading files and odd image modes is
`unicon.data.photos`; what a map means is `unicon.conditions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from unicon.data.photos import load_photo

OUTPUT_TYPES = ("pil", "np", "pt", "latent")

FULL = {torch.uint8: 255, torch.uint16: 65535}
"""What stands for 1 in whole numbers."""

SLACK = 1e-3
"""How far a float picture may leave [0, 1], as resizing and decoding do; it is clipped."""


def as_pictures(value: Any, name: str) -> Tensor:
    """A file, PIL image, array (H, W), (H, W, C) or (N, H, W, C), tensor (H, W), (C, H, W) or (N, C, H, W),
    or a list of them, as float32 (N, 3, H, W) in [0, 1].

    uint8 is divided by 255, uint16 by 65535, one channel repeated, a fourth laid over white as alpha. Raises
    ValueError naming `name` for other kinds, shapes, ranges, and pictures of different sizes.
    """
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise ValueError(f"{name}: got an empty list; give at least one picture")
    parts = [_one(v, name) for v in values]
    sizes = {(p.shape[-2], p.shape[-1]) for p in parts}
    if len(sizes) > 1:
        raise ValueError(
            f"{name}: pictures of one call share a size, got {sorted(sizes)}; resize them, or call twice"
        )
    return torch.cat(parts)


def _one(value: Any, name: str) -> Tensor:
    """One value of a list as (n, 3, H, W) in [0, 1]."""
    if isinstance(value, (str, Path, PIL.Image.Image)):
        value = np.asarray(load_photo(value))
    if isinstance(value, np.ndarray):
        tensor = _channels_first(value)
    elif isinstance(value, Tensor):
        tensor = value[None] if value.ndim == 2 else value
    else:
        raise ValueError(
            f"{name}: got a {type(value).__name__}; give a file, a PIL image, an array, a tensor, or a list "
            "of them"
        )
    tensor = tensor[None] if tensor.ndim == 3 else tensor
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3, 4) or tensor.numel() == 0:
        raise ValueError(
            f"{name}: got shape {tuple(value.shape)}; expected 1, 3 or 4 channels: (H, W, 3) array or "
            "(3, H, W) tensor"
        )
    return _three_channels(_in_range(tensor, name))


def _channels_first(array: np.ndarray) -> Tensor:
    """(H, W), (H, W, C) or (N, H, W, C) -> the same with channels before H."""
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, -3)))


def _in_range(tensor: Tensor, name: str) -> Tensor:
    """Float32 in [0, 1]."""
    if tensor.dtype in FULL:
        return tensor.float() / FULL[tensor.dtype]
    if not (tensor.is_floating_point() or tensor.dtype == torch.bool):
        raise ValueError(f"{name}: values are {tensor.dtype}; give uint8, uint16, bool, or floats in [0, 1]")
    values = tensor.detach().float()
    low, high = (float(v) for v in values.aminmax())
    if not (low >= -SLACK and high <= 1 + SLACK):  # also where they are NaN
        raise ValueError(
            f"{name}: values run from {low:.3g} to {high:.3g}; floats must lie in [0, 1], or give uint8 "
            "or uint16"
        )
    return values.clamp(0, 1)


def _three_channels(pictures: Tensor) -> Tensor:
    if pictures.shape[1] == 4:
        alpha = pictures[:, 3:]
        return pictures[:, :3] * alpha + (1 - alpha)
    return pictures.expand(-1, 3, -1, -1)


@dataclass(frozen=True, slots=True)
class Frame:
    """A user's size, the size it is worked in, and the padding up to the latent grid."""

    height: int
    """The user's."""
    width: int
    work_height: int
    """After resizing, before padding."""
    work_width: int
    multiple: int

    @classmethod
    def of(cls, height: int, width: int, multiple: int, longest: int | None = None) -> Frame:
        """A frame for (height, width) pixels, its longer side worked on at `longest` (None: as it is)."""
        scale = longest / max(height, width) if longest else 1.0
        return cls(height, width, max(1, round(height * scale)), max(1, round(width * scale)), multiple)

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns added below and to the right."""
        return -self.work_height % self.multiple, -self.work_width % self.multiple

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width the network sees."""
        rows, columns = self.padding
        return self.work_height + rows, self.work_width + columns

    def enter(self, pictures: Tensor, *, sharp: bool = False) -> Tensor:
        """Resize to the working size and pad by repeating the border; `sharp` keeps masks binary."""
        pictures = resize(pictures, self.work_height, self.work_width, sharp=sharp)
        rows, columns = self.padding
        return F.pad(pictures, (0, columns, 0, rows), mode="replicate") if rows or columns else pictures

    def leave(self, pictures: Tensor) -> Tensor:
        """Crop the padding and resize back to the user's size."""
        return resize(pictures[..., : self.work_height, : self.work_width], self.height, self.width)


def resize(pictures: Tensor, height: int, width: int, *, sharp: bool = False) -> Tensor:
    """(N, C, H, W) to another size, values in [0, 1]: bicubic with antialiasing; `sharp` keeps
    masks binary, and all that is white in them."""
    if tuple(pictures.shape[-2:]) == (height, width):
        return pictures
    if sharp:  # what is partly white in a smaller size is white there: a thin line would vanish otherwise
        rows, columns = min(height, pictures.shape[-2]), min(width, pictures.shape[-1])
        pictures = F.adaptive_max_pool2d(pictures, (rows, columns))
        return F.interpolate(pictures, (height, width), mode="nearest-exact")
    return F.interpolate(pictures, (height, width), mode="bicubic", antialias=True).clamp_(0, 1)


def as_output(pictures: Tensor, output_type: str) -> list[PIL.Image.Image] | np.ndarray | Tensor:
    """(N, 3, H, W) in [0, 1] as a list of PIL images, an array (N, H, W, 3), or the tensor itself."""
    if output_type == "pt":
        return pictures
    arrays = as_array(pictures)
    if output_type == "np":
        return arrays
    return [PIL.Image.fromarray(a) for a in (arrays * 255).round().astype(np.uint8)]


def as_array(pictures: Tensor) -> np.ndarray:
    """(..., 3, H, W) -> float32 (..., H, W, 3)."""
    return pictures.float().movedim(-3, -1).cpu().numpy()


def check_output_type(output_type: str) -> None:
    """ValueError unless it is one of pil, np, pt, latent."""
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"output_type is {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}")
