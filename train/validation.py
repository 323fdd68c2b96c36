"""Does a run learn what it should: is each direction drawn well, and is the condition heeded at all?

On a few pairs that are not trained on, always the same, with the same noise. Every number stands beside the
same one with another pair's map or picture: where the two do not part, the condition is ignored. That shows
first in the errors of denoising, long before it can be seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from unicon.branch import Branch
from unicon.latents import encode
from unicon.pictures import as_array
from unicon.pipeline import UniConPipeline
from unicon.sampling.levels import Levels, Schedule
from unicon.sheets import contact_sheet, picture
from unicon.texts import TextReader

OF_ANOTHER = "_of_another"
"""How the number is called that another pair's other side gives."""
HEEDED = 0.01
"""By which share the right side must be better than another pair's to count as heeded."""
NOISE_SHARES = (0.3, 0.6, 0.9)
"""At which shares of the timesteps denoising is looked at."""
COARSE, EDIT = 0.6, 0.7
"""How noisy a coarse map and an edited picture start."""
SHOWN = 6
"""Pairs on the sheet, at most."""

Denoise = Callable[[Tensor, Tensor, Levels, Tensor], Tensor]
"""Clean latents, noise, levels and texts of (image, map) x pairs to mean squared errors (2, pairs)."""


@contextlib.contextmanager
def encoders_on(pipe: UniConPipeline, device: torch.device) -> Iterator[None]:
    """Autoencoder and text encoder on a device for a while; training leaves them where they cost nothing."""
    parts = [pipe.vae, *TextReader.of(pipe).encoders]
    homes = [part.device for part in parts]
    for part in parts:
        torch.nn.Module.to(part, device)
    pipe.set_progress_bar_config(disable=True)
    try:
        yield
    finally:
        for part, home in zip(parts, homes, strict=True):
            torch.nn.Module.to(part, home)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class HeldOut:
    """Pairs of one size that are not trained on."""

    pictures: Tensor
    """(n, 3, H, W) in [0, 1]."""
    maps: Tensor
    """The same."""
    captions: Sequence[str]

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Validator:
    """A pipeline whose adapter is being trained, and pairs to try it on."""

    pipe: UniConPipeline
    condition: str
    held_out: HeldOut
    steps: int
    """Of every sampling run."""

    @torch.no_grad()
    def __call__(self, denoise: Denoise) -> tuple[dict[str, float], Image.Image]:
        """Numbers by name, and a sheet with every direction."""
        with encoders_on(self.pipe, self.pipe.unet.device):
            drawn = self._drawn()
            return {**self._denoised(denoise), **self._scored(drawn)}, self._sheet(drawn)

    # --- numbers ------------------------------------------------------------------------------------------

    def _denoised(self, denoise: Denoise) -> dict[str, float]:
        """Errors of each side while the other is clean, beside those with another pair's other side."""
        schedule = Schedule.from_scheduler(self.pipe.scheduler)
        clean, text = self._latents(), self._texts()
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).to(clean)
        found = {}
        for side, name in enumerate(("image", "map")):
            for other, ending in ((clean[1 - side], ""), (clean[1 - side].roll(1, 0), OF_ANOTHER)):
                latents = torch.stack([clean[0], other] if side == 0 else [other, clean[1]])
                errors = []
                for share in NOISE_SHARES:
                    timestep = torch.full(clean.shape[:2], share * schedule.last_timestep)
                    held = torch.arange(2)[:, None].expand(clean.shape[:2]) != side
                    levels = schedule.at_timestep(timestep).clean_where(held).to(clean.device, torch.float32)
                    errors.append(float(denoise(latents, noise, levels, text)[side].mean()))
                found[f"denoised_{name}{ending}"] = sum(errors) / len(errors)
        return found

    def _scored(self, drawn: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean absolute differences of maps, in shares of their range."""
        own, found = self.held_out.maps, {}
        for name in ("estimated", "read_back"):
            found[name] = _difference(drawn[name], own)
            found[f"{name}{OF_ANOTHER}"] = _difference(drawn[name], own.roll(1, 0))
        return found

    # --- pictures -----------------------------------------------------------------------------------------

    def _drawn(self) -> dict[str, Tensor]:
        """Every direction's pictures (n, 3, H, W), by name."""
        held = self.held_out
        top = torch.zeros_like(held.pictures[:, :1])
        top[..., : top.shape[-2] // 2, :] = 1
        drawn = {
            "estimated": self._run(None, image=held.pictures, outputs=[self.condition])[1],
            "from_map": self._run(held.captions, under=held.maps)[0],
            "from_coarse": self._run(held.captions, under=Branch(map=held.maps, noise=COARSE))[0],
            "edited": self._run(held.captions, image=held.pictures, under=held.maps, noise=EDIT)[0],
            "filled_in": self._run(held.captions, image=held.pictures, under=held.maps, mask=top)[0],
        }
        both = self._run(held.captions, outputs=["image", self.condition])
        drawn |= {"joint_image": both[0], "joint_map": both[1]}
        drawn["read_back"] = self._run(None, image=drawn["from_map"], outputs=[self.condition])[1]
        return drawn

    def _run(
        self,
        prompt: Sequence[str] | None,
        *,
        outputs: Sequence[str] = ("image",),
        under: Any = None,
        **given: Any,
    ) -> tuple[Tensor, Tensor]:
        """Image and map, whichever is asked for."""
        out: Any = self.pipe(
            None if prompt is None else list(prompt),
            conditions={} if under is None else {self.condition: under},
            outputs=list(outputs),
            num_inference_steps=self.steps,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(0),
            output_type="pt",
            **given,
        )
        return out.images, out.conditions.get(self.condition)

    def _sheet(self, drawn: Mapping[str, Tensor]) -> Image.Image:
        name, held = self.condition, self.held_out
        rows = {
            "picture": held.pictures,
            name: held.maps,
            f"picture -> {name}": drawn["estimated"],
            f"{name} -> picture": drawn["from_map"],
            f"coarse {name}\n-> picture": drawn["from_coarse"],
            "both:\npicture": drawn["joint_image"],
            f"both:\n{name}": drawn["joint_map"],
            f"edited under\n{name}": drawn["edited"],
            "upper half\nfilled in": drawn["filled_in"],
        }
        cells = [[picture(each) for each in as_array(row[:SHOWN])] for row in rows.values()]
        return contact_sheet(
            cells,
            row_labels=list(rows),
            column_labels=[caption[:24] for caption in held.captions[:SHOWN]],
        )

    # --- what the network sees ----------------------------------------------------------------------------

    def _latents(self) -> Tensor:
        device = self.pipe.unet.device
        return torch.stack(
            [encode(self.pipe.vae, side.to(device)) for side in (self.held_out.pictures, self.held_out.maps)]
        )

    def _texts(self) -> Tensor:
        """(2, n, tokens, width)."""
        trigger = self.pipe.adapters[self.condition].config.trigger
        captions = self.held_out.captions
        texts = [*captions, *(trigger + caption for caption in captions)]
        rows = TextReader.of(self.pipe)(texts, self.pipe.unet.device)
        return rows.unflatten(0, (2, -1)).float()


def not_heeded(numbers: Mapping[str, float]) -> list[str]:
    """Which errors of denoising are hardly smaller than with another pair's other side: what is ignored."""
    names = [name for name in numbers if name.startswith("denoised") and f"{name}{OF_ANOTHER}" in numbers]
    return [name for name in names if numbers[name] > (1 - HEEDED) * numbers[f"{name}{OF_ANOTHER}"]]


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a.float().cpu() - b.float().cpu()).abs().mean())
