"""Where do pictures and texts lie in one CLIP's space?

The mini base's CLIP, or any of transformers' CLIPs in a folder (Radford et al. 2021). Pictures are cropped to
the centred square and resized as in `eval.features`. Leaves out scores (`eval.metrics.text`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eval.features import MINI, Extractor


@dataclass(frozen=True, slots=True)
class Texts:
    """Embedded texts."""

    values: np.ndarray
    """(N, D) float32, not normalised."""
    num_cut: int
    """Texts longer than the encoder takes, whose end it never saw."""


class Clip:
    """A pair of encoders; `source` names them and how pictures were resized."""

    def __init__(self, model: str = MINI, *, resize: str = "bicubic", device: str = "cpu"):
        """`model`: "mini", or a folder of a CLIP with its tokenizer. ValueError for another folder."""
        images, texts, words = _folders(model)
        self.pictures = Extractor(str(images), resize=resize, device=device)
        self.source = self.pictures.source.replace(str(images), model)
        self.device = device
        self.text_encoder, self.tokenizer = _text_side(texts, words, device)

    @torch.inference_mode()
    def of_texts(self, texts: Sequence[str], *, batch_size: int = 256) -> Texts:
        """Embeddings of texts; equal ones are read once. ValueError for none."""
        if not len(texts):
            raise ValueError("no text to embed")
        unique = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        most = int(self.text_encoder.config.max_position_embeddings)
        whole = self.tokenizer(list(unique), verbose=False).input_ids
        cut = {text for text, ids in zip(unique, whole, strict=True) if len(ids) > most}
        rows = []
        for start in range(0, len(unique), batch_size):
            part = list(unique)[start : start + batch_size]
            given = self.tokenizer(
                part, padding="max_length", max_length=most, truncation=True, return_tensors="pt"
            )
            rows.append(self.text_encoder(given.input_ids.to(self.device)).text_embeds.float().cpu().numpy())
        values = np.concatenate(rows)[[unique[text] for text in texts]]
        return Texts(values, sum(text in cut for text in texts))


def _folders(model: str) -> tuple[Path, Path, Path]:
    """Of the image encoder, the text encoder, the tokenizer."""
    if model == MINI:
        from unicon.mini import mini_folder

        base = mini_folder()
        return base / "image_encoder", base / "text_encoder", base / "tokenizer"
    folder = Path(model)
    if (folder / "model_index.json").is_file():  # a base that has a CLIP of its own
        return folder / "image_encoder", folder / "text_encoder", folder / "tokenizer"
    return folder, folder, folder


def _text_side(folder: Path, words: Path, device: str) -> tuple[Any, Any]:
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    try:
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        if not kind.startswith("clip"):
            raise ValueError(f"its model_type is {kind}")
        loaded: Any = CLIPTextModelWithProjection.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        encoder, told = loaded
        if told["missing_keys"]:
            raise ValueError(f"it has no {sorted(told['missing_keys'])[0]}")
        tokenizer = AutoTokenizer.from_pretrained(words, local_files_only=True)
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"{folder}: holds no CLIP with a text encoder and a tokenizer ({error}); give mini, or a folder "
            "such as openai/clip-vit-base-patch32 downloaded"
        ) from error
    torch.nn.Module.to(encoder, device)
    return encoder.eval(), tokenizer
