"""What can be done with a picture through its embedding?

A picture is a pair (z, noise): what it shows, as a CLIP embedding, and the rest, as the noise from which the
base and its decoder adapter draw it (Ramesh et al. 2022, section 3). Either can be kept while the other
changes, at one and the same map if there is one. All functions return pictures as the pipeline does.

Whatever inverts a picture uses DDIM for that, and for drawing; the pipeline's scheduler stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor

from unicon.bases import base_size
from unicon.call.framing import check_affordable
from unicon.embeddings import principal, slerp
from unicon.pictures import as_pictures
from unicon.pipeline import UniConPipeline
from unicon.ranges import AT_LEAST_1
from unicon.sampling.levels import is_flow, scheduler_config

LEAST_DIFFERENCE = 1e-3
"""Of the unit vectors of two texts; below it lies rounding."""
_BATCH = replace(AT_LEAST_1, optional=True, hint="None is all at a time")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawing:
    """How pictures are drawn, alike for all that are to be compared."""

    prompt: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """Maps by adapter name, held clean."""
    num_inference_steps: int = 50
    guidance_scale: float = 1.0
    """By the prompt, 1 is off. Inversion is guided as drawing is."""
    like_scale: float = 1.0
    like_guidance_scale: float = 1.0
    """By what a picture is to look like, 1 is off."""
    output_type: str = "pil"
    seed: int = 0
    batch: int | None = None
    """Pictures that are drawn at a time; None: all that are compared."""

    def __post_init__(self) -> None:
        _BATCH.check_fields(self, "batch")

    def __call__(self, pipe: UniConPipeline, **arguments: Any) -> Any:
        """The pipeline's pictures."""
        settings = {"output_type": self.output_type, "outputs": ["image"], **arguments}
        out: Any = pipe(
            self.prompt,
            conditions=self.conditions,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            like_scale=self.like_scale,
            like_guidance_scale=self.like_guidance_scale,
            **settings,
        )
        return out.images

    def each(self, pipe: UniConPipeline, z: Tensor, latents: Tensor, **arguments: Any) -> Any:
        """A picture for each embedding (n, width), from its noise (n, C, h, w) or the one (1, C, h, w)."""
        latents, generators = latents.expand(len(z), -1, -1, -1), self.generators(len(z))
        at_once = self.batch or len(z)
        rows = [slice(start, start + at_once) for start in range(0, len(z), at_once)]
        return _joined(
            [self(pipe, like=z[r], latents=latents[r], generator=generators[r], **arguments) for r in rows]
        )

    def noise_of(self, pipe: UniConPipeline, picture: Any, z: Tensor) -> Tensor:
        """The noise (1, C, h, w) a picture comes from, told z."""
        return self(pipe, image=picture, like=z, invert=True, outputs=None, output_type="latent")

    def generators(self, num: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(self.seed + i) for i in range(num)]


def variations(
    pipe: UniConPipeline, picture: Any, num: int, *, eta: float = 1.0, drawing: Drawing | None = None
) -> Any:
    """`num` pictures of the same meaning. eta 0 gives the picture itself, up to the error of its inversion;
    the more fresh noise, the more of what the embedding does not say is drawn anew (section 3.1)."""
    return variation_rows(pipe, picture, num, [eta], drawing=drawing)[0]


def variation_rows(
    pipe: UniConPipeline, picture: Any, num: int, etas: Sequence[float], *, drawing: Drawing | None = None
) -> list[Any]:
    """`variations` at several amounts of fresh noise, with one inversion of the picture for all."""
    drawing = drawing or Drawing()
    if num < 1:
        raise ValueError(f"num is {num}; give at least 1")
    shown, z = _seen(pipe, picture, "picture")
    with ddim(pipe):
        noise, size = drawing.noise_of(pipe, shown, z), _size(shown)
        return [
            drawing.each(pipe, z.expand(num, -1), noise, eta=eta, **size)
            if eta
            else _joined([drawing.each(pipe, z, noise, **size)] * num)
            for eta in etas
        ]


