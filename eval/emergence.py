"""At which noise levels is a style decided, and which of its parts?

One picture is drawn again and again from the same noise. The style (its words, its LoRA) is at work in the
first k steps alone, for k from none to all: what each further step adds to the likeness is what is decided in
it. That is the measurement of Choi et al. 2024 (arXiv 2411.14793), who withhold the style's words from the
first steps, turned round, so that the additions are a distribution over log-SNR whose mean and deviation are
the law to train a style with. Likeness is split into colour, light, layout and an image encoder's features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adapters import lora_weights
from unicon.embeddings import embed_pictures
from unicon.latents import decode
from unicon.pipeline import UniConPipeline
from unicon.sampling.grids import Grid
from unicon.sampling.guidance import Denoiser, text_guidance
from unicon.sampling.levels import Levels, Schedule, clean_estimate
from unicon.sampling.loop import sample, start
from unicon.sampling.noise import NoiseSource
from unicon.sampling.plans import Plan, run
from unicon.sampling.solvers import Solver, solver_from_scheduler
from unicon.styles import with_phrases
from unicon.texts import TextReader

LEAST_DEVIATION = 2.0
"""Choi et al. found laws narrower than this poor, whatever the measured width."""
LEAST_CHANGE = 1e-6
"""A style that changes an aspect by less, as a share of its distance, is not seen in it."""

Measure = Callable[[Tensor], Mapping[str, float]]
"""Final latents (sample, C, h, w) to distances from the style by aspect; smaller is more alike."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Emergence:
    """How much of a style is there after its first steps."""

    log_snr: tuple[float, ...]
    """Of the middle of every step, from noisy to clean."""
    shares: dict[str, tuple[float, ...]]
    """By aspect: after the style was at work in the first 0, 1, ... steps, 0 as without it, 1 as with it all
    the way. Aspects in which it is not seen are left out."""

    def decided(self, aspect: str) -> np.ndarray:
        """Share decided in each step; sums to 1. A share once reached is not taken back."""
        reached = np.maximum.accumulate(np.clip(self.shares[aspect], 0, 1))
        return np.diff(reached) / max(reached[-1] - reached[0], LEAST_CHANGE)

    def mean(self, aspect: str) -> float:
        """log-SNR at which the aspect is decided, on average over what is decided."""
        return float((self.decided(aspect) * np.array(self.log_snr)).sum())

    def deviation(self, aspect: str) -> float:
        """How far that spreads over log-SNR."""
        off = np.square(np.array(self.log_snr) - self.mean(aspect))
        return float(np.sqrt((self.decided(aspect) * off).sum()))

    def lost(self, aspect: str, share: float = 0.5) -> float:
        """The log-SNR up to which the style must be at work for that share of it."""
        reached = np.concatenate([[0.0], np.cumsum(self.decided(aspect))])
        return float(self.log_snr[int(np.searchsorted(reached, share - 1e-9)) - 1])

    def law(self) -> str:
        """The law of noise levels to train this style with, as `train.levels` reads it."""
        aspects = list(self.shares)
        if not aspects:
            raise ValueError(
                "the style changes nothing that is measured; give a stronger one, more prompts, or references"
            )
        mean = sum(map(self.mean, aspects)) / len(aspects)
        spread = math.sqrt(
            sum(self.deviation(a) ** 2 + (self.mean(a) - mean) ** 2 for a in aspects) / len(aspects)
        )
        return f"style_friendly({mean:.2f}, {max(spread, LEAST_DEVIATION):.2f})"

    def as_json(self) -> dict[str, Any]:
        per_aspect = {
            a: {"mean": self.mean(a), "deviation": self.deviation(a), "half": self.lost(a)}
            for a in self.shares
        }
        return {**asdict(self), "aspects": per_aspect, "law": self.law()}


