"""Which branches does a call have, what does each do, and what comes back?

Names are checked and contradictions refused here, before anything is computed. One branch alone is
`unicon.branch`; pictures and sizes are `unicon.call.framing`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from unicon.branch import IMAGE, Branch, plan_branch
from unicon.call.arguments import check_known
from unicon.sampling.guidance import Guidance
from unicon.sampling.plans import BranchPlan


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Request:
    """A call that makes sense."""

    branches: dict[str, Branch]
    """In batch order: the image, then conditions in the order their adapters were loaded."""
    plans: dict[str, BranchPlan]
    outputs: tuple[str, ...]
    """What comes back: what was asked for, else every branch that runs."""

    @property
    def text_scales(self) -> dict[str, float]:
        """Classifier-free guidance of every branch; 1 is off."""
        return {n: 1.0 if b.guidance_scale is None else b.guidance_scale for n, b in self.branches.items()}

    @property
    def moving_scales(self) -> tuple[float, ...]:
        """The same by place, 1 where a branch is held."""
        scales = self.text_scales
        return tuple(float(scales[n]) if plan.moves else 1.0 for n, plan in self.plans.items())


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """What a call may name."""

    adapters: tuple[str, ...]
    parameters: Collection[str]

    def check(self, name: str, *, keyword: bool) -> None:
        """ValueError with the nearest known name unless `name` is a loaded adapter; TypeError for a keyword
        that diffusers' pipelines have and this one has not."""
        if name in self.adapters:
            return
        if keyword:
            check_known(name)
        near = get_close_matches(name, [*self.adapters, *(self.parameters if keyword else ())], n=1)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise ValueError(
            f"unknown {'keyword or ' if keyword else ''}condition {name!r}{hint} "
            f"loaded adapters: {', '.join(self.adapters) or 'none'} (load one with load_adapter)"
        )


def read_request(
    *,
    image: Branch,
    conditions: Mapping[str, Any] | None,
    keywords: Mapping[str, Any],
    outputs: Sequence[str] | None,
    names: Names,
    usual_scale: float = 1.0,
) -> Request:
    """Branches, plans and outputs of a call; ValueError for names and combinations without a meaning.

    `usual_scale` guides an image that is drawn, where nobody says how strictly.
    """
    given = _given(conditions, keywords, names)
    asked = _asked(outputs, names)
    present = [n for n in names.adapters if n in given or n in asked]
    branches = {IMAGE: image, **{n: given.get(n, Branch()) for n in present}}
    plans = {n: plan_branch(n, b, asked=n in asked) for n, b in branches.items()}
    running = [n for n, plan in plans.items() if plan.moves]
    if not running:
        raise ValueError(
            f"nothing runs: all pictures ({', '.join(branches)}) are given and held; leave one out, give it "
            "noise or a mask, or name what to estimate, such as outputs=['depth']"
        )
    if image.guidance_scale is None:
        branches[IMAGE] = replace(image, guidance_scale=usual_scale if plans[IMAGE].moves else 1.0)
    request = Request(branches=branches, plans=plans, outputs=asked or tuple(running))
    _check_guidance(request)
    return request


def image_branch(
    image: Any,
    *,
    noise: float | None,
    mask: Any,
    prompt: str | Sequence[str] | None,
    negative_prompt: str | Sequence[str] | None,
    guidance_scale: float | None,
) -> Branch:
    """The image's branch, from a `Branch` or a picture and the call's arguments."""
    if not isinstance(image, Branch):
        image = Branch(map=image, noise=noise, mask=mask)
    elif noise is not None or mask is not None:
        raise ValueError("image is a Branch: put noise and mask into it")
    elif image.weight != 1 or image.reads != 1:
        raise ValueError(
            f"image has weight={image.weight}, reads={image.reads}: these belong to a condition, and say how "
            "strongly the image reads it and it the image; set them there"
        )
    for name, value in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        if value is not None and getattr(image, name) is not None:
            raise ValueError(f"{name} is given twice, in the call and in the image's Branch; keep one")
    return replace(
        image,
        prompt=image.prompt if prompt is None else prompt,
        negative_prompt=image.negative_prompt if negative_prompt is None else negative_prompt,
        guidance_scale=guidance_scale if image.guidance_scale is None else image.guidance_scale,
    )


def _given(
    conditions: Mapping[str, Any] | None, keywords: Mapping[str, Any], names: Names
) -> dict[str, Branch]:
    """Conditions by name; one that is None is not given."""
    if conditions is not None and not isinstance(conditions, Mapping):
        raise ValueError(
            f"conditions is a {type(conditions).__name__}; give a mapping such as {{'depth': picture}}"
        )
    for name in conditions or {}:
        names.check(name, keyword=False)
    for name in keywords:
        names.check(name, keyword=True)
    if both := sorted(set(conditions or {}) & set(keywords)):
        raise ValueError(f"{both[0]!r} is given twice, in conditions and as a keyword; keep one")
    values = {**(conditions or {}), **keywords}
    return {n: v if isinstance(v, Branch) else Branch(map=v) for n, v in values.items() if v is not None}


def _asked(outputs: Sequence[str] | None, names: Names) -> tuple[str, ...]:
    if outputs is None:
        return ()
    if isinstance(outputs, str):
        raise ValueError(f"outputs is the text {outputs!r}; give a list: outputs=[{outputs!r}]")
    if not outputs:
        raise ValueError(
            "outputs is empty; name what to return, or leave it out to get every branch that runs"
        )
    for name in outputs:
        if name != IMAGE:
            names.check(name, keyword=False)
    return tuple(dict.fromkeys(outputs))


def _check_guidance(request: Request) -> None:
    scale = request.text_scales[IMAGE]
    if scale != 1 and not request.plans[IMAGE].moves:
        name = next(n for n, plan in request.plans.items() if plan.moves)
        raise ValueError(
            f"guidance_scale={scale} guides the image, but the image is held; "
            f"guide what runs: {name}=Branch(guidance_scale={scale})"
        )


def read_guidance(
    request: Request, *, num_members: int, condition_scale: float, rescale: float, like_scale: float = 1.0,
    is_told: bool = False, is_partial: bool = False,
) -> Guidance:  # fmt: skip
    """Scales per branch, 1 where a branch is held, and everywhere if the UNet is told them (`is_told`).

    `is_partial`: a part of the run is to be without. Raises ValueError for what would have no effect.
    """
    if condition_scale and len(request.branches) == 1:
        raise ValueError(
            f"condition_guidance_scale={condition_scale}, but no condition takes part; give one, "
            "or leave it at 0"
        )
    if num_members > 1 and request.plans[IMAGE].moves:
        raise ValueError(
            f"ensemble_size={num_members} combines estimates from one held image, but here the image is "
            "generated; use num_images_per_prompt for several pictures"
        )
    text = (1.0,) * len(request.branches) if is_told else request.moving_scales
    like = tuple(float(like_scale) if n == IMAGE else 1.0 for n in request.plans)
    guidance = Guidance(text=text, condition=condition_scale, like=like, rescale=rescale)
    if is_partial and len(guidance.variants) == 1:
        if is_told:
            raise ValueError(
                "guidance_interval has no effect: this base was distilled with its guidance and is told "
                "guidance_scale at every step, so that none is without; leave guidance_interval at (0.0, "
                "1.0), and say how strict by guidance_scale alone"
            )
        raise ValueError(
            "guidance_interval has no effect: nothing is guided here; give a scale, or leave it at (0.0, 1.0)"
        )
    return guidance