def interpolate(
    pipe: UniConPipeline,
    first: Any,
    second: Any,
    shares: Sequence[float],
    *,
    fixed_noise: bool = False,
    drawing: Drawing | None = None,
) -> Any:
    """One picture for each share of the way from `first` (0) to `second` (1), along great circles.

    With their own noise, interpolated too, the ends are the pictures themselves; with fixed noise, one drawn
    from the seed, all are variations of one composition, in the size of `first`. ValueError for pictures of
    two sizes, whose noises cannot be mixed.
    """
    drawing = drawing or Drawing()
    where = _numbers(shares, "shares")
    (a, z_a), (b, z_b) = _seen(pipe, first, "first"), _seen(pipe, second, "second")
    size = _size(a)
    z = slerp(z_a, z_b, where.to(z_a.device))
    if fixed_noise:
        with ddim(pipe):
            return drawing.each(pipe, z, _drawn_noise(pipe, drawing, size), **size)
    if _size(b) != size:
        raise ValueError(
            f"first has {size['width']} x {size['height']} px, second {b.shape[-1]} x {b.shape[-2]}, and "
            "their noises are to be mixed: resize one to the other, or fixed_noise=True"
        )
    with ddim(pipe):
        noises = [drawing.noise_of(pipe, shown, end) for shown, end in ((a, z_a), (b, z_b))]
        flat = slerp(noises[0].flatten(1), noises[1].flatten(1), where.to(noises[0].device))
        return drawing.each(pipe, z, flat.unflatten(1, noises[0].shape[1:]), **size)


def change_by_text(
    pipe: UniConPipeline,
    picture: Any,
    text: str,
    amounts: Sequence[float],
    *,
    instead_of: str = "",
    drawing: Drawing | None = None,
) -> Any:
    """One picture for each amount of change towards `text` and away from `instead_of`, from 0, the picture
    itself, to 0.25 or 0.5 (section 3.3): z is rotated towards the difference of the texts' embeddings.

    ValueError for two texts between which the CLIP sees no difference, such as an empty one and none.
    """
    drawing = drawing or Drawing()
    shown, z = _seen(pipe, picture, "picture")
    direction = _direction(pipe, text, instead_of)
    turned = slerp(z, direction.to(z), _numbers(amounts, "amounts").to(z.device))
    with ddim(pipe):
        return drawing.each(pipe, turned, drawing.noise_of(pipe, shown, z), **_size(shown))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PrincipalComponents:
    """The directions in which the embeddings of a set of pictures differ, the strongest first."""

    mean: Tensor
    """(width,)"""
    directions: Tensor
    """Orthonormal rows (components, width)."""

    @classmethod
    def of(cls, z: Tensor) -> PrincipalComponents:
        """Of embeddings (n, width); ValueError for fewer than 2."""
        if len(z) < 2:
            raise ValueError(f"{len(z)} embeddings have no principal components; give at least 2 pictures")
        mean, directions, _ = principal(z)
        return cls(mean=mean, directions=directions)

    def keep(self, z: Tensor, num: int) -> Tensor:
        """Embeddings of which only the first `num` components are as they were, unit vectors. ValueError for
        more than there are, or fewer than 0."""
        if not 0 <= num <= len(self.directions):
            raise ValueError(
                f"{num} principal components are to be kept; expected from 0 (the mean alone) to "
                f"{len(self.directions)}, as many as these pictures have"
            )
        rows = self.directions[:num]
        return F.normalize(self.mean + (z - self.mean) @ rows.T @ rows, dim=-1)


def reconstruct(
    pipe: UniConPipeline,
    picture: Any,
    components: PrincipalComponents,
    nums: Sequence[int],
    *,
    drawing: Drawing | None = None,
) -> Any:
    """One picture for each number of principal components kept of its embedding (section 3.4), from the noise
    of the seed."""
    drawing = drawing or Drawing()
    _numbers(nums, "nums")
    shown, z = _seen(pipe, picture, "picture")
    kept = torch.cat([components.keep(z, num) for num in nums])
    return drawing.each(pipe, kept, _drawn_noise(pipe, drawing, _size(shown)), **_size(shown))


