"""How are bad fields, bases and damaged runs made?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from safetensors import SafetensorError

from unicon.sources import find_base

from .case import Place
from .files import put


def fields(*more: str) -> Callable[[Place], list[str]]:
    """Good pairs, bad fields."""
    return lambda place: (place.pairs(), place.train(*more))[1]


def config_file(content: bytes | None) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        place.pairs()
        path = place.folder / "mine.yaml"
        if content is not None:
            put(path, content)
        return place.train("--config", str(path))

    return make


def style(*more: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        place.pairs()
        data = ["--data", str(place.data / "image"), "--base", place.base, "--out", str(place.out)]
        return ["train", "style", *data, *more]

    return make


def other_base(place: Place) -> Path:
    """A copy of the base that may be changed; what is not changed is linked."""
    base = Path(find_base(place.base)).resolve()
    target = place.folder / "base"
    target.mkdir()
    for path in base.iterdir():
        (target / path.name).symlink_to(path)
    return target


def own_part(base: Path, name: str) -> Path:
    """A part of it that is no link any more."""
    linked = (base / name).resolve()
    (base / name).unlink()
    return Path(shutil.copytree(linked, base / name) if linked.is_dir() else shutil.copy(linked, base / name))


def base_without_blocks(place: Place) -> list[str]:
    from diffusers import UNet2DConditionModel

    place.pairs()
    base = other_base(place)
    part = own_part(base, "unet")
    config = json.loads((part / "config.json").read_text())
    shutil.rmtree(part)
    num = len(config["block_out_channels"])
    plain = {
        "down_block_types": ["DownBlock2D"] * num,
        "up_block_types": ["UpBlock2D"] * num,
        "mid_block_type": None,
        "block_out_channels": [32] * num,
        "norm_num_groups": 4,
    }
    kept = ("sample_size", "in_channels", "out_channels", "cross_attention_dim", "layers_per_block")
    UNet2DConditionModel(**{**{name: config[name] for name in kept}, **plain}).save_pretrained(part)
    shutil.rmtree(base / "adapters") if not (base / "adapters").is_symlink() else (base / "adapters").unlink()
    place.base = str(base)
    return place.train()


def base_without_part(place: Place) -> list[str]:
    place.pairs()
    base = other_base(place)
    (base / "vae").unlink()
    place.base = str(base)
    return place.train()


def base_cut_short(part: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        place.pairs()
        base = other_base(place)
        weights = next(own_part(base, part).glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:1000])
        place.base = str(base)
        return place.train()

    return make


def continued(
    *more: str, damage: Callable[[Path], object] = lambda run: None
) -> Callable[[Place], list[str]]:
    """A run of two steps, perhaps damaged, that is to go on to the fourth."""

    def make(place: Place) -> list[str]:
        place.pairs()
        place.started(place.out)
        damage(place.out / "adapter")
        return place.train(*more, steps=4)

    return make


def cut(pattern: str) -> Callable[[Path], object]:
    def damage(run: Path) -> None:
        shutil.rmtree(run / "export")
        path = sorted(run.glob(pattern))[-1]
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def unfinished(run: Path) -> None:
    shutil.rmtree(run / "export")


def full_disk(target: str) -> Callable[[Path], object]:
    """From now on, files of that module's `save_file` end in the middle, as on a full disk."""

    def save(tensors, path, *more, **options):
        Path(path).write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    return lambda place: place.patches.enter_context(mock.patch(target, save))


def disk_full_at_checkpoint(place: Place) -> list[str]:
    arguments = continued(damage=unfinished)(place)
    full_disk("train.checkpoint.save_file")(place)
    return arguments


def disk_full_at_cache(place: Place) -> list[str]:
    place.pairs()
    full_disk("train.pairs.cache.save_file")(place)
    return place.train()


def out_is_a_file(place: Place) -> list[str]:
    place.pairs()
    put(place.out, b"mine")
    return place.train()