def emergence(
    plain: Denoiser,
    styled: Denoiser,
    measure: Measure,
    *,
    schedule: Schedule,
    grid: Grid,
    solver: Solver,
    noise: NoiseSource,
    shape: Sequence[int],
    progress: Callable[[range], Any] = iter,
) -> Emergence:
    """Draw with the style in the first k steps, for all k.

    Denoisers take one branch, (1, sample, C, h, w); `shape` is (sample, C, h, w).
    """
    trajectory = Plan((run("image"),)).resolve(grid)
    x = start(trajectory, {}, noise, shape)
    levels = trajectory.levels[:, 0]
    distances: list[Mapping[str, float]] = []
    for num in progress(range(trajectory.num_steps + 1)):
        bound = levels.timestep[num] if num < trajectory.num_steps else torch.tensor(-1.0)

        def switched(x: Tensor, level: Levels, bound: Tensor = bound) -> Tensor:
            noisy = float(level.timestep[0]) > float(bound) + 1e-6
            return (styled if noisy else plain)(x, level)

        distances.append(measure(sample(switched, x, trajectory, solver, noise)[0]))
    timesteps = levels.timestep.clone()
    timesteps[levels.is_clean] = 0
    middles = schedule.at_timestep((timesteps[1:] + timesteps[:-1]) / 2).log_snr
    shares = {}
    for aspect in distances[0]:
        values = np.array([distance[aspect] for distance in distances])
        change = values[0] - values[-1]
        if change > LEAST_CHANGE * abs(values[0]):
            shares[aspect] = tuple(((values[0] - values) / change).tolist())
    return Emergence(log_snr=tuple(middles.tolist()), shares=shares)


# --- a pipeline's style -----------------------------------------------------------------------------------


