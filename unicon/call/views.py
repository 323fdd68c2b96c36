"""How is a picture estimated in several views of it, and what do the estimates say together?

A network sees large things in a small picture and fine ones in a large one, and a mirror image is another
picture to it. Estimates in several working sizes, and of mirror images, are an ensemble whose members differ
in what they could see (image pyramids in testing, as Liu et al. 2017, "RCF", have for edges). One run has one
size, so each view is a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import numpy as np
from torch import Tensor

from unicon.branch import IMAGE, Branch
from unicon.conditions.mirror import seen_in_a_mirror
from unicon.output import UniConOutput, ensemble_output
from unicon.pictures import as_pictures, check_output_type


def in_every_view(call: Callable[..., Any]) -> Callable[..., Any]:
    """Lets `processing_resolution` of a pipeline's call be several, and `mirrored` be true: ensembles."""

    @wraps(call)
    def called(
        pipe: Any, prompt: Any = None, image: Any = None, conditions: Any = None, outputs: Any = None, *,
        processing_resolution: Any = None, mirrored: bool = False, **keywords: Any,
    ) -> Any:  # fmt: skip
        is_one = not isinstance(processing_resolution, Sequence) or isinstance(processing_resolution, str)
        if is_one and not mirrored:
            sized = {**keywords, "processing_resolution": processing_resolution}
            return call(pipe, prompt, image, conditions, outputs, **sized)
        sizes = [processing_resolution] if is_one else list(processing_resolution)
        output_type, as_dict = keywords.pop("output_type", "pil"), keywords.pop("return_dict", True)
        given = {**(conditions or {}), **{name: keywords.get(name) for name in pipe.adapters}}
        _check(sizes, output_type, image, given if mirrored else {})
        parts: dict[str, list[np.ndarray]] = {}
        for size in sizes:
            for turned in (False, True) if mirrored else (False,):
                seen = _mirror_image(image) if turned else image
                sized = {**keywords, "processing_resolution": size, "output_type": "np"}
                found: UniConOutput = call(pipe, prompt, seen, conditions, outputs, **sized)
                if found.images is not None:
                    raise ValueError(
                        "the image is generated, and several sizes or mirror images are for estimates of a "
                        "given one: give one processing_resolution and mirrored=False, or only conditions "
                        "as outputs"
                    )
                for name, maps in found.maps.items():
                    stack = found.members.get(name, maps[None])  # a single estimate is a member
                    parts.setdefault(name, []).append(seen_in_a_mirror(stack, name) if turned else stack)
        members = {name: np.concatenate(stacks) for name, stacks in parts.items()}
        result = ensemble_output(members, output_type, pipe.device)
        return result if as_dict else result.to_tuple()

    return called


def _mirror_image(image: Any) -> Any:
    """Of what the call takes as its image."""
    if isinstance(image, Branch):
        return replace(image, map=_turned(image.map))
    return _turned(image)


def _turned(pictures: Any) -> Tensor:
    return as_pictures(pictures, IMAGE).flip(-1)


def _check(sizes: Sequence[Any], output_type: str, image: Any, given: Mapping[str, Any]) -> None:
    """`given` are maps that would have to be mirrored, too."""
    check_output_type(output_type)
    if output_type == "latent":
        raise ValueError("latents of several views make no ensemble; choose pil, np or pt as output_type")
    if not sizes or len(set(sizes)) < len(sizes):
        raise ValueError(f"processing_resolution is {sizes}; expected sizes in pixels, each once")
    if image is None or (isinstance(image, Branch) and image.map is None):
        raise ValueError("several sizes and mirror images are for estimates of a given image; give one")
    if names := [name for name, one in given.items() if _has_map(one)]:
        raise ValueError(
            f"mirrored=True is for estimates from the image alone, but {', '.join(names)} is given; leave "
            "one of them out"
        )


def _has_map(given: Any) -> bool:
    return given is not None and not (isinstance(given, Branch) and given.map is None)
