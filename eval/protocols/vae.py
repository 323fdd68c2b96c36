"""How much of a picture and of a map survives the compressor?

Encode (the mode) and decode, nothing in between: the best that any model on these latents can reach, which is
what one compares a 4x with an 8x VAE by. Pictures and maps of held-out scenes, and photographs if a folder is
given. Leaves out any UNet.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny
from tqdm import tqdm

from eval.command import command
from eval.metrics.pictures import psnr, ssim
from eval.protocols.map_scores import DepthScore, EdgeScore, MapScore, PoseScore, choose_threshold, score
from eval.protocols.results import Outcome, record, save, tables
from eval.protocols.scene_options import add_scene_arguments, renderer
from eval.protocols.scene_set import CONDITIONS, SceneSet
from eval.protocols.setup import add_machine_arguments
from unicon.data.photos import centred_square, list_photos, load_photo
from unicon.devices import pick_device
from unicon.latents import Autoencoder, decode, downscale, encode
from unicon.pictures import as_array, as_pictures
from unicon.sources import MINI, find_base
from unicon.typed import positive

KINDS: dict[str, type[AutoencoderKL] | type[AutoencoderTiny] | type[AutoencoderDC]] = {
    kind.__name__: kind for kind in (AutoencoderKL, AutoencoderTiny, AutoencoderDC)
}
"""The VAEs a pipeline runs, by the name in their config.json."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reconstruction:
    """One kind of picture after the round trip; what does not apply to it is None."""

    psnr: float
    """Mean over pictures, dB."""
    ssim: float
    abs_rel: float | None = None
    delta1: float | None = None
    f1: float | None = None
    pck: float | None = None
    num: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundTrip:
    """A VAE as a function of pictures."""

    vae: Autoencoder
    batch_size: int = 16

    def __call__(self, pictures: np.ndarray, title: str) -> np.ndarray:
        """(n, H, W, 3), uint8 or [0, 1] -> float32 (n, H, W, 3), encoded and decoded."""
        starts = range(0, len(pictures), self.batch_size)
        bar = tqdm(starts, desc=f"reconstructing {title}", unit="batch", leave=False)
        return np.concatenate([self._part(pictures[s : s + self.batch_size]) for s in bar])

    @torch.no_grad()
    def _part(self, pictures: np.ndarray) -> np.ndarray:
        batch = as_pictures(pictures, "pictures").to(self.vae.device)
        return as_array(decode(self.vae, encode(self.vae, batch)))


def load_vae(folder: str | Path, device: torch.device) -> Autoencoder:
    """The VAE of "mini", of a base folder (its `vae/`), or in a folder of its own; float32, for evaluation.

    Raises ValueError when the folder holds neither, or a VAE of another kind.
    """
    path = Path(find_base(MINI)) if str(folder) == MINI else Path(folder)
    place = next((p for p in (path / "vae", path) if (p / "config.json").is_file()), None)
    if place is None:
        raise ValueError(
            f"{path} holds no VAE: expected vae/config.json (a base) or config.json (a VAE alone)"
        )
    kind = json.loads((place / "config.json").read_text()).get("_class_name")
    if kind not in KINDS:
        raise ValueError(
            f"{place} holds a {kind}; a VAE here is one of {', '.join(KINDS)}: give another folder"
        )
    vae = KINDS[kind].from_pretrained(place).eval()
    # diffusers' `to` is wrapped in a way that hides its own first argument from type checkers.
    torch.nn.Module.to(vae, device)
    return vae


def reconstruct_pictures(trip: RoundTrip, pictures: np.ndarray, title: str) -> Reconstruction:
    """Pictures (n, H, W, 3) uint8."""
    back, given = trip(pictures, title), pictures.astype(np.float32) / 255
    return _reconstruction(back, given, None)


def reconstruct_maps(
    trip: RoundTrip, condition: str, scenes: SceneSet, validation: SceneSet
) -> Reconstruction:
    """Exact maps of scenes; edges at a threshold chosen on reconstructed maps of `validation`."""
    given = scenes.maps(condition)
    back = trip(given, f"{condition} maps")
    threshold = 0.5
    if condition == "edge":
        threshold = choose_threshold(condition, trip(validation.maps(condition), "validation"), validation)
    return _reconstruction(back, given, score(condition, back, scenes, threshold))


def _reconstruction(back: np.ndarray, given: np.ndarray, scored: MapScore | None) -> Reconstruction:
    pairs = list(zip(back, given, strict=True))
    return Reconstruction(
        psnr=float(np.mean([psnr(p, g) for p, g in pairs])),
        ssim=float(np.mean([ssim(p, g) for p, g in pairs])),
        abs_rel=scored.abs_rel if isinstance(scored, DepthScore) else None,
        delta1=scored.delta1 if isinstance(scored, DepthScore) else None,
        f1=scored.f1 if isinstance(scored, EdgeScore) else None,
        pck=scored.pck if isinstance(scored, PoseScore) else None,
        num=len(pairs),
    )


def square_photos(folder: str | Path, num: int, size_px: int) -> np.ndarray:
    """The centred squares of the first `num` photographs of a folder, (n, S, S, 3) uint8."""
    files = list_photos(folder)[:num]
    return np.stack([centred_square(np.asarray(load_photo(path)), size_px) for path in files])


def parser() -> argparse.ArgumentParser:
    """Arguments of the command."""
    top = argparse.ArgumentParser(
        prog="unicon eval vae",
        description="Measure what a VAE leaves of pictures and maps.",
        epilog="example: unicon eval vae --base mini --photos path/to/photos --out results/vae.jsonl",
    )
    top.add_argument("--base", default="mini", help='a base, a folder with a VAE alone, or "mini" (default)')
    top.add_argument(
        "--num", type=positive, default=200, metavar="N", help="scenes, and photographs (default 200)"
    )
    top.add_argument(
        "--size", type=positive, default=128, metavar="PX", help="side of the pictures (default 128)"
    )
    top.add_argument("--photos", metavar="DIR", help="photographs to reconstruct too (centred squares)")
    top.add_argument(
        "--validation-num", type=positive, default=64, metavar="N", help="scenes for the edge threshold"
    )
    add_scene_arguments(top)
    add_machine_arguments(top)
    return top


def _run(arguments: argparse.Namespace) -> str:
    vae = load_vae(arguments.base, pick_device(arguments.device))
    if arguments.size % downscale(vae):
        raise ValueError(f"--size is {arguments.size}; this VAE takes multiples of {downscale(vae)}")
    photos = square_photos(arguments.photos, arguments.num, arguments.size) if arguments.photos else None
    render = renderer(arguments, arguments.size)
    scenes, validation = render("standard", arguments.num), render("validation", arguments.validation_num)
    trip = RoundTrip(vae=vae, batch_size=arguments.batch_size)
    rows = {"pictures of scenes": reconstruct_pictures(trip, scenes.images, "pictures")}
    if photos is not None:
        rows["photographs"] = reconstruct_pictures(trip, photos, "photographs")
    rows |= {f"{name} maps": reconstruct_maps(trip, name, scenes, validation) for name in CONDITIONS}
    settings: dict[str, str | int | float | bool] = {
        "factor": downscale(vae),
        "latent_channels": vae.config.latent_channels,
        "parameters": sum(p.numel() for p in vae.parameters()),
        "size_px": arguments.size,
    }
    records = [
        record(
            "vae/reconstruction",
            Outcome(prediction=str(arguments.base), scores=[row]),
            {**settings, "kind": kind},
        )
        for kind, row in rows.items()
    ]
    save(arguments.out, records)
    return tables(records)


main = command(parser, _run)
