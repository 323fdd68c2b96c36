"""What can be done with a picture through its embedding?

A picture is a pair (z, noise): what it shows, as a CLIP embedding, and the rest, as the noise from which the
base and its decoder adapter draw it (Ramesh et al. 2022, section 3). Either can be kept while the other
changes, at one and the same map if there is one. All functions return pictures as the pipeline does.

Whatever inverts a picture uses DDIM for that, and for drawing; the pipeline's scheduler stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor

from unicon.bases import base_size
from unicon.embeddings import principal, slerp
from unicon.pictures import as_pictures
from unicon.pipeline import UniConPipeline


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawing:
    """How pictures are drawn, alike for all that are to be compared."""

    prompt: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """Maps by adapter name, held clean."""
    num_inference_steps: int = 50
    like_scale: float = 1.0
    output_type: str = "pil"
    seed: int = 0

    def __call__(self, pipe: UniConPipeline, **arguments: Any) -> Any:
        """The pipeline's pictures."""
        settings = {"output_type": self.output_type, "outputs": ["image"], **arguments}
        out: Any = pipe(
            self.prompt,
            conditions=self.conditions,
            num_inference_steps=self.num_inference_steps,
            like_scale=self.like_scale,
            **settings,
        )
        return out.images

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
    drawing = drawing or Drawing()
    z = pipe.embed(picture)
    with ddim(pipe):
        noise = drawing.noise_of(pipe, picture, z)
        return drawing(
            pipe, like=z, latents=noise.expand(num, -1, -1, -1), num_images_per_prompt=num, eta=eta,
            generator=drawing.generators(num), **_size(picture),
        )  # fmt: skip


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
    from the seed, all are variations of one composition.
    """
    drawing = drawing or Drawing()
    ends = [pipe.embed(each) for each in (first, second)]
    where = torch.tensor(shares, dtype=torch.float32)
    z = slerp(ends[0], ends[1], where.to(ends[0].device))
    with ddim(pipe):
        if fixed_noise:
            latents = _drawn_noise(pipe, drawing, _size(first)).expand(len(shares), -1, -1, -1)
        else:
            noises = [
                drawing.noise_of(pipe, each, end) for each, end in zip((first, second), ends, strict=True)
            ]
            flat = slerp(noises[0].flatten(1), noises[1].flatten(1), where.to(noises[0].device))
            latents = flat.unflatten(1, noises[0].shape[1:])
        return _along(pipe, z, latents, drawing, first)


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
    itself, to 0.25 or 0.5 (section 3.3): z is rotated towards the difference of the texts' embeddings."""
    drawing = drawing or Drawing()
    z, said = pipe.embed(picture), pipe.embed_texts([text, instead_of]).z
    direction = F.normalize(said[:1] - said[1:], dim=-1)
    turned = slerp(z, direction.to(z), torch.tensor(amounts, dtype=torch.float32, device=z.device))
    with ddim(pipe):
        noise = drawing.noise_of(pipe, picture, z)
        return _along(pipe, turned, noise.expand(len(amounts), -1, -1, -1), drawing, picture)


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
        """Embeddings of which only the first `num` components are as they were, unit vectors."""
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
    z = pipe.embed(picture)
    kept = torch.cat([components.keep(z, num) for num in nums])
    noise = _drawn_noise(pipe, drawing, _size(picture))
    return _along(pipe, kept, noise.expand(len(nums), -1, -1, -1), drawing, picture)


def swap(
    pipe: UniConPipeline, meaning: Any, structure: Any, condition: str, *, drawing: Drawing | None = None
) -> Any:
    """One picture that shows what `meaning` shows in the map of `structure`, which is estimated from it."""
    drawing = drawing or Drawing()
    estimated: Any = pipe(image=structure, outputs=[condition], output_type="np")
    branches = {**drawing.conditions, condition: estimated.maps[condition]}
    drawn: Any = pipe(
        drawing.prompt,
        conditions=branches,
        outputs=["image"],
        like=meaning,
        like_scale=drawing.like_scale,
        num_inference_steps=drawing.num_inference_steps,
        generator=drawing.generators(1),
        output_type=drawing.output_type,
    )
    return drawn.images


@contextmanager
def ddim(pipe: UniConPipeline) -> Iterator[None]:
    """The pipeline with DDIM on its own schedule, for a while."""
    kept = pipe.scheduler
    # Without a word on clipping, as in configs of other schedulers, DDIM would clip latents.
    changed: Any = DDIMScheduler.from_config(kept.config, clip_sample=False)
    pipe.scheduler = changed
    try:
        yield
    finally:
        pipe.scheduler = kept


def _along(pipe: UniConPipeline, z: Tensor, latents: Tensor, drawing: Drawing, like_size: Any) -> Any:
    """One picture for each embedding."""
    return drawing(pipe, like=z, latents=latents, generator=drawing.generators(len(z)), **_size(like_size))


def _drawn_noise(pipe: UniConPipeline, drawing: Drawing, size: Mapping[str, int]) -> Tensor:
    """Noise of the seed for pictures of a size."""
    factor, channels = pipe.vae_scale_factor, pipe.unet.config["in_channels"]
    multiple = base_size(pipe.unet, pipe.vae).multiple_px
    cells = [-(-side // multiple) * multiple // factor for side in (size["height"], size["width"])]
    return torch.randn(1, channels, *cells, generator=torch.Generator().manual_seed(drawing.seed))


def _size(picture: Any) -> dict[str, int]:
    height, width = as_pictures(picture, "picture").shape[-2:]
    return {"height": height, "width": width}
