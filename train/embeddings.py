"""Where do the embeddings of a training set lie, computed once?

A folder of plain arrays that are read by memory map: of every picture its CLIP embedding, of every caption
what a prior reads. The first caption is the empty one, which stands for a dropped caption. Written whole or
not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from adapters import ClipIdentity
from adapters.decoder_store import read_clip
from adapters.files import whole_folder
from train.shards import open_shards
from unicon.embeddings import TextEmbeddings, embed_pictures, embed_texts, identity
from unicon.pictures import as_pictures

AT_ONCE = 32
"""Pictures or captions that are encoded together."""
MOST_VALUES = 2**26
"""Of pictures that wait to be encoded, 256 MiB: those of cameras are large."""

Item = tuple[Any, Sequence[str]]
"""A picture of any kind, or None where it cannot be read, and its captions."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The frozen encoders."""

    image_encoder: Any
    feature_extractor: Any
    text_encoder: Any
    tokenizer: Any

    @property
    def identity(self) -> ClipIdentity:
        return identity(self.image_encoder)

    def key(self, *parts: object) -> str:
        """Changes with these parts and with the encoders."""
        texts = self.text_encoder.text_projection.weight.flatten()[:8].float().tolist()
        text = json.dumps([asdict(self.identity), [round(v, 4) for v in texts], *map(str, parts)])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class EmbeddingSet:
    """Embeddings of a training set, of the lengths the encoders give them."""

    clip: ClipIdentity
    pictures: np.ndarray
    """float32 (n, width); NaN for a picture that could not be read."""
    texts: dict[str, np.ndarray]
    """projected float32 (m, width), tokens float16 (m, tokens, width), mask bool (m, tokens)."""
    first: np.ndarray
    """Row of every picture's first caption, (n + 1,); from 1 on."""

    @classmethod
    def open(cls, folder: Path) -> EmbeddingSet:
        """FileNotFoundError where there is none."""
        path = folder / "clip.json"
        if not path.exists():
            raise FileNotFoundError(
                f"no embeddings in {folder}; the stage `embeddings` of a family makes them"
            )
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        clip = read_clip(json.loads(path.read_text(encoding="utf-8")), path)
        return cls(clip, arrays.pop("pictures"), {k: arrays[k] for k in _TEXTS}, np.array(arrays["first"]))

    @property
    def num_tokens(self) -> int:
        return self.texts["mask"].shape[1]

    def readable(self) -> np.ndarray:
        """Numbers of the pictures that could be read, int (k,)."""
        return np.flatnonzero(np.isfinite(self.pictures[:, 0]))

    def embeddings(self, items: np.ndarray) -> Tensor:
        """Of pictures, float32 (n, width)."""
        return torch.from_numpy(np.stack([self.pictures[item] for item in items]))

    def captions(self, items: np.ndarray, chance: Tensor, dropped: Tensor) -> TextEmbeddings:
        """One caption of each picture, chosen by `chance` in [0, 1); the empty one where `dropped`, or where
        it has none."""
        rows = []
        for item, share, empty in zip(items, chance.tolist(), dropped.tolist(), strict=True):
            start, stop = self.first[item], self.first[item + 1]
            rows.append(0 if empty or start == stop else start + int(share * (stop - start)))
        found = {k: torch.from_numpy(np.stack([v[row] for row in rows])) for k, v in self.texts.items()}
        return TextEmbeddings(
            projected=found["projected"], tokens=found["tokens"].float(), mask=found["mask"]
        )


_TEXTS = ("projected", "tokens", "mask")
_ARRAYS = ("pictures", "first", *_TEXTS)


def write_embeddings(target: Path, num: int, items: Callable[[], Iterator[Item]], clip: Clip) -> EmbeddingSet:
    """Encode `num` items into `target`, unless they are there already."""
    if not (target / "clip.json").exists():
        with whole_folder(target) as new:
            _write(new, num, items, clip)
    return EmbeddingSet.open(target)


def _write(folder: Path, num: int, items: Callable[[], Iterator[Item]], clip: Clip) -> None:
    captions, first = [""], [1]
    shape = (num, clip.identity.width)
    pictures = np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.float32, shape)
    waiting: list[tuple[int, Tensor]] = []
    for number, (picture, texts) in enumerate(tqdm(items(), total=num, desc="embedding", unit="picture")):
        captions += texts
        first.append(len(captions))
        pictures[number] = np.nan
        if picture is not None:
            waiting.append((number, as_pictures(picture, f"picture {number}")))
        if len(waiting) == AT_ONCE or sum(each.numel() for _, each in waiting) > MOST_VALUES:
            _embed(waiting, pictures, clip)
    _embed(waiting, pictures, clip)
    pictures.flush()
    np.save(folder / "first.npy", np.array(first, dtype=np.int64))
    _write_texts(folder, captions, clip)
    (folder / "clip.json").write_text(json.dumps(asdict(clip.identity)), encoding="utf-8")


def _embed(waiting: list[tuple[int, Tensor]], into: np.ndarray, clip: Clip) -> None:
    """The waiting pictures (1, 3, H, W), those of one size together."""
    for shape in {tuple(t.shape) for _, t in waiting}:
        same = [(number, t) for number, t in waiting if tuple(t.shape) == shape]
        z = embed_pictures(clip.image_encoder, clip.feature_extractor, torch.cat([t for _, t in same]))
        into[[number for number, _ in same]] = z.cpu().numpy()
    waiting.clear()


def _write_texts(folder: Path, captions: Sequence[str], clip: Clip) -> None:
    arrays: dict[str, np.ndarray] = {}
    for start in tqdm(range(0, len(captions), AT_ONCE), desc="embedding captions", unit="batch"):
        said = embed_texts(clip.text_encoder, clip.tokenizer, captions[start : start + AT_ONCE])
        for name in _TEXTS:
            rows = getattr(said, name).cpu().numpy()
            rows = rows.astype(np.float16) if name == "tokens" else rows
            if name not in arrays:
                shape = (len(captions), *rows.shape[1:])
                arrays[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", rows.dtype, shape)
            arrays[name][start : start + len(rows)] = rows


def embed_scenes(source: Path, target: Path, clip: Path, device: torch.device) -> EmbeddingSet:
    """The pictures and captions of a family's shards, by the CLIP exported in the folder `clip`."""
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionModelWithProjection

    shards = open_shards(source)
    image: Any = CLIPVisionModelWithProjection.from_pretrained(clip / "image_encoder").eval()
    text: Any = CLIPTextModelWithProjection.from_pretrained(clip / "text_encoder").eval()
    tokenizer = CLIPTokenizer.from_pretrained(clip / "tokenizer")
    encoders = Clip(image.to(device), None, text.to(device), tokenizer)

    def items() -> Iterator[Item]:
        for number, caption in enumerate(shards.captions):
            yield shards.row("image", number), [caption]

    return write_embeddings(target, len(shards), items, encoders)
