"""How do pictures of any kind become tensors the network takes, and come back in the user's size?

Pictures are float tensors (sample, 3, H, W) in [0, 1] here. Reading files and odd image modes is
`unicon.data.photos`; what a map means is `unicon.conditions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

OUTPUT_TYPES = ("pil", "np", "pt", "latent")


def as_pictures(value: Any, name: str) -> Tensor:
    """PIL image, array (H, W), (H, W, C) or (N, H, W, C), tensor (C, H, W) or (N, C, H, W), or a list of them.

    Returns float32 (N, 3, H, W) in [0, 1]; uint8 is divided by 255, one channel repeated, an alpha channel
    laid over white. Raises ValueError naming `name` for other kinds, shapes, ranges, and pictures of different
    sizes.
    """
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if not values:
        raise ValueError(f"{name}: got an empty list; give at least one picture")
    parts = [_one(v, name) for v in values]
    sizes = {tuple(p.shape[-2:]) for p in parts}
    if len(sizes) > 1:
        raise ValueError(f"{name}: pictures of one call share a size, got {sorted(sizes)}; resize them, or call twice")
    return torch.cat(parts)


def _one(value: Any, name: str) -> Tensor:
    if isinstance(value, PIL.Image.Image):
        picture = torch.from_numpy(np.asarray(_flatten_alpha(value)).copy()).permute(2, 0, 1)[None]
    elif isinstance(value, np.ndarray):
        picture = _from_array(value, name)
    elif isinstance(value, Tensor):
        picture = value[None] if value.ndim == 3 else value
    else:
        raise ValueError(f"{name}: got a {type(value).__name__}; give a PIL image, an array, a tensor, or a list of them")
    if picture.ndim != 4 or picture.shape[1] not in (1, 3):
        raise ValueError(f"{name}: got shape {tuple(value.shape)}; expected 1 or 3 channels: (H, W, 3) array or (3, H, W) tensor")
    scaled = picture.float() / 255 if picture.dtype == torch.uint8 else picture.float()
    low, high = scaled.aminmax()
    if not (torch.isfinite(low) and torch.isfinite(high)) or low < 0 or high > 1:
        raise ValueError(f"{name}: values run from {low:.3g} to {high:.3g}; floats must lie in [0, 1], or give uint8")
    return scaled.expand(-1, 3, -1, -1)


def _from_array(value: np.ndarray, name: str) -> Tensor:
    if value.dtype != np.uint8 and not np.issubdtype(value.dtype, np.floating):
        raise ValueError(f"{name}: array of {value.dtype}; give uint8, or floats in [0, 1]")
    if value.ndim == 2:
        value = value[..., None]
    if value.ndim == 3:
        value = value[None]
    return torch.from_numpy(np.ascontiguousarray(value)).movedim(-1, 1)


def _flatten_alpha(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return PIL.Image.alpha_composite(PIL.Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


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
        """A frame for (height, width) pixels, worked on with its longer side at `longest` (None: as it is)."""
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
    """(N, C, H, W) to another size, bicubic with antialiasing, or nearest where `sharp`; values stay in [0, 1]."""
    if tuple(pictures.shape[-2:]) == (height, width):
        return pictures
    if sharp:
        return F.interpolate(pictures, (height, width), mode="nearest-exact")
    return F.interpolate(pictures, (height, width), mode="bicubic", antialias=True).clamp(0, 1)


def as_output(pictures: Tensor, output_type: str) -> list[PIL.Image.Image] | np.ndarray | Tensor:
    """(N, 3, H, W) in [0, 1] as a list of PIL images, an array (N, H, W, 3), or the tensor itself."""
    if output_type == "pt":
        return pictures
    arrays = pictures.float().movedim(1, -1).cpu().numpy()
    if output_type == "np":
        return arrays
    return [PIL.Image.fromarray(a) for a in (arrays * 255).round().astype(np.uint8)]


def check_output_type(output_type: str) -> None:
    """ValueError unless it is one of pil, np, pt, latent."""
    if output_type not in OUTPUT_TYPES:
        raise ValueError(f"output_type is {output_type!r}; choose one of {', '.join(OUTPUT_TYPES)}")


def repeat_to(pictures: Tensor, num: int, name: str) -> Tensor:
    """Pictures for `num` samples: one is used for all; ValueError if the number fits neither."""
    if len(pictures) not in (1, num):
        raise ValueError(f"{name}: got {len(pictures)} pictures for {num} samples; give 1 or {num}")
    return pictures.expand(num, *pictures.shape[1:])


def ensemble(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation over the first axis (member, ...), the deviation averaged over the 3 channels."""
    return maps.mean(0), maps.std(0, unbiased=len(maps) > 1).mean(-3)


Pictures = Sequence[Any]
