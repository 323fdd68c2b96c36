"""What does each kind of bad input get told, and is everything whole afterwards?

    python benchmarks/bad_inputs.py [--base mini] [--out docs/bad_inputs.md]

Makes one bad input after another, hands it to `unicon check` or `unicon train`, those of embeddings also to
`unicon generate` and `unicon vary`, and writes a table of what is said. Each case states what must be named,
and the user's files must be the same afterwards, without a half written file beside them.
`tests/benchmarks/test_bad_inputs.py` asserts the same on a tiny base.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import struct
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image
from safetensors import SafetensorError, safe_open

from unicon.cli.main import main as unicon
from unicon.sources import find_base

TRAIN = ["--batch_size", "2", "--mixed_precision", "no", "--rank", "2", "--warmup_steps", "1",
         "--validate_every", "0", "--checkpoint_every", "1", "--resolution", "64"]  # fmt: skip


@dataclass(slots=True)
class Place:
    """Where a case happens."""

    folder: Path
    base: str
    started: Callable[[Path], None]
    """Puts a run of two steps into a folder."""
    patches: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def pairs(self, num: int = 3, **options: tuple[int, int]) -> Path:
        """Folders of good pairs."""
        for name, seed in (("image", 0), ("depth", 100)):
            for i in range(num):
                put(self.data / name / f"{i}.png", png(seed + i, **options))
            for i in range(num):
                put(self.data / "caption" / f"{i}.txt", b"a thing")
        return self.data

    def check(self, *more: str) -> list[str]:
        return ["check", str(self.data), "--out", str(self.out), *more]

    def train(self, *more: str, data: Path | str | None = None, steps: int = 2) -> list[str]:
        given = ["--data", str(data or self.data), "--condition", "depth", "--base", self.base]
        return ["train", "adapter", *given, *TRAIN, "--steps", str(steps), "--out", str(self.out), *more]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One kind of bad input."""

    name: str
    make: Callable[[Place], list[str]]
    """Prepares it and gives the arguments of `unicon`."""
    told: tuple[str, ...]
    """What the message must hold; the file's name among it."""
    status: int = 2
    """Of the command: 2 it was refused, 1 some pairs cannot be used, 0 it goes on."""
    runs: bool = False
    """Whether a base is loaded."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened."""

    status: int
    said: str
    damage: tuple[str, ...]
    """Files of the user's that changed, and files that are not whole."""


