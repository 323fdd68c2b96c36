"""How are the mini family's text and image encoders learnt?

A small CLIP on scene pictures and their captions (Radford et al. 2021): symmetric cross-entropy over the
batch. The tokenizer is a byte-level BPE of CLIP's own form, fitted to the captions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

from train.objectives.base import Draws, Objective
from train.shards import open_shards
from unicon.ranges import SHARE


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipConfig:
    """Geometry of both encoders and where their pairs lie."""

    text_width: int = 192
    """Width of the text encoder, a multiple of its heads' 48; that of the embeddings a UNet reads."""
    text_layers: int = 4
    """Its transformer blocks."""
    image_width: int = 160
    """Width of the image encoder, a multiple of its heads' 40."""
    image_layers: int = 4
    """Its transformer blocks."""
    patch_size: int = 16
    """Side of the squares that a picture of 128 px is cut into, pixels; a divisor of 128."""
    projection: int = 128
    """Width of the embeddings in which pictures and captions are compared."""
    vocabulary: int = 1536
    """Tokens that the tokenizer knows: every byte, the commonest parts of words, and two special ones."""
    max_tokens: int = 48
    """Tokens of a caption, its start and end among them; what is longer is cut off."""
    scenes: str = "scenes"
    """Folder of rendered scenes, below the family's."""
    photo_shards: str = "photos"
    """Folder of photographs; empty: scenes alone."""
    photo_share: float = 0.1
    """Share of the scenes that are exchanged for a photograph, where there are photographs."""
    num_scenes: int = 8192
    """Scenes that are learnt from: the first of the folder, in whole shards of 256."""

    def __post_init__(self):
        SHARE.check_fields(self, "photo_share")

    def build(self, folder: Path) -> ClipObjective:
        """The objective, with its data below the family's folder."""
        return ClipObjective(self, folder)


class ClipObjective(Objective):
    """Match pictures to captions within a micro-batch."""

    def __init__(self, config: ClipConfig, folder: Path):
        super().__init__()
        self.config = config
        self.scenes = open_shards(folder / config.scenes, config.num_scenes)
        self.photos = open_shards(folder / config.photo_shards) if config.photo_shards else None
        captions = self.scenes.captions + (self.photos.captions if self.photos else [])
        self.tokenizer = fit_tokenizer(captions, folder / "tokenizer", config.vocabulary, config.max_tokens)
        torch.manual_seed(0)  # weights at the start of a run do not depend on what ran before
        self.clip = CLIPModel(_clip_config(config, self.tokenizer))

    @property
    def num_items(self) -> int:
        return len(self.scenes)

    def draw(self, generator: torch.Generator, items: torch.Tensor) -> Draws:
        num = len(items)
        return Draws(
            photo=torch.rand(num, generator=generator),
            which=torch.rand(num, generator=generator),
            second=torch.rand(num, generator=generator),
        )

    def forward(self, items: np.ndarray, draws: Draws) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        pictures, captions = self._pairs(np.asarray(items), draws)
        device = self.device
        tokens = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").to(
            device
        )
        out = self.clip(input_ids=tokens.input_ids, pixel_values=pictures.to(device))
        logits = out.logits_per_image.float()
        target = torch.arange(len(logits), device=device)
        loss = (
            F.cross_entropy(logits, target, reduction="none")
            + F.cross_entropy(logits.T, target, reduction="none")
        ) / 2
        return loss, {"top1": (logits.argmax(1) == target).float()}

    def _pairs(self, items: np.ndarray, draws: Draws) -> tuple[torch.Tensor, list[str]]:
        pictures = [self.scenes.row("image", i) for i in items]
        captions = [self.scenes.captions[i] for i in items]
        for row, (photo, which, second) in enumerate(
            zip(*(draws[k].tolist() for k in ("photo", "which", "second")), strict=True)
        ):
            if self.photos is not None and photo < self.config.photo_share:
                place = int(which * len(self.photos))
                pictures[row] = self.photos.row("image", place)
                captions[row] = self.photos.captions[place]
            elif second < 0.3:
                pictures[row] = self.scenes.row("second", items[row])
                captions[row] = self.scenes.second_captions[items[row]]
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1, captions

    def export(self, folder: Path) -> None:
        """Write `text_encoder`, `image_encoder` (both with projections) and `tokenizer`."""
        text = CLIPTextModelWithProjection(self.clip.text_model.config)
        text.text_model.load_state_dict(self.clip.text_model.state_dict())
        text.text_projection.load_state_dict(self.clip.text_projection.state_dict())
        image = CLIPVisionModelWithProjection(self.clip.vision_model.config)
        image.vision_model.load_state_dict(self.clip.vision_model.state_dict())
        image.visual_projection.load_state_dict(self.clip.visual_projection.state_dict())
        text.save_pretrained(folder / "text_encoder")
        image.save_pretrained(folder / "image_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        scale = {"logit_scale": self.clip.logit_scale.exp().item()}
        (folder / "clip.json").write_text(json.dumps(scale, indent=2))


def fit_tokenizer(captions: list[str], folder: Path, vocabulary: int, max_tokens: int) -> CLIPTokenizer:
    """Fit a CLIP tokenizer to `captions` once and keep it in `folder`; any text still encodes, by bytes."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    if not (folder / "vocab.json").exists():
        model = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
        model.normalizer = normalizers.Lowercase()
        model.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(_word_pattern(), behavior="removed", invert=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - len(letters) - 2,
            initial_alphabet=letters,
            end_of_word_suffix="</w>",
            show_progress=False,
        )
        model.train_from_iterator(captions, trainer)
        _save_clip_files(model, letters, folder)
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=max_tokens)


def _word_pattern():
    from tokenizers import Regex

    return Regex(
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    )


def _save_clip_files(model, letters: list[str], folder: Path) -> None:
    """vocab.json and merges.txt in CLIP's order: bytes, bytes that end a word, merges, two special tokens."""
    merges = [tuple(pair) for pair in json.loads(model.to_str())["model"]["merges"]]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(pair) for pair in merges]
    words = list(dict.fromkeys(words)) + ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = json.dumps({word: i for i, word in enumerate(words)}, ensure_ascii=False)
    (folder / "vocab.json").write_text(text, encoding="utf-8")


def _clip_config(config: ClipConfig, tokenizer: CLIPTokenizer) -> CLIPConfig:
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": config.text_width,
        "intermediate_size": config.text_width * 3,
        "num_hidden_layers": config.text_layers,
        "num_attention_heads": config.text_width // 48,
        "max_position_embeddings": config.max_tokens,
        "projection_dim": config.projection,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    image = {
        "hidden_size": config.image_width,
        "intermediate_size": config.image_width * 3,
        "num_hidden_layers": config.image_layers,
        "num_attention_heads": config.image_width // 40,
        "image_size": 128,
        "patch_size": config.patch_size,
        "projection_dim": config.projection,
    }
    return CLIPConfig(text_config=text, vision_config=image, projection_dim=config.projection)
