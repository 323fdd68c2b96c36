"""Are the arguments of a call known here, and are those that stand for themselves numbers it can use?

What a number means together with others is checked where it is used; a branch's own are `unicon.branch`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from unicon.ranges import AT_LEAST_1, COUNT, FINITE, NOT_NEGATIVE, SHARE

_SIDE = replace(AT_LEAST_1, optional=True, hint="it is in pixels")
_NUMBERS = {
    "height": _SIDE,
    "width": _SIDE,
    "processing_resolution": replace(
        COUNT, optional=True, hint="it is in pixels, 0 is the pictures' own size"
    ),
    "tile_size": replace(COUNT, optional=True, hint="it is in pixels, 0 is the base's own size"),
    "num_inference_steps": AT_LEAST_1,
    "condition_guidance_scale": replace(FINITE, hint="0 is off"),
    "guidance_rescale": SHARE,
    "num_images_per_prompt": AT_LEAST_1,
    "ensemble_size": AT_LEAST_1,
    "eta": replace(SHARE, optional=True, hint="0 adds no fresh noise, 1 the most"),
}

_WEIGHT = "the weight of a map stands beside it, `depth=Branch(map=picture, weight=0.6)`"
ELSEWHERE = {
    "strength": "`strength=0.6` is `noise=0.6` beside `image=photo`, or `image=Branch(map=photo, noise=0.6)`",
    "mask_image": "`mask_image=picture` is `mask=picture` beside `image=photo`, white where it is drawn anew",
    "control_image": "`control_image=picture` is the name of the picture's adapter, such as `depth=picture`",
    "controlnet_conditioning_scale": _WEIGHT,
    "adapter_conditioning_scale": _WEIGHT,
    "ip_adapter_image": "`ip_adapter_image=photo` is `like=photo` where a decoder adapter is loaded, as on "
    "mini, or `appearance=photo` with an adapter for appearance",
    "ip_adapter_image_embeds": "embeddings of pictures are `like=embeddings`, (n, width), see `pipe.embed`",
    "cross_attention_kwargs": "the weight of a LoRA is `pipe.set_style(name, 0.6)`",
}
"""What some arguments of diffusers' pipelines are here."""


def check_known(name: str) -> None:
    """TypeError that says what to write, for an argument of another pipeline."""
    if name in ELSEWHERE:
        raise TypeError(f"{name} is no argument here: {ELSEWHERE[name]}")


def check_interval(interval: Sequence[float]) -> None:
    """ValueError unless these are two fractions of the grid, the lower first."""
    if isinstance(interval, str) or not isinstance(interval, Sequence) or len(interval) != 2:
        raise ValueError(
            f"guidance_interval is {interval!r}; give the least and the most noise at which is guided, "
            "such as (0.0, 0.7)"
        )
    for each in interval:
        SHARE.check("each of guidance_interval", each)
    if interval[0] >= interval[1]:
        raise ValueError(f"guidance_interval is {tuple(interval)}; the lower noise comes first")


def check_numbers(timesteps: object, **given: object) -> None:
    """ValueError for the first that is no number a call could use."""
    for name, value in given.items():
        _NUMBERS[name].check(name, value)
    if timesteps is None:
        return
    values = timesteps.tolist() if isinstance(timesteps, (Tensor, np.ndarray)) else timesteps
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise ValueError(f"timesteps is {timesteps!r}; give a list of numbers that descend")
    for each in values:
        NOT_NEGATIVE.check("each of timesteps", each)
