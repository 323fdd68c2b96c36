"""Where do the mini family's training pictures lie?

Scenes are rendered once into shards of memory-mapped arrays, each written whole or not at all, so rendering
can be stopped, continued and spread over processes; the trainer reads them without decoding anything.
Photographs with captions go through the same format with the maps left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from adapters.files import whole_folder

SCENES_PER_SHARD = 256
POSED_SHARE = 0.75
"""How often a pose is taught on a scene that shows a figure; only a third of all scenes do."""
MAPS = ("image", "depth", "edge", "pose", "second", "lowres")


@dataclass(frozen=True, slots=True)
class Shards:
    """Arrays of a folder of shards, by name, as lists of memory maps, and their captions.

    image, pose, second, lowres: uint8 (n, H, W, 3); depth, edge: uint8 (n, H, W), maps as `unicon.conditions`
    draws them; joints: float32 (n, F, 18, 3), NaN where a scene has fewer figures than F.
    """

    arrays: dict[str, list[np.ndarray]]
    captions: list[str]
    second_captions: list[str]
    starts: np.ndarray
    posed: np.ndarray
    """Items that show at least one figure, ascending; empty where joints are not kept."""

    def __len__(self) -> int:
        return len(self.captions)

    def row(self, name: str, item: int) -> np.ndarray:
        """Row `item` of one array."""
        shard = int(np.searchsorted(self.starts, item, side="right")) - 1
        return self.arrays[name][shard][item - self.starts[shard]]

    def mostly_posed(self, items: np.ndarray, chance: np.ndarray) -> np.ndarray:
        """`items` with the share `POSED_SHARE` of them replaced by ones that show a figure.

        `chance` (n,) in [0, 1) says which. Without it poses would be learnt mostly from black maps.
        """
        return np.where(chance < POSED_SHARE, self.posed_for(items), items)

    def posed_for(self, items: np.ndarray) -> np.ndarray:
        """For each of `items` one that shows a figure, all such equally often; `items` where none does."""
        return self.posed[items % len(self.posed)] if len(self.posed) else items

    def gather(self, name: str, items: np.ndarray) -> np.ndarray:
        """Rows `items` of one array, stacked in that order."""
        return np.stack([self.row(name, item) for item in items])


def open_shards(folder: Path, num: int | None = None) -> Shards:
    """Open the shards of `folder`, at most the first `num` items (shards are whole, so rounded up).

    Raises FileNotFoundError when there is none, naming the command that renders them.
    """
    paths = sorted(p for p in folder.glob("shard_*") if (p / "captions.json").exists())
    if not paths:
        raise FileNotFoundError(
            f"no shards under {folder}; make them first, scenes for example with "
            f"unicon train mini-fast/scenes --out {folder.parent}"
        )
    if num is not None:
        paths = paths[: -(-num // SCENES_PER_SHARD)]
    texts = [json.loads((p / "captions.json").read_text()) for p in paths]
    names = [f.stem for f in sorted(paths[0].glob("*.npy"))]
    arrays = {name: [np.load(p / f"{name}.npy", mmap_mode="r") for p in paths] for name in names}
    counts = [len(t["captions"]) for t in texts]
    shown = [~np.isnan(joints[:, 0, 0, 0]) for joints in arrays.get("joints", [])]
    return Shards(
        arrays=arrays,
        captions=[c for t in texts for c in t["captions"]],
        second_captions=[c for t in texts for c in t["second_captions"]],
        starts=np.cumsum([0, *counts[:-1]]),
        posed=np.flatnonzero(np.concatenate(shown)) if shown else np.empty(0, dtype=np.int64),
    )


def render_shards(folder: Path, num: int, first_seed: int, config, num_workers: int) -> None:
    """Render scenes first_seed .. first_seed + num into `folder`; shards already there are kept."""
    make_shards(folder, num, partial(_render_shard, folder, first_seed, config), num_workers)


def make_shards(folder: Path, num: int, make: Callable[[int], None], num_workers: int) -> None:
    """Let processes `make` by number the shards that hold `num` items; those already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [i for i in range(-(-num // SCENES_PER_SHARD)) if not (folder / f"shard_{i:06d}").exists()]
    with ProcessPoolExecutor(num_workers) as pool:
        for _ in tqdm(pool.map(make, todo), total=len(todo), desc=f"rendering {folder.name}", unit="shard"):
            pass


def _render_shard(folder: Path, first_seed: int, config, index: int) -> None:
    import torch

    from unicon.conditions.palettes import depth_to_map
    from unicon.data.scenes import render

    torch.set_num_threads(1)
    start = first_seed + index * SCENES_PER_SHARD
    scenes = [render(seed, config) for seed in range(start, start + SCENES_PER_SHARD)]
    arrays = {
        "image": np.stack([s.image for s in scenes]),
        "depth": np.stack([_to_uint8(depth_to_map(s.depth)[..., 0]) for s in scenes]),
        "edge": np.stack([s.edges.astype(np.uint8) * 255 for s in scenes]),
        "pose": np.stack([s.pose for s in scenes]),
        "second": np.stack([s.second_image for s in scenes if s.second_image is not None]),
        "metres": np.stack([s.depth.astype(np.float16) for s in scenes]),
        "joints": _pad_joints([s.joints for s in scenes]),
    }
    texts = {"captions": [s.caption for s in scenes], "second_captions": [s.second_caption for s in scenes]}
    write_shard(folder / f"shard_{index:06d}", arrays, texts)


def _to_uint8(picture: np.ndarray) -> np.ndarray:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _pad_joints(joints: list[list[np.ndarray]], figures: int = 6) -> np.ndarray:
    out = np.full((len(joints), figures, 18, 3), np.nan, dtype=np.float32)
    for row, scene in zip(out, joints, strict=True):
        for place, figure in zip(row, scene, strict=False):
            place[:] = figure
    return out


def write_photo_shards(folder: Path, photos: Iterable[tuple[np.ndarray, str]]) -> int:
    """Write (uint8 picture (H, W, 3), caption) pairs of one size as shards; returns how many."""
    total = 0
    for index, chunk in enumerate(_chunks(photos, SCENES_PER_SHARD)):
        captions = [caption for _, caption in chunk]
        texts = {"captions": captions, "second_captions": captions}
        write_shard(folder / f"shard_{index:06d}", {"image": np.stack([p for p, _ in chunk])}, texts)
        total += len(chunk)
    return total


def _chunks(items: Iterable, size: int) -> Iterator[list]:
    chunk: list = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def write_shard(target: Path, arrays: dict[str, np.ndarray], texts: dict[str, list[str]]) -> None:
    """Write one shard, whole or not at all."""
    with whole_folder(target) as new:
        for name, array in arrays.items():
            np.save(new / f"{name}.npy", array)
        (new / "captions.json").write_text(json.dumps(texts))