@torch.no_grad()
def style_emergence(
    pipe: UniConPipeline,
    prompts: Sequence[str],
    *,
    phrase: str = "",
    references: Tensor | None = None,
    steps: int = 20,
    guidance_scale: float = 2.0,
    seed: int = 0,
    progress: Callable[[range], Any] = iter,
) -> Emergence:
    """Where the loaded styles of a pipeline, and their words, are decided, at the base's own resolution.

    `references` (n, 3, H, W) in [0, 1] show the style; none: the pictures drawn with it all the way do.
    Layout is always compared with those. Raises ValueError where nothing makes the style.
    """
    weights = dict(lora_weights(pipe.unet))
    phrases = [phrase] if phrase else [card.phrase for card in pipe.styles.values() if card.phrase]
    if not phrases and not weights:
        raise ValueError("there is no style to measure; load one, or give its words")
    schedule = Schedule.from_scheduler(pipe.scheduler)
    solver, spacing = solver_from_scheduler(pipe.scheduler)
    reader, device = TextReader.of(pipe), pipe.unet.device
    plain_rows = reader([*(None for _ in prompts), *prompts], device).to(pipe.unet.dtype)
    bare, plain_text = plain_rows.unflatten(0, (2, -1))
    styled_words = list(with_phrases(list(prompts), phrases, reader.fits) or [])
    styled_text = reader(styled_words, device, styled=True).to(pipe.unet.dtype)

    def denoiser(text: Tensor, with_style: bool) -> Denoiser:
        def denoise(x: Tensor, level: Levels) -> Tensor:
            for name, weight in weights.items():
                pipe.set_style(name, weight if with_style else 0.0)
            halves = torch.cat([bare, text]) if guidance_scale != 1 else text
            inputs = x[0].repeat(len(halves) // len(text), 1, 1, 1).to(pipe.unet.device, pipe.unet.dtype)
            time = level.timestep.float().expand(len(halves)).to(pipe.unet.device)
            out = pipe.predict(inputs, time, halves, [], num_branches=1).to(x)
            answers = out.unflatten(0, (-1, len(text)))
            clean = [clean_estimate(o[None], x, level, schedule.prediction) for o in answers]
            return text_guidance(clean[-1], clean[0], guidance_scale) if len(clean) > 1 else clean[0]

        return denoise

    config = pipe.unet.config
    side = config["sample_size"]
    cells = tuple(side) if isinstance(side, (tuple, list)) else (side, side)
    shape = (len(prompts), config["in_channels"], *cells)
    settings: dict[str, Any] = {
        "schedule": schedule,
        "grid": spacing.grid(schedule, steps),
        "solver": solver,
        "shape": shape,
    }
    noise = NoiseSource.from_seed(seed, len(prompts))
    trajectory = Plan((run("image"),)).resolve(settings["grid"])
    plain, styled = denoiser(plain_text, False), denoiser(styled_text, True)
    try:
        x = start(trajectory, {}, noise, shape)
        whole = decode(pipe.vae, sample(styled, x, trajectory, solver, noise)[0].to(pipe.unet.device))
        measure = StyleDistance.to(whole if references is None else references, whole, image_features(pipe))
        return emergence(
            plain, styled, lambda z: measure(decode(pipe.vae, z.to(pipe.unet.device))), noise=noise,
            progress=progress, **settings,
        )  # fmt: skip
    finally:
        for name, weight in weights.items():
            pipe.set_style(name, weight)


def image_features(pipe: UniConPipeline) -> Callable[[Tensor], Tensor] | None:
    """Pictures to unit features (n, width); None where the base has no image encoder."""
    encoder = pipe.image_encoder
    if encoder is None:
        return None
    return lambda pictures: torch.nn.functional.normalize(
        embed_pictures(encoder, pipe.feature_extractor, pictures), dim=-1
    )


# --- likeness ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class StyleDistance:
    """Distances of pictures from a style, by aspect."""

    style: dict[str, Tensor]
    """What each aspect is on the references, in the mean; layout's is each picture's own."""
    encoder: Callable[[Tensor], Tensor] | None

    @classmethod
    def to(
        cls, references: Tensor, whole: Tensor, encoder: Callable[[Tensor], Tensor] | None
    ) -> StyleDistance:
        """A likeness to references, and in layout to the pictures (n, 3, H, W) wholly in the style."""
        found = {name: values.mean(0, keepdim=True) for name, values in _aspects(references, encoder).items()}
        return cls({**found, "layout": layout(whole)}, encoder)

    def __call__(self, pictures: Tensor) -> dict[str, float]:
        """Mean Euclidean distances."""
        found = {**_aspects(pictures, self.encoder), "layout": layout(pictures)}
        return {name: float((found[name] - self.style[name]).norm(dim=1).mean()) for name in found}


def _aspects(pictures: Tensor, encoder: Callable[[Tensor], Tensor] | None) -> dict[str, Tensor]:
    found = {"colour": colour(pictures), "light": light(pictures)}
    return {**found, "features": encoder(pictures)} if encoder is not None else found


def colour(pictures: Tensor, bins: int = 6) -> Tensor:
    """Histograms of colours: square roots of shares, so that distances are Hellinger's; (n, bins ** 3)."""
    places = (pictures.float().clamp(0, 1) * bins).long().clamp(max=bins - 1)
    numbers = (places[:, 0] * bins + places[:, 1]) * bins + places[:, 2]
    numbers = numbers.flatten(1)
    counts = pictures.new_zeros(len(numbers), bins**3, dtype=torch.float32)
    counts.scatter_add_(1, numbers, torch.ones_like(numbers, dtype=torch.float32))
    return (counts / numbers.shape[1]).sqrt()


def light(pictures: Tensor) -> Tensor:
    """How bright, how contrasted, and how smoothly shaded: (n, 9).

    Quantiles of brightness, its deviation, and its energy from coarse to fine (differences between halved
    sizes).
    """
    bright = pictures.float().mean(1, keepdim=True)
    quantiles = torch.quantile(
        bright.flatten(1), torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95]).to(bright), dim=1
    )
    energies, coarse = [], bright
    for _ in range(3):
        smaller = torch.nn.functional.avg_pool2d(coarse, 2)
        again = torch.nn.functional.interpolate(smaller, size=coarse.shape[-2:], mode="nearest")
        energies.append((coarse - again).square().mean(dim=(1, 2, 3)).sqrt())
        coarse = smaller
    return torch.stack([*quantiles, bright.flatten(1).std(1), *energies], dim=1)


def layout(pictures: Tensor, cells: int = 8) -> Tensor:
    """Brightness of 8 x 8 fields, without their mean: (n, 64)."""
    fields = torch.nn.functional.adaptive_avg_pool2d(pictures.float().mean(1, keepdim=True), cells).flatten(1)
    return fields - fields.mean(1, keepdim=True)
