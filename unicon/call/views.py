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
from itertools import product
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
        sizes = _sizes(processing_resolution)
        if not isinstance(mirrored, bool):
            raise ValueError(f"mirrored must be True or False, got {mirrored!r}")
        if len(sizes) == 1 and not mirrored:
            return call(pipe, prompt, image, conditions, outputs, processing_resolution=sizes[0], **keywords)
        output_type, as_dict = keywords.pop("output_type", "pil"), keywords.pop("return_dict", True)
        _check_estimate(image, outputs, output_type, keywords)
        if mirrored:
            named = {name: keywords.get(name) for name in pipe.adapters}
            _check_alone({**named, **conditions} if isinstance(conditions, Mapping) else named)
        views = [(image, False), (_mirror_image(image), True)] if mirrored else [(image, False)]
        parts: dict[str, list[np.ndarray]] = {}
        for size, (seen, turned) in product(sizes, views):
            sized = {**keywords, "processing_resolution": size, "output_type": "np"}
            found: UniConOutput = call(pipe, prompt, seen, conditions, outputs, **sized)
            for name, maps in found.maps.items():
                stack = found.members.get(name, maps[None])  # a single estimate is a member
                parts.setdefault(name, []).append(
                    seen_in_a_mirror(stack, pipe.kinds[name]) if turned else stack
                )
            if pipe.interrupt:
                break
        members = {name: np.concatenate(parts.pop(name)) for name in list(parts)}
        result = ensemble_output(members, output_type, pipe.kinds, pipe._execution_device)
        return result if as_dict else result.to_tuple()

    return called


def _sizes(given: Any) -> list[Any]:
    """One or several processing resolutions; whether each is one, the call itself checks."""
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        return [given]
    sizes = list(given)
    if not sizes or any(size is None or isinstance(size, Sequence) for size in sizes):
        raise ValueError(f"processing_resolution is {given}; expected a size in pixels, or several")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"processing_resolution is {given}; expected each size once")
    return sizes


def _mirror_image(image: Any) -> Any:
    """Of what the call takes as its image."""
    if isinstance(image, Branch):
        return replace(image, map=_turned(image.map))
    return _turned(image)


def _turned(pictures: Any) -> Tensor:
    return as_pictures(pictures, IMAGE).flip(-1)


def _check_estimate(image: Any, outputs: Any, output_type: str, keywords: Mapping[str, Any]) -> None:
    """ValueError unless maps alone are made, of an image that stays as it is given."""
    check_output_type(output_type)
    if output_type == "latent":
        raise ValueError("latents of several views make no ensemble; choose pil, np or pt as output_type")
    branch = image if isinstance(image, Branch) else Branch(map=image)
    is_held = branch.map is not None and branch.mask is None and not branch.noise and not branch.stages
    given = {name: keywords.get(name) for name in ("noise", "mask", "invert")}
    changes = [name for name, value in given.items() if value is not None and value is not False]
    if changes or not is_held or IMAGE in (outputs or ()):
        why = f", not with {changes[0]}" if changes else ""
        raise ValueError(
            "several processing resolutions and mirrored=True are for estimates of an image that is given "
            f"and stays as it is{why}: name conditions alone as outputs, or give one processing_resolution "
            "and mirrored=False"
        )


def _check_alone(given: Mapping[str, Any]) -> None:
    """ValueError for maps that would have to be mirrored, too."""
    if names := [name for name, one in given.items() if _has_map(one)]:
        raise ValueError(
            f"mirrored=True is for estimates from the image alone, but {', '.join(names)} is given; leave "
            "one of them out"
        )


def _has_map(given: Any) -> bool:
    return given is not None and not (isinstance(given, Branch) and given.map is None)
