"""Which pictures and masks does a call give, and in what size is it worked on?

Results come back in one size, the user's: what was asked for, or that of the picture that leads. Pictures of
other sizes are resized to it where their ratio of width to height agrees. In between there is another one:
resizing to the processing resolution, padding to the latent grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from unicon.bases import BaseSize
from unicon.branch import IMAGE, Branch
from unicon.call.batch import Batch
from unicon.call.request import Request
from unicon.pictures import Frame, as_pictures, resize
from unicon.sampling.plans import Known

MOST_TIMES_OWN = 4
"""Longer side, in the base's own sizes, that is worked on without being asked for: 2048 px on Stable
Diffusion 1.5. The cost of attention grows with the fourth power of the side."""

MOST_STRETCH = 1.04
"""How much more one side of a picture may be stretched than the other."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Given:
    """The pictures and masks of a call, by branch, not yet repeated per sample."""

    frame: Frame
    pictures: dict[str, Tensor]
    """(n, 3, h, w) in [0, 1], each in a size of its own."""
    masks: dict[str, Tensor]
    """(n, 1, H, W) in the user's size: 1 where the branch is generated, 0 where it is kept."""
    is_huge: bool = False
    """Whether the autoencoder, too, is to see a part at a time."""

    def in_users_size(self, name: str) -> Tensor:
        """A branch's pictures (n, 3, H, W)."""
        return resize(self.pictures[name], self.frame.height, self.frame.width)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each were given."""
        masks = {f"masks of {name}": len(mask) for name, mask in self.masks.items()}
        return {**{f"{name} pictures": len(p) for name, p in self.pictures.items()}, **masks}


def read_given(
    request: Request,
    base: BaseSize,
    height: int | None,
    width: int | None,
    processing_resolution: int | None,
    *,
    tiled: bool = False,
) -> Given:
    """Pictures, masks and frame of a call; ValueError for shapes that differ or, where the network sees all
    at once, sizes that are too large."""
    branches = request.branches
    pictures = {n: as_pictures(b.map, n) for n, b in branches.items() if b.map is not None}
    size = _size(pictures, base, height, width)
    masks = {n: _mask(b, n, size) for n, b in branches.items() if b.mask is not None}
    estimating = not request.plans[IMAGE].moves and set(pictures) == {IMAGE}
    longest = processing_resolution
    if longest is None and estimating and not tiled:
        longest = base.own_px
    frame = Frame.of(*size, base.multiple_px, longest or None)
    worked_on = (frame.work_height, frame.work_width)
    if processing_resolution is None and not tiled:
        check_affordable(
            worked_on,
            base.own_px,
            f"Give processing_resolution={base.own_px} to work smaller and get results in this size, "
            "tile_size=0 to work on a part at a time, or processing_resolution=0 to insist",
        )
    is_huge = tiled and not _is_affordable(worked_on, base.own_px)
    return Given(frame=frame, pictures=pictures, masks=masks, is_huge=is_huge)


def _size(
    pictures: Mapping[str, Tensor], base: BaseSize, height: int | None, width: int | None
) -> tuple[int, int]:
    """The user's height and width."""
    sizes = {n: (p.shape[-2], p.shape[-1]) for n, p in pictures.items()}
    own, size = (result_size(sizes, base.own_px, *asked) for asked in ((None, None), (height, width)))
    given = ", ".join(f"{name} {rows} x {columns}" for name, (rows, columns) in sizes.items())
    if not all(_are_alike(each, own) for each in sizes.values()):
        raise ValueError(
            "pictures of one call share a shape (they are resized, not stretched), got "
            f"{given} (height x width): crop or pad them to one ratio of height to width"
        )
    if sizes and not _are_alike(own, size):
        raise ValueError(
            f"height={height}, width={width} stretch what is given, {given} (height x width): leave one of "
            "them out to keep its shape, or crop it"
        )
    return size


def result_size(
    sizes: Mapping[str, tuple[int, int]], own_px: int, height: int | None, width: int | None
) -> tuple[int, int]:
    """(height, width) of results: as asked, or the image's, or the largest map's; one side alone keeps the
    ratio. `sizes` are those of the given pictures, by branch."""
    if not sizes:
        return height or own_px, width or own_px
    own = sizes.get(IMAGE) or max(sizes.values(), key=lambda size: (size[0] * size[1], size))
    scale = height / own[0] if height else width / own[1] if width else 1.0
    return height or max(1, round(own[0] * scale)), width or max(1, round(own[1] * scale))


def _are_alike(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether a picture of one size can be resized to the other without looking stretched; a pixel is
    rounding."""
    stretch = [other[i] / one[i] for i in (0, 1)]
    rounding = 1 + max(1 / side for side in (*one, *other))
    return max(stretch) / min(stretch) <= max(MOST_STRETCH, rounding)


def _mask(branch: Branch, name: str, size: tuple[int, int]) -> Tensor:
    grey = as_pictures(branch.mask, f"mask of {name}")
    if not _are_alike((grey.shape[-2], grey.shape[-1]), size):
        raise ValueError(
            f"mask of {name} is {grey.shape[-2]} x {grey.shape[-1]}, its picture {size[0]} x {size[1]} "
            "(height x width): give it the picture's ratio of height to width"
        )
    grey = grey.mean(1, keepdim=True)
    is_smaller = grey.shape[-2] > size[0] or grey.shape[-1] > size[1]
    mask = (
        resize((grey > 0.5).float(), *size, sharp=True) if is_smaller else (resize(grey, *size) > 0.5).float()
    )
    if not bool(mask.any()):
        raise ValueError(
            f"mask of {name} is black everywhere: nothing would be generated; paint white what should"
        )
    return mask


def check_affordable(size: tuple[int, int], own_px: int, remedy: str) -> None:
    """ValueError for a (height, width) that a base of `own_px` a side is not to work on at once."""
    if not _is_affordable(size, own_px):
        raise ValueError(
            f"{size[0]} x {size[1]} pixels (height x width) are too many for a base of {own_px} px: at most "
            f"{MOST_TIMES_OWN * own_px} a side. {remedy}"
        )


def _is_affordable(size: tuple[int, int], own_px: int) -> bool:
    return max(size) <= MOST_TIMES_OWN * own_px


def known_parts(
    request: Request, given: Given, batch: Batch, clean: Mapping[str, Tensor], factor: int
) -> dict[int, Known]:
    """Known parts by branch index. A latent cell that is partly white is generated; `factor` pixels a side.

    Raises ValueError for a mask that leaves no cell whole, which would keep nothing, and under
    `torch.inference_mode`, where guidance has no gradients.
    """
    if torch.is_inference_mode_enabled() and any(b.mask_guidance for b in request.branches.values()):
        raise ValueError("mask_guidance needs gradients: call the pipeline outside of torch.inference_mode")
    known = {}
    for index, (name, branch) in enumerate(request.branches.items()):
        if name in given.masks:
            cells = F.max_pool2d(given.frame.enter(given.masks[name], sharp=True), factor)
            if bool(cells.all()) and not bool(given.masks[name].all()):
                raise ValueError(
                    f"mask of {name}: no black area holds a whole cell of {factor} x {factor} px in the size "
                    "that is worked on, so that nothing would be kept in the run; paint larger black areas"
                )
            mask = batch.spread(cells).to(clean[name].device)
            known[index] = Known(clean=clean[name], mask=mask, weight=branch.mask_guidance)
    return known
