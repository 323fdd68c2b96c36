"""Is a photograph one that a base can be expected to understand?

Two numbers of a picture, each needing nothing but the base: how well its autoencoder gives the picture back,
and how well its UNet, unprompted, finds the picture in noise. A base's limits are percentiles of both over
pictures of the kind it was trained on. They are kept in `limits.json` beside its weights; `unicon limits`
measures them. Passing is no promise: a picture can look familiar and still be misread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch

from unicon.bases import base_size
from unicon.latents import decode, encode
from unicon.pictures import as_pictures
from unicon.sampling.levels import Schedule, add_noise, clean_estimate
from unicon.sampling.noise import NoiseSource
from unicon.texts import TextReader

if TYPE_CHECKING:
    from unicon.pipeline import UniConPipeline

FILE = "limits.json"
PROGRESS = (0.3, 0.5, 0.7)
"""Levels at which the UNet is asked, as shares of its last timestep; lower ones hide little, higher all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strangeness:
    """How badly a base explains one picture."""

    reconstruction: float
    """Root mean square difference of the picture and its reconstruction, values in [0, 1]."""
    surprise: float
    """Root mean square error of the unprompted clean estimates, in units of the scaled latents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is still familiar to a base."""

    reconstruction: float
    """Largest familiar `Strangeness.reconstruction`."""
    surprise: float
    """Largest familiar `Strangeness.surprise`."""
    percentile: float
    """Share of the measured pictures, in percent, that lie within each limit."""
    num_pictures: int
    source: str
    """Which pictures were measured."""

    def exceeded(self, found: Strangeness) -> dict[str, tuple[float, float]]:
        """The numbers beyond their limits, as name -> (found, limit); empty for a familiar picture."""
        pairs = {f.name: (getattr(found, f.name), getattr(self, f.name)) for f in fields(Strangeness)}
        return {name: pair for name, pair in pairs.items() if pair[0] > pair[1]}


@torch.no_grad()
def strangeness(pipe: UniConPipeline, pictures: Sequence[PIL.Image.Image]) -> list[Strangeness]:
    """Both numbers of each picture's central square, at the base's own size."""
    side = base_size(pipe.unet, pipe.vae).own_px
    squares = [
        PIL.ImageOps.fit(p.convert("RGB"), (side, side), PIL.Image.Resampling.LANCZOS) for p in pictures
    ]
    given = as_pictures(squares, "photo").to(pipe.device)
    latents = encode(pipe.vae, given)
    back, hidden = decode(pipe.vae, latents), _estimate_errors(pipe, latents)
    return [
        Strangeness(reconstruction=float(a), surprise=float(b))
        for a, b in zip(_root_mean_square(back - given), hidden, strict=True)
    ]


def _estimate_errors(pipe: UniConPipeline, clean: torch.Tensor) -> torch.Tensor:
    """(N,) mean over the levels of the clean estimates' errors, under the same noise for every picture."""
    schedule = Schedule.from_scheduler(pipe.scheduler)
    source = NoiseSource.from_seed(0, 1)
    text = TextReader.of(pipe)([None], clean.device).to(pipe.unet.dtype)
    errors = []
    for step, share in enumerate(PROGRESS):
        levels = schedule.at_timestep([share * schedule.last_timestep] * len(clean))
        levels = levels.to(clean.device, torch.float32)
        noise = source.draw("image", step, clean.shape[1:]).to(clean.device).expand_as(clean)
        noisy = add_noise(clean, noise, levels)
        output = pipe.predict(
            noisy.to(pipe.unet.dtype), levels.timestep.float(), text.expand(len(clean), -1, -1), pairs=[],
            styled=False,
        )  # fmt: skip
        found = clean_estimate(output, noisy, levels, schedule.prediction)
        errors.append(_root_mean_square(found.float() - clean))
    return torch.stack(errors).mean(0)


def _root_mean_square(values: torch.Tensor) -> torch.Tensor:
    return values.square().mean(dim=(1, 2, 3)).sqrt()


def limits_over(found: Sequence[Strangeness], *, percentile: float, source: str) -> Limits:
    """The percentile of each number; ValueError without pictures or for a percentile outside (0, 100]."""
    if not found:
        raise ValueError("limits need at least one picture, got none")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile is {percentile}; give one above 0 and at most 100, such as 99")
    both = [[each.reconstruction, each.surprise] for each in found]
    reconstruction, surprise = np.percentile(np.array(both), percentile, axis=0)
    return Limits(
        reconstruction=float(reconstruction),
        surprise=float(surprise),
        percentile=percentile,
        num_pictures=len(found),
        source=source,
    )


def read_limits(folder: Path) -> Limits | None:
    """The limits kept in a base's folder, or None; ValueError for a file that holds something else."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        return Limits(**json.loads(path.read_text()))
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path}: holds no limits ({error}); measure them again with unicon limits"
        ) from error


def as_json(limits: Limits) -> dict[str, object]:
    """What `read_limits` reads back."""
    return asdict(limits)
