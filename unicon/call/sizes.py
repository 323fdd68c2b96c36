"""How is a picture estimated in several working sizes, and what do the estimates say together?

A network sees large things in a small picture and fine ones in a large one. Estimates in several sizes are an
ensemble, whose members differ in what they could see (image pyramids in testing, as Liu et al. 2017, "RCF",
have for edges). One run has one size, so each is a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from unicon.output import UniConOutput, ensemble_output
from unicon.pictures import check_output_type


def in_every_size(call: Callable[..., Any]) -> Callable[..., Any]:
    """Lets `processing_resolution` of a pipeline's call be several, which then make one ensemble."""

    @wraps(call)
    def called(pipe: Any, *args: Any, processing_resolution: Any = None, **keywords: Any) -> Any:
        if not isinstance(processing_resolution, Sequence) or isinstance(processing_resolution, str):
            return call(pipe, *args, processing_resolution=processing_resolution, **keywords)
        sizes = list(processing_resolution)
        output_type, as_dict = keywords.pop("output_type", "pil"), keywords.pop("return_dict", True)
        _check(sizes, output_type)
        found = []
        for size in sizes:
            found.append(call(pipe, *args, processing_resolution=size, output_type="np", **keywords))
            if found[-1].images is not None:
                raise ValueError(
                    f"processing_resolution is {sizes}, and the image is generated: several sizes are for "
                    "estimates of a given image; give one size, or only conditions as outputs"
                )
        members = {name: np.concatenate([_members(each, name) for each in found]) for name in found[0].maps}
        result = ensemble_output(members, output_type, pipe.device)
        return result if as_dict else result.to_tuple()

    return called


def _members(result: UniConOutput, name: str) -> np.ndarray:
    """Maps (M, N, H, W, 3) of one size; a single estimate is a member."""
    return result.members.get(name, result.maps[name][None])


def _check(sizes: Sequence[Any], output_type: str) -> None:
    check_output_type(output_type)
    if output_type == "latent":
        raise ValueError("latents of several sizes make no ensemble; choose pil, np or pt as output_type")
    if not sizes or len(set(sizes)) < len(sizes):
        raise ValueError(f"processing_resolution is {sizes}; expected sizes in pixels, each once")
