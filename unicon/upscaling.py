"""How does a picture get larger: drawn anew, with the small one as a condition beside it?

The enlarged picture is the map of the condition `lowres`, and a picture is denoised from noise beside it, on
windows of the base's own size (`unicon.call.tiles`), because a base and its adapters know no other: cropped
training of upsamplers, as in Ramesh et al. 2022, section 2.2. How far the small picture is to be believed is
the noise level of its branch, which the network is told as any other (Ho et al. 2022, arXiv 2106.15282,
augment conditions so).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from unicon.branch import Branch
from unicon.conditions.lowres import LOWRES, MOST_SCALE, enlarged
from unicon.pictures import as_array, as_output, as_pictures, check_output_type
from unicon.pipeline import UniConPipeline
from unicon.ranges import LESS_THAN_1, Range

_SCALE = Range(above=1, most=MOST_SCALE, hint="adapters are trained on no more; enlarge twice for more")
_NOISE = replace(LESS_THAN_1, hint="0 believes the small picture, 1 is pure noise")

LAYOUT_PX = 8
"""Pixels of the small picture that make one of the layout, whose colours are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upscaling:
    """How pictures are made larger."""

    scale: float = 2.0
    """Sides of the new picture in sides of the given one, above 1."""
    noise: float = 0.0
    """0 believes the small picture; a level up to 1 believes its details less, for blurred or compressed
    ones."""
    prompt: str = ""
    """What every part shows, such as a texture; a description of the whole misleads parts."""
    num_inference_steps: int = 20
    guidance_scale: float = 1.0
    tile_size: int | None = 0
    """Side in pixels of the parts the network sees; 0: the base's own, None: the whole picture at once."""
    keep_colours: bool = True
    """Give the new picture the colours that the small one has at a coarse look."""

    def __post_init__(self) -> None:
        _SCALE.check_fields(self, "scale")
        _NOISE.check_fields(self, "noise")


def upscale(
    pipe: UniConPipeline,
    pictures: Any,
    settings: Upscaling | None = None,
    *,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    output_type: str = "pil",
) -> Any:
    """Larger versions of pictures of one size, in the pipeline's forms (`output_type`).

    Raises ValueError without an adapter for `lowres`.
    """
    settings = settings or Upscaling()
    check_output_type(output_type)
    if output_type == "latent":
        raise ValueError("output_type is 'latent', but colours are kept in pixels; choose pil, np or pt")
    name = lowres_adapter(pipe)
    small = as_pictures(pictures, "picture")
    height, width = (math.floor(side * settings.scale + 0.5) for side in small.shape[-2:])
    large = enlarge(small, height, width)
    drawn: Any = pipe(
        settings.prompt,
        conditions={name: Branch(map=large, noise=settings.noise, hold=settings.noise > 0)},
        outputs=["image"],
        processing_resolution=0,
        tile_size=settings.tile_size,
        num_inference_steps=settings.num_inference_steps,
        guidance_scale=settings.guidance_scale,
        generator=generator,
        output_type="pt",
    )
    made = drawn.images.float().cpu()
    if settings.keep_colours:
        made = recoloured(made, large, settings.scale)
    return as_output(made, output_type)


def lowres_adapter(pipe: UniConPipeline) -> str:
    """The name of the loaded adapter for `lowres`; ValueError where there is none."""
    for name, adapter in pipe.adapters.items():
        if adapter.config.condition == LOWRES:
            return name
    raise ValueError(
        f"enlarging needs an adapter for {LOWRES!r}, and none is loaded, only "
        f"{', '.join(pipe.adapters) or 'none'}; train one (unicon train upscaler --data PICTURES) and "
        "load it with load_adapter, or --adapter on the command line"
    )


def enlarge(pictures: Tensor, height: int, width: int) -> Tensor:
    """(n, 3, h, w) in [0, 1] as maps of the condition, in their full size."""
    small = (as_array(pictures) * 255).round().astype("uint8")
    return torch.cat([as_pictures(enlarged(each, width, height), "picture") for each in small])


def recoloured(made: Tensor, given: Tensor, scale: float) -> Tensor:
    """`made` with the colours of `given` (both (n, 3, H, W)) at a coarse look; its detail stays."""
    given = given.expand_as(made) if len(given) == 1 else given
    height, width = made.shape[-2:]
    coarse = [max(1, round(side / (LAYOUT_PX * scale))) for side in (height, width)]
    difference = torch.nn.functional.interpolate(given - made, coarse, mode="area")
    smooth = torch.nn.functional.interpolate(difference, (height, width), mode="bicubic", align_corners=False)
    return (made + smooth).clamp(0, 1)
