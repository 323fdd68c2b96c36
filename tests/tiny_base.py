"""A whole pipeline folder of tiny random components, with the mini family's four adapters.

Same schedule and file layout as the mini base, 32 px pictures, and outputs without any meaning. The VAE is of
Stable Diffusion's class; `tiny_vae_of_the_mini_family` is of the mini family's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import AutoencoderDC, AutoencoderKL, AutoencoderTiny, DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from adapters import AdapterConfig
from tests.adapters.tiny import tiny_unet, trained
from unicon.pipeline import UniConPipeline

CONDITIONS = {"depth": "depth map, ", "edge": "edge map, ", "pose": "pose map, ", "appearance": ""}
"""Adapter names and their trigger words, as in the mini family."""

SIDE_PX = 32
"""The pictures' own size: 8x8 latents behind a VAE of factor 4."""

SCHEDULER = {
    "beta_schedule": "squaredcos_cap_v2", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing",
    "prediction_type": "v_prediction", "clip_sample": False,
}  # fmt: skip


def save_tiny_base(folder: Path, adapters: Mapping[str, str] = CONDITIONS) -> Path:
    """Write the pipeline and its adapters into `folder`, and return it.

    Without adapters (`{}`) it loads in less than half the time.
    """
    tiny_pipeline(folder.with_name(f"{folder.name}_words"), adapters).save_pretrained(folder)
    return folder


def tiny_pipeline(words: Path, adapters: Mapping[str, str] = CONDITIONS) -> UniConPipeline:
    """The pipeline in memory; the tokenizer's vocabulary is written to `words`."""
    tokenizer = tiny_tokenizer(words)
    pipe = UniConPipeline(
        vae=tiny_vae(),
        text_encoder=tiny_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=tiny_unet(),
        scheduler=DDIMScheduler(**SCHEDULER),
    )
    for seed, (name, trigger) in enumerate(adapters.items()):
        settings = AdapterConfig(condition=name, rank=2, locality=4.0, clean_timestep=150, trigger=trigger)
        pipe.add_adapter(trained(pipe.unet, settings, seed=seed), name)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 4, 4),
        norm_num_groups=2,
        latent_channels=4,
        mid_block_add_attention=False,
        sample_size=SIDE_PX,
    ).eval()


def tiny_vae_of_the_mini_family() -> AutoencoderDC:
    """With a scale, as its training stores it; latents of the same shape as `tiny_vae`'s."""
    torch.manual_seed(3)
    vae = AutoencoderDC(
        latent_channels=4,
        encoder_block_out_channels=(4, 4, 4),
        decoder_block_out_channels=(4, 4, 4),
        encoder_layers_per_block=(0, 1, 1),
        decoder_layers_per_block=(0, 1, 1),
        encoder_qkv_multiscales=((),) * 3,
        decoder_qkv_multiscales=((),) * 3,
    )
    vae.register_to_config(scaling_factor=1.7)
    return vae.eval()


def tiny_preview_vae() -> AutoencoderTiny:
    """The kind that stands in for Stable Diffusion's where speed counts, with a scale and a shift."""
    torch.manual_seed(3)
    vae = AutoencoderTiny(
        encoder_block_out_channels=(4, 4, 4),
        decoder_block_out_channels=(4, 4, 4),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
        latent_channels=4,
    )
    vae.register_to_config(scaling_factor=1.7, shift_factor=0.3)
    return vae.eval()


def tiny_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    torch.manual_seed(2)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=12,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def tiny_tokenizer(folder: Path) -> CLIPTokenizer:
    """A CLIP tokenizer of single characters."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(code) for code in range(33, 127)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
