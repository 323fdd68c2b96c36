"""What is computed once instead of at every step?

Latents of every picture and map, and text embeddings of every caption with its trigger, per shard.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from diffusers import AutoencoderDC
from tqdm import tqdm
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from train.shards import MAPS, write_shard
from unicon.latents import encode

TRIGGERS = {"image": "", "second": "", "depth": "depth map, ", "edge": "edge map, ", "pose": "pose map, ",
            "lowres": "lowres map, "}  # fmt: skip
"""Words before the caption of a map, so that one text encoder tells maps from pictures. Rows of
`empty_text.npy` are in this order: new ones come last."""


class Encoder:
    """A frozen autoencoder and text encoder that turn shards into latent shards."""

    def __init__(self, vae_folder: Path, clip_folder: Path, device: torch.device, dtype: torch.dtype):
        self.device = device
        self.vae = AutoencoderDC.from_pretrained(vae_folder).eval()
        cast(Any, self.vae).to(device, dtype, memory_format=torch.channels_last)
        self.text = CLIPTextModelWithProjection.from_pretrained(clip_folder / "text_encoder").eval()
        torch.nn.Module.to(self.text, device)
        self.tokenizer = CLIPTokenizer.from_pretrained(clip_folder / "tokenizer")

    @torch.no_grad()
    def latents(self, pictures: np.ndarray) -> np.ndarray:
        """uint8 (n, H, W[, 3]) -> scaled latents float16 (n, C, h, w)."""
        if pictures.ndim == 3:
            pictures = np.repeat(pictures[..., None], 3, axis=-1)
        scaled = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float() / 255
        return encode(self.vae, scaled).half().cpu().numpy()

    @torch.no_grad()
    def embeddings(self, captions: list[str]) -> np.ndarray:
        """Captions -> last hidden states float16 (n, tokens, width)."""
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt")
        return self.text(input_ids=tokens.input_ids.to(self.device)).last_hidden_state.half().cpu().numpy()


def encode_shards(source: Path, target: Path, encoder: Encoder) -> None:
    """Encode the shards of `source` into `target`, joints as they are; shards already there are kept."""
    target.mkdir(parents=True, exist_ok=True)
    # What a dropped caption becomes: the trigger words alone, one row per kind.
    np.save(target / "empty_text.npy", encoder.embeddings(list(TRIGGERS.values())))
    paths = sorted(p for p in source.glob("shard_*") if (p / "captions.json").exists())
    for path in tqdm([p for p in paths if not (target / p.name).exists()], desc="encoding", unit="shard"):
        texts = json.loads((path / "captions.json").read_text())
        arrays = {}
        for name in MAPS:
            if (path / f"{name}.npy").exists():
                captions = texts["second_captions" if name == "second" else "captions"]
                arrays[name] = encoder.latents(np.load(path / f"{name}.npy"))
                arrays[f"{name}_text"] = encoder.embeddings([TRIGGERS[name] + c for c in captions])
        if (path / "joints.npy").exists():
            arrays["joints"] = np.load(path / "joints.npy")
        write_shard(target / path.name, arrays, texts)
