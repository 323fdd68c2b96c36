"""A tiny CLIP and decoder adapters for the tiny base, none of whose tensors is zero."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from adapters import DecoderAdapter, DecoderConfig
from tests.tiny_base import tiny_tokenizer
from unicon.embeddings import identity
from unicon.pipeline import UniConPipeline

WIDTH = 8
"""Of its embeddings."""


def tiny_image_encoder(
    *, width: int = WIDTH, seed: int = 11, **changes: int
) -> CLIPVisionModelWithProjection:
    torch.manual_seed(seed)
    config = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 8, "projection_dim": width,
    }  # fmt: skip
    # Larger initial weights, so that random pictures lie apart.
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(**{**config, **changes}, initializer_factor=4.0)
    ).eval()


def tiny_clip_text_encoder(tokenizer: CLIPTokenizer, *, width: int = WIDTH) -> CLIPTextModelWithProjection:
    """As wide as the tiny base's own text encoder, and with a projection."""
    torch.manual_seed(2)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_factor=4.0,
    )
    return CLIPTextModelWithProjection(config).eval()


def with_clip(pipe: UniConPipeline) -> UniConPipeline:
    """The pipeline with both encoders of a tiny CLIP."""
    pipe.register_modules(
        image_encoder=tiny_image_encoder(), text_encoder=tiny_clip_text_encoder(pipe.tokenizer)
    )
    return pipe


def tiny_decoder(pipe: UniConPipeline, *, seed: int = 5, **changes: object) -> DecoderAdapter:
    """A decoder adapter for the pipeline's base and CLIP that changes something."""
    config = DecoderConfig(
        **{"clip": identity(pipe.image_encoder), "num_tokens": 3, "token_width": 8, **changes}
    )
    decoder = DecoderAdapter.for_unet(pipe.unet, config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for tensor in decoder.parameters():
        tensor.data.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    decoder.set_statistics(torch.full((WIDTH,), 0.1), torch.full((WIDTH,), 0.3))
    return decoder.requires_grad_(False)


def save_tiny_clip(place: Path) -> Path:
    """A whole tiny CLIP with its tokenizer, as the hub holds them; returns its folder."""
    tokenizer = tiny_tokenizer(place)
    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "projection_dim": WIDTH}  # fmt: skip
    text = CLIPTextConfig(
        **small, vocab_size=len(tokenizer), max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    vision = CLIPVisionConfig(**small, image_size=16, patch_size=8)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    CLIPModel(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place