def swap(
    pipe: UniConPipeline, meaning: Any, structure: Any, condition: str, *, drawing: Drawing | None = None
) -> Any:
    """One picture that shows what `meaning` shows in the map of `structure`, which is estimated from it."""
    drawing = drawing or Drawing()
    shown = _one(pipe, structure, "structure")
    z = pipe.embed(meaning)
    if len(z) > 1:
        raise ValueError(f"meaning: got {len(z)} pictures; give one")
    estimated: Any = pipe(
        image=shown,
        outputs=[condition],
        num_inference_steps=drawing.num_inference_steps,
        generator=drawing.generators(1),
        output_type="np",
    )
    branches = {**drawing.conditions, condition: estimated.maps[condition]}
    return replace(drawing, conditions=branches)(pipe, like=z, generator=drawing.generators(1))


@contextmanager
def ddim(pipe: UniConPipeline) -> Iterator[None]:
    """The pipeline with DDIM on its own schedule, for a while."""
    kept = pipe.scheduler
    if is_flow(scheduler_config(kept)):
        raise ValueError(
            "this base is of flow matching, by which pictures are not inverted here; give one that predicts "
            "noise, velocity or samples on a schedule that DDIM takes"
        )
    # Without a word on clipping, as in configs of other schedulers, DDIM would clip latents.
    changed: Any = DDIMScheduler.from_config(kept.config, clip_sample=False)
    pipe.scheduler = changed
    try:
        yield
    finally:
        pipe.scheduler = kept


def _direction(pipe: UniConPipeline, text: str, instead_of: str) -> Tensor:
    """From one text to another, a unit vector (1, width). ValueError where that is nowhere."""
    said = pipe.embed_texts([text, instead_of]).z
    difference = said[:1] - said[1:]
    if float(difference.norm()) < LEAST_DIFFERENCE:
        raise ValueError(
            f"text is {text!r} and instead_of {instead_of!r}, between which this CLIP sees no difference: "
            "say with text what it is to become, and with instead_of what it is now"
        )
    return F.normalize(difference, dim=-1)


def _one(pipe: UniConPipeline, picture: Any, name: str) -> Tensor:
    """One picture, (1, 3, H, W) in [0, 1]. ValueError for several, and for one too large for the base."""
    found = as_pictures(picture, name)
    if len(found) > 1:
        raise ValueError(f"{name}: got {len(found)} pictures; give one, and call again for the others")
    own_px = base_size(pipe.unet, pipe.vae).own_px
    remedy = f"Make it smaller: picture.thumbnail(({own_px}, {own_px}))"
    check_affordable((found.shape[-2], found.shape[-1]), own_px, f"{name}: {remedy}")
    return found


def _seen(pipe: UniConPipeline, picture: Any, name: str) -> tuple[Tensor, Tensor]:
    """One picture (1, 3, H, W), and its embedding (1, width)."""
    found = _one(pipe, picture, name)
    return found, pipe.embed(found)


def _numbers(values: Sequence[float], name: str) -> Tensor:
    """Values (n,) of a sweep. ValueError for none, and for any that is not finite."""
    found = torch.tensor(list(values), dtype=torch.float32)
    if not len(found) or not bool(found.isfinite().all()):
        raise ValueError(f"{name} is {list(values)}; give at least one finite number")
    return found


def _joined(parts: Sequence[Any]) -> Any:
    """Pictures of several calls, in the form of each: a list, an array or a tensor."""
    if isinstance(parts[0], Tensor):
        return torch.cat(list(parts))
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [picture for part in parts for picture in part]


def _drawn_noise(pipe: UniConPipeline, drawing: Drawing, size: Mapping[str, int]) -> Tensor:
    """Noise of the seed for pictures of a size."""
    factor, channels = pipe.vae_scale_factor, pipe.unet.config["in_channels"]
    multiple = base_size(pipe.unet, pipe.vae).multiple_px
    cells = [-(-side // multiple) * multiple // factor for side in (size["height"], size["width"])]
    return torch.randn(1, channels, *cells, generator=torch.Generator().manual_seed(drawing.seed))


def _size(picture: Tensor) -> dict[str, int]:
    return {"height": picture.shape[-2], "width": picture.shape[-1]}
