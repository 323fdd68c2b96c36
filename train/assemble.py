"""How do the exported parts become one pipeline folder?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderDC, DPMSolverMultistepScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from adapters import load_adapter, save_adapter
from adapters.files import whole_folder
from eval.judge import JUDGE
from unicon import UniConPipeline
from unicon.bases import base_size
from unicon.conditions.lowres import LOWRES
from unicon.data.scenes import SceneConfig, render
from unicon.limits import FILE, Limits, as_json, limits_over, strangeness
from unicon.sources import ADAPTERS_FOLDER, MINI

UNET = "unet"
FAMILIAR_SEED = 600_000
"""First seed of the scenes that say what is familiar: neither training nor evaluation renders them."""


def assemble(family: Path, target: Path, adapters: tuple[str, ...], num_familiar: int) -> None:
    """Write `target` (a diffusers folder with `adapters/NAME`) from the runs below `family`, atomically.

    Weights are in half precision. `limits.json`, measured on `num_familiar` scenes, says which photographs
    the base can be expected to understand (`unicon.limits`). The adapter that enlarges, a decoder adapter, a
    prior and the judge are taken in where the family has them.
    """
    clip = family / "clip" / "export"
    pipe = family_pipeline(family, family / "unet" / "export")
    image_encoder = CLIPVisionModelWithProjection.from_pretrained(clip / "image_encoder")
    pipe.register_modules(image_encoder=image_encoder)
    for name in (*adapters, *([LOWRES] if (family / LOWRES / "export").exists() else [])):
        pipe.add_adapter(load_adapter(family / name / "export", pipe.unet), name)
    if (family / "decoder" / "export").exists():
        pipe.load_decoder(family / "decoder" / "export")
    if (family / "prior" / "export").exists():
        pipe.load_prior(family / "prior" / "export")
    limits = as_json(_familiar(pipe, num_familiar))
    pipe.to(dtype=torch.float16)
    with whole_folder(target) as new:
        pipe.save_pretrained(new)
        shutil.copy(clip / "clip.json", new / "clip.json")
        if (family / JUDGE / "export").exists():
            shutil.copytree(family / JUDGE / "export", new / JUDGE)
        (new / FILE).write_text(json.dumps(limits, indent=2))
        for path in new.glob("**/*.json"):
            _forget_origin(path)


def rebase(base: Path, family: Path, parts: Sequence[str], target: Path) -> None:
    """Write `target`: the base's folder with the parts exported below `family` in the place of its own, in
    half precision. A part is "unet" or the name of an adapter.

    With another UNet, what was trained on the base's own comes along as a place to start from. `limits.json`
    does not: it says what was familiar to the other one.
    """
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    replaced = shutil.ignore_patterns(FILE, UNET) if UNET in parts else None
    with whole_folder(target) as new:
        shutil.copytree(base, new, dirs_exist_ok=True, ignore=replaced)
        for name in parts:
            export = family / name / "export"
            if name == UNET:
                trained = UNet2DConditionModel.from_pretrained(export / UNET, torch_dtype=torch.float16)
                trained.save_pretrained(new / UNET)
                _forget_origin(new / UNET / "config.json")
            else:
                save_adapter(load_adapter(export, unet), new / ADAPTERS_FOLDER / name, dtype=torch.float16)


def family_pipeline(family: Path, base: Path) -> UniConPipeline:
    """The parts exported below `family` around the UNet and scheduler in `base`, without adapters."""
    clip = family / "clip" / "export"
    scheduler: Any = DPMSolverMultistepScheduler.from_pretrained(base / "scheduler")
    return UniConPipeline(
        vae=AutoencoderDC.from_pretrained(family / "vae" / "export"),
        text_encoder=CLIPTextModelWithProjection.from_pretrained(clip / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(clip / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(base / "unet"),
        scheduler=scheduler,
    )


def base_pipeline(family: Path, base: str) -> UniConPipeline:
    """The base that a stage of a family names, without anything grafted on it.

    A folder below the family's with a UNet and a scheduler (`unet/export`), around which its other parts are
    put; or a whole base: "mini", or its folder.
    """
    place = base_place(family, base)
    if isinstance(place, Path) and not (place / "model_index.json").is_file():
        return family_pipeline(family, place)
    return bare_base(place)


def bare_base(place: str | Path, dtype: torch.dtype | None = None) -> UniConPipeline:
    """A whole base without what conditions and embeddings are told by; its styles and priors stay."""
    pipe = UniConPipeline.from_pretrained(place, adapters=(), dtype=dtype)
    if pipe.decoder is not None:
        pipe.unload_decoder()
    return pipe


def base_place(family: Path, base: str) -> str | Path:
    """Where the base lies that a stage of a family names: "mini", or below the family's folder."""
    return base if base == MINI else family / base


def _familiar(pipe: UniConPipeline, num: int) -> Limits:
    config = SceneConfig(size=base_size(pipe.unet, pipe.vae).own_px, second_view=False)
    seeds = range(FAMILIAR_SEED, FAMILIAR_SEED + num)
    pictures = [Image.fromarray(render(seed, config).image) for seed in seeds]
    found = [each for first in range(0, num, 16) for each in strangeness(pipe, pictures[first : first + 16])]
    return limits_over(found, percentile=99.0, source=f"scenes of seeds {seeds.start} to {seeds.stop - 1}")


def _forget_origin(path: Path) -> None:
    """Take the folder a part was loaded from out of its config: it means nothing on another machine."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if "_name_or_path" in config:
        del config["_name_or_path"]
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