# --- inputs -----------------------------------------------------------------------------------------------


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def saved(image: PIL.Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def png(seed: int, size: tuple[int, int] = (64, 64)) -> bytes:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return saved(PIL.Image.fromarray(values))


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def parquet(path: Path, columns: dict[str, list]) -> Path:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def with_map(content: bytes, name: str = "0.png") -> Callable[[Place], list[str]]:
    """One map of three is something else."""

    def make(place: Place) -> list[str]:
        place.pairs()
        (place.data / "depth" / "0.png").unlink()
        put(place.data / "depth" / name, content)
        return place.check()

    return make


def with_maps(first: bytes, others: bytes) -> Callable[[Place], list[str]]:
    """The first of three maps, and the others."""

    def make(place: Place) -> list[str]:
        place.pairs()
        shutil.rmtree(place.data / "depth")
        for i, content in enumerate((first, others, others)):
            put(place.data / "depth" / f"{i}.tiff", content)
        return place.check()

    return make


def with_file(name: str, content: bytes, *more: str) -> Callable[[Place], list[str]]:
    """Another file beside good pairs."""

    def make(place: Place) -> list[str]:
        put(place.pairs() / name, content)
        return place.check(*more)

    return make


def without(*names: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        place.pairs()
        for name in names:
            (place.data / name).unlink()
        return place.check()

    return make


def alone(name: str, content: bytes) -> Callable[[Place], list[str]]:
    """The file is all there is."""

    def make(place: Place) -> list[str]:
        put(place.data / name, content)
        return place.check()

    return make


def jsonl(*rows: dict | str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        put(place.pairs() / "metadata.jsonl", "\n".join(lines).encode())
        return place.check()

    return make


GOOD_ROW = {"file_name": "image/0.png", "depth_file_name": "depth/0.png", "text": "a thing"}


def fields(*more: str) -> Callable[[Place], list[str]]:
    """Good pairs, bad fields."""
    return lambda place: (place.pairs(), place.train(*more))[1]


def huge_png() -> bytes:
    """A file of a few bytes that says it has 400 megapixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    pixels = b"IDAT" + zlib.compress(b"")
    parts = [
        struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each))
        for each in (chunk, pixels)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def floats(value: float, kind: type = np.float32) -> bytes:
    return saved(PIL.Image.fromarray(np.full((64, 64), value, kind)), "TIFF")


def picture_twice(place: Place) -> list[str]:
    place.pairs()
    put(place.data / "image" / "9.png", png(0))
    put(place.data / "depth" / "9.png", png(9))
    return place.check()


def not_permitted(place: Place) -> list[str]:
    place.pairs()
    real, path = PIL.Image.open, place.data / "depth" / "0.png"

    def opened(content, *more, **options):
        if content == path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(content, *more, **options)

    place.patches.enter_context(mock.patch("PIL.Image.open", opened))  # for root, every file is readable
    return place.check()


def parquet_case(columns: dict[str, list]) -> Callable[[Place], list[str]]:
    return lambda place: (parquet(place.data / "a.parquet", columns), place.check())[1]


def tar_case(members: dict[str, bytes], cut: int | None = None) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        path = tar(place.data / "000.tar", members)
        path.write_bytes(path.read_bytes()[:cut])
        return place.check()

    return make


def tar_rows(num: int) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for i in range(num):
        rows |= {f"{i}.image.png": png(i), f"{i}.depth.png": png(100 + i), f"{i}.txt": b"a thing"}
    return rows


def stream_cut_short(place: Place) -> list[str]:
    path = tar(place.data / "000.tar", tar_rows(4))
    path.write_bytes(path.read_bytes()[:70_000])
    return place.train("--streaming", "true", "--bad_share", "0.5", "--validation_pairs", "0")


# --- bases and runs ---------------------------------------------------------------------------------------


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


def base_cut_short(place: Place) -> list[str]:
    place.pairs()
    base = other_base(place)
    weights = next(own_part(base, "unet").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    place.base = str(base)
    return place.train()


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


def train_with(damage: Callable[[Path], object], *more: str) -> Callable[[Place], list[str]]:
    """Training on pairs of which one is damaged."""
    return lambda place: (damage(place.pairs(4)), place.train(*more))[1]


# --- embeddings, priors and decoder adapters ---------------------------------------------------------------

OTHER_CLIP = "ViT-H/14"


def draw(place: Place, *arguments: str) -> list[str]:
    return [*arguments, "--base", place.base, "--steps", "1", "--out", str(place.out)]


def vary(*more: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        put(place.folder / "wide.png", png(1, (64, 32)))
        given = [f"{place.folder}/{each}" if each.endswith(".png") else each for each in more]
        return draw(place, "vary", str(put(place.folder / "0.png", png(0))), *given)

    return make


def own_copy(place: Place, part: str) -> Path:
    """A part of the base beside the data, to be changed."""
    return Path(shutil.copytree(Path(find_base(place.base)) / part, place.folder / part))


def of_another_clip(place: Place, part: str, file: str) -> Path:
    """A part of the base that says it is another CLIP's."""
    folder = own_copy(place, part)
    said = json.loads((folder / file).read_text())
    said["clip"]["name"] = OTHER_CLIP
    (folder / file).write_text(json.dumps(said))
    return folder


def prior_without_statistics(place: Place) -> list[str]:
    from diffusers import PriorTransformer

    folder = own_copy(place, "prior")
    prior = PriorTransformer.from_pretrained(folder)
    prior.clip_std.data.zero_()  # as in a fresh one
    prior.save_pretrained(folder)
    return draw(place, "generate", "a thing", "--prior", str(folder))


def prior_of_another_clip(place: Place) -> list[str]:
    folder = of_another_clip(place, "prior", "embedding.json")
    return draw(place, "generate", "a thing", "--prior", str(folder))


def decoder_of_another_clip(place: Place) -> list[str]:
    folder = of_another_clip(place, "decoder", "config.json")
    return draw(place, "generate", "a thing", "--prior", "--decoder", str(folder))


def continued_prior_of_another_clip(place: Place) -> list[str]:
    folder = of_another_clip(place, "prior", "embedding.json")
    data = ["--data", str(place.pairs()), "--base", place.base, "--out", str(place.out)]
    return ["train", "prior", *data, "--start_from", str(folder)]


CASES = (
    # --- pairs, looked at by `unicon check`
    Case(
        name="picture without its map",
        make=without("depth/1.png"),
        told=("no map: 1", "1: has no depth"),
        status=1,
    ),
    Case(
        name="map without its picture",
        make=without("image/1.png"),
        told=("no picture: 1", "1: has depth"),
        status=1,
    ),
    Case(
        name="truncated picture",
        make=with_map(png(7)[:300]),
        told=("depth/0.png: is truncated or damaged",),
        status=1,
    ),
    Case(
        name="text named .png",
        make=with_map(b"no picture"),
        told=("depth/0.png: is not a picture",),
        status=1,
    ),
    Case(name="0 bytes", make=with_map(b""), told=("depth/0.png: is empty (0 bytes)",), status=1),
    Case(
        name="NaN in a float map",
        make=with_map(floats(np.nan), "0.tiff"),
        told=("depth/0.tiff: holds negative or non-finite values",),
        status=1,
    ),
    Case(
        name="negative values in a float map",
        make=with_map(floats(-1.0), "0.tiff"),
        told=("depth/0.tiff: holds negative or non-finite values",),
        status=1,
    ),
    Case(
        name="values beyond 16 bits",
        make=with_map(floats(1e6), "0.tiff"),
        told=("depth/0.tiff: holds values up to 1e+06",),
        status=1,
    ),
    Case(
        name="400 megapixels",
        make=with_map(huge_png()),
        told=("depth/0.png:", "at most 120 megapixels"),
        status=1,
    ),
    Case(
        name="file that may not be read",
        make=not_permitted,
        told=("depth/0.png: may not be read", "Permission denied"),
        status=1,
    ),
    Case(
        name="constant map",
        make=with_map(saved(PIL.Image.new("RGB", (64, 64), (9, 9, 9)))),
        told=("constant: 1", "depth/0.png: is (9, 9, 9) everywhere"),
        status=0,
    ),
    Case(
        name="maps in millimetres, 16 bits",
        make=with_maps(floats(2000, np.uint16), floats(4000, np.uint16)),
        told=("narrow range: 1", "depth: 3 maps of 8 to 16 of 255", "unicon rescale"),
        status=0,
    ),
    Case(
        name="float maps of mixed scales",
        make=with_maps(floats(0.5), floats(4.0)),
        told=("mixed scales: 1", "1 with 1 as white", "2 with 255 as white", "unicon rescale"),
        status=0,
    ),
    Case(
        name="map of another size",
        make=with_map(png(7, (128, 128))),
        told=("other size: 1", "depth/0.png: has 128 x 128 pixels, its picture 64 x 64"),
        status=0,
    ),
    Case(
        name="map of another shape",
        make=with_map(png(7, (128, 64))),
        told=("other shape: 1", "depth/0.png: has 128 x 64 pixels, its picture 64 x 64"),
        status=1,
    ),
    Case(
        name="map that is its picture",
        make=with_map(png(0)),
        told=("map is the picture: 1", "depth/0.png: has the pixels of its picture"),
        status=1,
    ),
    Case(
        name="picture twice",
        make=picture_twice,
        told=("duplicate: 1", "image/9.png: the same pixels as"),
        status=0,
    ),
    Case(
        name="tiny pictures",
        make=lambda p: (p.pairs(size=(32, 32)), p.check())[1],
        told=("small: 6",),
        status=0,
    ),
    Case(
        name="no caption",
        make=without("caption/1.txt"),
        told=("no caption: 1", "1: has no caption"),
        status=0,
    ),
    Case(
        name="captions that are no UTF-8",
        make=with_file("caption/0.txt", b"\xff\xfea"),
        told=("caption/0.txt: is no text in UTF-8",),
    ),
    Case(
        name="two files of one stem",
        make=with_file("image/0.jpg", png(3)),
        told=("image/0.png: ", "has the same stem; keep one"),
    ),
    Case(
        name="unknown condition",
        make=with_file("notes.txt", b"", "--conditions", "dpeth"),
        told=("there is no 'dpeth'; did you mean depth?",),
    ),
    Case(
        name="no folder of pictures",
        make=alone("depth/0.png", png(0)),
        told=("0 folders of pictures", "found depth"),
    ),
    Case(name="nothing there", make=lambda p: p.check(), told=("data: no such file or folder",)),
    Case(
        name="archive of another kind",
        make=lambda p: ["check", str(put(p.data / "a.zip", b"PK"))],
        told=("a.zip: is no file of pairs; expected",),
    ),
    Case(name="jsonl: broken line", make=jsonl(GOOD_ROW, "{"), told=("metadata.jsonl:2: is no JSON",)),
    Case(
        name="jsonl: line that is no object",
        make=jsonl(GOOD_ROW, "[1]"),
        told=("metadata.jsonl:2: is a list",),
    ),
    Case(
        name="jsonl: file that is not there",
        make=jsonl(GOOD_ROW, {**GOOD_ROW, "file_name": "gone.png"}),
        told=("gone.png: no such file",),
        status=1,
    ),
    Case(
        name="jsonl: caption that is a number",
        make=jsonl({**GOOD_ROW, "text": 3}),
        told=("metadata.jsonl:1: a caption is a int",),
    ),
    Case(name="jsonl: nothing in it", make=jsonl(), told=("data: holds no pairs",)),
    Case(
        name="parquet without pictures",
        make=parquet_case({"text": ["a"]}),
        told=("a.parquet: has 0 columns of pictures named image",),
    ),
    Case(
        name="parquet that is none",
        make=alone("a.parquet", b"nothing"),
        told=("a.parquet: is no readable parquet",),
    ),
    Case(
        name="tar that is none", make=alone("000.tar", b"x" * 2000), told=("000.tar: is no plain tar file",)
    ),
    Case(
        name="tar cut short",
        make=tar_case(tar_rows(3), 40_000),
        told=("000.tar: is no plain tar file, or is cut",),
    ),
    Case(
        name="tar: broken JSON",
        make=tar_case({**tar_rows(2), "5.image.png": png(5), "5.depth.png": png(6), "5.json": b"{"}),
        told=("000.tar: 5.json: is no JSON",),
        status=1,
    ),
    # --- training: pairs
    Case(
        name="more bad pairs than bad_share",
        make=train_with(lambda d: (d / "depth/1.png").unlink()),
        told=("1 of 4 pairs cannot be read", "1: has no depth", "more than bad_share 0.02"),
        runs=True,
    ),
    Case(
        name="bad pairs within bad_share",
        make=train_with(lambda d: put(d / "depth/1.png", b""), "--bad_share", "0.5"),
        told=("skipped 1 of 4 pairs", "depth/1.png: is empty (0 bytes)"),
        status=0,
        runs=True,
    ),
    Case(
        name="stream cut short",
        make=stream_cut_short,
        told=("000.tar: is no tar file, or is cut short after 2 pairs",),
        status=0,
        runs=True,
    ),
    # --- training: fields
    Case(
        name="unknown recipe",
        make=lambda p: ["train", "adaptr"],
        told=("no recipe named 'adaptr'; did you mean adapter?",),
    ),
    Case(
        name="unknown field",
        make=fields("--rnak", "3"),
        told=("--rnak is not a field", "did you mean --rank?"),
    ),
    Case(name="field without a value", make=fields("--seed"), told=("--seed needs a value",)),
    Case(
        name="field of the wrong type",
        make=fields("--seed", "many"),
        told=("--seed got 'many'; expected a whole number, such as --seed 0",),
    ),
    Case(
        name="list that is none",
        make=fields("--betas", "0.9,0.99"),
        told=("--betas got '0.9,0.99'; expected a list, such as --betas '[0.9, 0.99]'",),
    ),
    Case(
        name="field out of range",
        make=fields("--ema_decay", "1.5"),
        told=("ema_decay is 1.5; it must lie in [0, 1)",),
    ),
    Case(
        name="share out of range",
        make=fields("--caption_dropout", "20"),
        told=("caption_dropout is 20.0; it must lie in [0, 1]",),
    ),
    Case(name="rank 0", make=fields("--rank", "0"), told=("rank=0: must be at least 1",)),
    Case(
        name="unknown law of levels",
        make=fields("--image_levels", "unifrom"),
        told=("did you mean uniform?",),
    ),
    Case(
        name="unknown optimizer", make=fields("--optimizer", "adamv"), told=("'adamv'; did you mean adamw?",)
    ),
    Case(
        name="unknown tracker",
        make=fields("--trackers", "tensorbord"),
        told=("--trackers tensorbord: accelerate knows no such tracker; did you mean tensorboard?",),
    ),
    Case(
        name="no condition",
        make=fields("--condition", ""),
        told=("give --data PAIRS and --condition NAME",),
        runs=True,
    ),
    Case(
        name="size off the base's grid",
        make=fields("--resolution", "61"),
        told=("resolution is 61; expected a multiple of",),
        runs=True,
    ),
    Case(name="--config: broken", make=config_file(b"{"), told=("mine.yaml: cannot be read",)),
    Case(name="--config: not there", make=config_file(None), told=("mine.yaml: cannot be read",)),
    Case(name="--config: unknown field", make=config_file(b"rnak: 3"), told=("--rnak is not a field",)),
    Case(name="style without words", make=style(), told=("give --data PICTURES and --phrase WORDS",)),
    # --- training: bases
    Case(
        name="base that is not there",
        make=fields("--base", "nowhere"),
        told=("base 'nowhere': no such folder",),
        runs=True,
    ),
    Case(
        name="base without transformer blocks",
        make=base_without_blocks,
        told=("no transformer block",),
        runs=True,
    ),
    Case(name="base without a part", make=base_without_part, told=("base': has no folder 'vae'",), runs=True),
    Case(name="base cut short", make=base_cut_short, told=("base", "unet"), runs=True),
    # --- training: what is there already
    Case(
        name="checkpoint cut short",
        make=continued(damage=cut("checkpoints/*/trained.safetensors")),
        told=("step_00000002: is damaged", "remove this folder to go on from the checkpoint before it"),
        runs=True,
    ),
    Case(
        name="optimizer's state cut short",
        make=continued(damage=cut("checkpoints/*/optimizers.pt")),
        told=("step_00000002: is damaged", "remove this folder"),
        runs=True,
    ),
    Case(
        name="checkpoint of another rank",
        make=continued("--rank", "3", damage=unfinished),
        told=("holds a run with --rank 2, this one has --rank 3: choose another --out",),
        runs=True,
    ),
    Case(
        name="checkpoint of another optimizer",
        make=continued("--optimizer", "muon", damage=unfinished),
        told=("was trained with --optimizer adamw, this run has muon",),
        runs=True,
    ),
    Case(
        name="finished run of another condition",
        make=lambda p: (
            continued()(p),
            (p.data / "depth").rename(p.data / "edge"),
            p.train("--condition", "edge", steps=2),
        )[2],
        told=("holds a run with --condition depth, this one has --condition edge: choose another --out",),
        runs=True,
    ),
    Case(
        name="loss that is not finite",
        make=fields("--learning_rate", "1e38", "--steps", "6"),
        told=(
            "the loss is",
            "continue from it with a lower --learning_rate",
            "the last whole checkpoint is of step 1; the same command continues from it",
        ),
        runs=True,
    ),
    Case(
        name="disk full, writing a checkpoint",
        make=disk_full_at_checkpoint,
        told=(
            "step_00000003: cannot be written",
            "No space left on device",
            "the last whole checkpoint is of step 2; the same command continues from it",
        ),
        runs=True,
    ),
    Case(
        name="disk full, writing the cache",
        make=disk_full_at_cache,
        told=(".safetensors: cannot be written", "No space left on device"),
        runs=True,
    ),
    Case(name="--out is a file", make=out_is_a_file, told=("out: is a file; choose a folder",)),
    # --- embeddings, priors and decoder adapters
    Case(
        name="prior: empty prompt",
        make=lambda p: draw(p, "generate", " ", "--prior"),
        told=("--prior chooses the content from the prompt, which is empty",),
    ),
    Case(
        name="prior without statistics",
        make=prior_without_statistics,
        told=("this prior has no statistics (its clip_std is zero",),
        runs=True,
    ),
    Case(
        name="prior of another CLIP",
        make=prior_of_another_clip,
        told=(f"the prior was trained with {OTHER_CLIP}", "the base's image encoder is"),
        runs=True,
    ),
    Case(
        name="prior to continue, of another CLIP",
        make=continued_prior_of_another_clip,
        told=("the prior of --start_from", f"was trained with {OTHER_CLIP}", "the base's image encoder is"),
        runs=True,
    ),
    Case(
        name="decoder adapter of another CLIP",
        make=decoder_of_another_clip,
        told=(f"the decoder adapter was trained with {OTHER_CLIP}", "the base's image encoder is"),
        runs=True,
    ),
    Case(
        name="vary: a text instead of itself",
        make=vary("--text", "a thing", "--instead-of", "a thing"),
        told=("text is 'a thing' and instead_of 'a thing'", "this CLIP sees no difference"),
        runs=True,
    ),
    Case(
        name="vary: empty text",
        make=vary("--text", " "),
        told=("--text is empty: say what the picture is to become",),
    ),
    Case(
        name="vary: option without effect",
        make=vary("--fixed-noise"),
        told=("--fixed-noise has no effect without --to",),
    ),
    Case(
        name="vary: map of another shape",
        make=vary("--depth", "wide.png"),
        told=("depth: the map has", "give one of the picture's shape"),
        runs=True,
    ),
)
"""Every kind, in the order of the table."""


# --- running them -----------------------------------------------------------------------------------------


def outcome(case: Case, place: Place) -> Outcome:
    """Run a case, and look at all files before and after."""
    arguments = case.make(place)
    before = contents(place.folder)
    said = io.StringIO()
    with place.patches, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = unicon(arguments)
        except SystemExit as error:  # argparse
            status = int(error.code or 0)
    after = contents(place.folder)
    kept = {p: d for p, d in before.items() if not p.is_relative_to(place.out) or "checkpoints" in p.parts}
    lost = [f"{path} changed" for path, digest in kept.items() if after.get(path) != digest]
    new = [path for path in after if path not in before]
    halves = [f"{path} is half written" for path in new if not is_whole(path)]
    if status == 2 and any("export" in path.parts for path in new):
        halves.append("there is an export of a run that failed")
    return Outcome(status, said.getvalue(), (*lost, *halves))


def contents(folder: Path) -> dict[Path, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path: hashlib.blake2b(path.read_bytes()).hexdigest() for path in files}


def is_whole(path: Path) -> bool:
    """Whether a file that was written is what its name says."""
    if path.name.startswith("."):
        return False
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "np") as file:
                return bool(list(file.keys()))
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else []:
            json.loads(line)
        if path.suffix == ".json":
            json.loads(path.read_text())
    except (ValueError, OSError, SafetensorError):
        return False
    return True


def line_of(said: str) -> str:
    """The message, without bars, paths of this machine and blank lines."""
    lines = [line.strip() for line in said.replace("\r", "\n").splitlines()]
    kept = [
        line for line in lines if line and "it/s]" not in line and "?it/s" not in line and "%|" not in line
    ]
    return " ".join(kept)


def starter(base: str, folder: Path) -> Callable[[Path], None]:
    """Trains two steps once, and copies that run from then on."""

    def put_run(target: Path) -> None:
        if not folder.exists():
            place = Place(folder.with_name("started_pairs"), base, put_run)
            place.pairs()
            arguments = place.train()
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                assert unicon(arguments) == 0, "a run of two steps on good pairs fails"
            shutil.copytree(place.out, folder)
            shutil.rmtree(place.data)  # so that every case has it moved, not two of it
        shutil.copytree(folder, target)

    return put_run


def outcomes(base: str, folder: Path) -> Iterator[tuple[Case, Outcome]]:
    started = starter(base, folder / "started")
    for number, case in enumerate(CASES):
        (folder / str(number)).mkdir()
        yield case, outcome(case, Place(folder / str(number), base, started))


MEANING = {0: "goes on", 1: "names the pairs that are not used", 2: "stops"}


def table(rows: Sequence[tuple[Case, Outcome]], folder: Path) -> str:
    lines = [
        "# Bad inputs, and what is said about them",
        "",
        "Written by `python benchmarks/bad_inputs.py`; a test runs the same list. After each, the files",
        "that were given are as before, and nothing half written is left. Of each message the part that",
        "matters is shown.",
        "",
        "| input | what happens | what is said |",
        "|---|---|---|",
    ]  # fmt: skip
    for case, found in rows:
        lines.append(f"| {case.name} | {MEANING[found.status]} | {shown(case, found.said, folder)} |")
    return "\n".join(lines) + "\n"


def shown(case: Case, said: str, folder: Path) -> str:
    """From the first thing that must be told on, with paths that mean something elsewhere."""
    text = line_of(said).partition(" all of it in ")[0]
    for number in range(len(CASES), -1, -1):
        text = text.replace(f"{folder}/{number}/", "")
    start = max(text.find(case.told[0]), 0)
    start = max(text.rfind(" ", 0, start), text.rfind(": /", 0, start)) + 1 if start else 0
    text = text[start : start + 260]
    return text.replace("|", "\\|").replace("<", "&lt;") + (" ..." if len(text) == 260 else "")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", default="mini")
    parser.add_argument("--out", type=Path, default=Path("docs/bad_inputs.md"))
    args = parser.parse_args(argv)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        rows = []
        for case, found in outcomes(args.base, Path(name)):
            rows.append((case, found))
            problems = [
                *found.damage,
                *(f"does not say {t!r}" for t in case.told if t not in line_of(found.said)),
            ]
            if found.status != case.status:
                problems.append(f"ends with {found.status}, not {case.status}")
            bad += bool(problems)
            print(f"{'BAD ' if problems else 'good'} {case.name}", *problems, sep="\n     ", file=sys.stderr)
        args.out.write_text(table(rows, Path(name)), encoding="utf-8")
    print(f"{len(rows) - bad} of {len(rows)} bad inputs are answered as they should be; {args.out}")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
