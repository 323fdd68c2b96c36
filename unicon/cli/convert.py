"""How does an adapter come from one layout into another: published into ours, ours into what others read?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

    from adapters import JointAdapter

EXAMPLE = "%(prog)s weights/depth --base stable-diffusion-v1-5/stable-diffusion-v1-5 --out adapters/depth"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "adapter", help="a folder in UniCon's published layout or in ours, or OWNER/NAME/FOLDER on the hub"
    )
    parser.add_argument(
        "--base", default="mini",
        help="the base it is for: mini, a folder or a hub id, of which only the configuration is read, or a "
        "checkpoint's file",
    )  # fmt: skip
    parser.add_argument(
        "--condition", metavar="NAME",
        help="what a published adapter is for: depth, edge, pose, id, ... (default: its folder's name)",
    )  # fmt: skip
    parser.add_argument(
        "--trigger",
        metavar="WORDS",
        help="a published adapter's own trigger words, if not those of its release",
    )
    parser.add_argument("--out", metavar="DIR", help="folder to write, in our layout, with a card")
    parser.add_argument(
        "--lora", metavar="FILE",
        help="write the condition branch's own part as a LoRA file that diffusers, ComfyUI and kohya's tools "
        "read: with it, a plain base draws maps",
    )  # fmt: skip


def run(args: argparse.Namespace) -> None:
    from adapters import map_lora, save_adapter, save_lora
    from unicon.cards import Origin, write_card

    if not args.out and not args.lora:
        raise ValueError("nothing to write: give --out DIR (our layout), --lora FILE, or both")
    unet, commit = _base(args.base)
    adapter = _read(args, unet)
    if args.lora:
        save_lora(map_lora(adapter), args.lora)
        print(args.lora)
    if args.out:
        folder = Path(args.out)
        save_adapter(adapter, folder)
        write_card(folder, adapter.config, origin=Origin(base=args.base, commit=commit))
        print(folder)


def _read(args: argparse.Namespace, unet: UNet2DConditionModel) -> JointAdapter:
    from adapters import is_published, load_adapter, load_published
    from unicon.sources import find_adapter

    folder = find_adapter(args.adapter)
    if is_published(folder):
        return load_published(folder, unet, args.condition or folder.name, trigger=args.trigger)
    if args.condition or args.trigger:
        raise ValueError(
            f"{folder} says itself what it is for, in config.json; leave --condition and --trigger"
        )
    return load_adapter(folder, unet)


def _base(name: str) -> tuple[UNet2DConditionModel, str]:
    """The base's UNet, without its weights where they lie apart from its configuration, and its commit on
    the hub; empty for a base from elsewhere."""
    import torch
    from diffusers import UNet2DConditionModel

    from unicon.pipeline import UniConPipeline
    from unicon.sources import explained, find_base, located, split_config, without_network

    found = find_base(name)
    if Path(split_config(found)[0]).is_file():
        return UniConPipeline.from_pretrained(found).unet, ""
    place, revision = located(found)
    with explained(found):
        found_there: Any = UNet2DConditionModel.load_config(
            place, subfolder="unet", revision=revision, local_files_only=without_network(place),
            return_commit_hash=True,
        )  # fmt: skip
    config, commit = found_there
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(config)
    assert isinstance(unet, UNet2DConditionModel)
    return unet, str(commit or "")
