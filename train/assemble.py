"""How do the exported parts become one pipeline folder?"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

from adapters import load_adapter
from unicon import UniConPipeline


def assemble(
    family: Path, target: Path, adapters: tuple[str, ...], dtype: torch.dtype = torch.float16
) -> None:
    """Write `target` (a diffusers folder with `adapters/NAME`) from the runs below `family`, atomically."""
    clip = family / "clip" / "export"
    scheduler: Any = DDIMScheduler.from_pretrained(family / "unet" / "export" / "scheduler")
    pipe = UniConPipeline(
        vae=AutoencoderTiny.from_pretrained(family / "vae" / "export"),
        text_encoder=CLIPTextModelWithProjection.from_pretrained(clip / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(clip / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(family / "unet" / "export" / "unet"),
        scheduler=scheduler,
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(clip / "image_encoder"),
    )
    for name in adapters:
        pipe.add_adapter(load_adapter(family / name / "export", pipe.unet), name)
    pipe.to(dtype=dtype)
    temporary = target.with_name(f".{target.name}_{os.getpid()}")
    pipe.save_pretrained(temporary)
    shutil.copy(clip / "clip.json", temporary / "clip.json")
    if target.exists():
        shutil.rmtree(target)
    os.replace(temporary, target)
