"""On which procedural scenes is a model measured?

Seeds below 1,000,000, which no training recipe renders; one range of seeds per split. A set is rendered once
and kept in a cache folder, in pieces that sets of other sizes share. The cache is keyed by the renderer's own
source, so a changed renderer never meets old pictures. Leaves out any model and any score.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from adapters.files import write_arrays
from eval.digests import source_digest
from unicon.conditions import pose
from unicon.conditions.edges import edges_to_map
from unicon.conditions.palettes import depth_to_map
from unicon.data import scenes as renderer
from unicon.data.scenes import (
    HELD_OUT_KINDS,
    HELD_OUT_LIGHTS,
    TRAIN_KINDS,
    TRAIN_LIGHTS,
    SceneConfig,
    render,
)

PIECE = 50
"""Scenes in one cached file."""
MAX_FIGURES = 6
CONDITIONS = ("depth", "edge", "pose")
"""Conditions with an exact map in every scene."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """A range of seeds and what may occur there."""

    first_seed: int
    meaning: str
    kinds: tuple[str, ...] = TRAIN_KINDS
    require_kinds: tuple[str, ...] = ()
    lights: tuple[str, ...] = TRAIN_LIGHTS

    def config(self, size_px: int) -> SceneConfig:
        """The renderer's config for pictures of this size, without second pictures."""
        return SceneConfig(
            size=size_px,
            kinds=self.kinds,
            require_kinds=self.require_kinds,
            lights=self.lights,
            second_view=False,
        )


SPLITS = {
    "standard": Split(first_seed=0, meaning="kinds and lights as in training, other seeds"),
    "held_out_kinds": Split(
        first_seed=200_000,
        meaning="at least one object of a kind that training never shows in every scene",
        kinds=TRAIN_KINDS + HELD_OUT_KINDS,
        require_kinds=HELD_OUT_KINDS,
    ),
    "held_out_lights": Split(
        first_seed=400_000, meaning="lights that training never shows", lights=HELD_OUT_LIGHTS
    ),
    "validation": Split(first_seed=800_000, meaning="as standard; for choosing thresholds, never scored"),
    "training": Split(first_seed=1_000_000, meaning="the first training scenes; for mean maps, never scored"),
}
TEST_SPLITS = ("standard", "held_out_kinds", "held_out_lights")


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneSet:
    """N rendered scenes of S x S pixels and their exact truth."""

    split: str
    seeds: np.ndarray
    """(N,) int."""
    images: np.ndarray
    """(N, S, S, 3) uint8."""
    metres: np.ndarray
    """(N, S, S) float32, planar depth; sky is `FAR_M`."""
    edges: np.ndarray
    """(N, S, S) bool."""
    poses: np.ndarray
    """(N, S, S, 3) uint8 drawings."""
    joints: list[np.ndarray]
    """(figures, 18, 3) [x px, y px, visible] per scene."""
    captions: list[str]

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def size_px(self) -> int:
        """Side of the pictures."""
        return self.images.shape[1]

    def maps(self, condition: str) -> np.ndarray:
        """The exact maps as `unicon.conditions` draws them: (N, S, S, 3) float32 in [0, 1]."""
        check_conditions([condition])
        if condition == "depth":
            return np.stack([depth_to_map(metres) for metres in self.metres])
        if condition == "edge":
            return np.stack([edges_to_map(edges) for edges in self.edges])
        return self.poses.astype(np.float32) / 255

    def take(self, items: Sequence[int] | np.ndarray) -> SceneSet:
        """The scenes at these places, in this order."""
        items = np.asarray(items, dtype=int)
        return SceneSet(
            split=self.split,
            seeds=self.seeds[items],
            images=self.images[items],
            metres=self.metres[items],
            edges=self.edges[items],
            poses=self.poses[items],
            joints=[self.joints[i] for i in items],
            captions=[self.captions[i] for i in items],
        )

    def with_figures(self) -> SceneSet:
        """The scenes that show at least one joint: a pose map of the others is black."""
        return self.take([i for i, joints in enumerate(self.joints) if (joints[..., 2] > 0).any()])


def check_conditions(names: Sequence[str]) -> None:
    """ValueError unless every name is a condition whose exact map a scene has."""
    if unknown := [name for name in names if name not in CONDITIONS]:
        raise ValueError(
            f"no exact map of {', '.join(unknown)} on scenes; known conditions: {', '.join(CONDITIONS)}"
        )


def scene_set(
    split: str, num: int, *, size_px: int = 128, cache_folder: str | Path | None = None, workers: int = 1
) -> SceneSet:
    """The first `num` scenes of a split, from the cache or rendered into it (0.05 to 0.5 s each at 128 px).

    Raises ValueError for an unknown split or a number of scenes below 1 or beyond the split's range.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; known: {', '.join(SPLITS)}")
    if not 1 <= num <= 200_000:
        raise ValueError(f"number of scenes is {num}; it must be 1 to 200000")
    folder = Path(cache_folder or default_cache()) / f"{split}-{size_px}px-{renderer_fingerprint()}"
    folder.mkdir(parents=True, exist_ok=True)
    spans = [(start, min(start + PIECE, num)) for start in range(0, num, PIECE)]
    todo = [span for span in spans if not _piece(folder, span).exists()]
    _run(partial(_render_piece, folder, split, size_px), todo, workers, f"rendering {split} scenes")
    return _joined(split, [_read(_piece(folder, span)) for span in spans])


def default_cache() -> Path:
    """`unicon/eval-scenes` below the user's cache folder (XDG_CACHE_HOME, else ~/.cache)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "unicon" / "eval-scenes"


@cache
def renderer_fingerprint() -> str:
    """12 hex digits of the renderer's source and of the drawing of poses."""
    files = sorted(Path(renderer.__file__).parent.rglob("*.py")) + [Path(pose.__file__)]
    return source_digest(files)


def _piece(folder: Path, span: tuple[int, int]) -> Path:
    return folder / f"{span[0]:06d}-{span[1]:06d}.npz"


def _run(work, spans: list[tuple[int, int]], workers: int, title: str) -> None:
    bar = partial(tqdm, total=len(spans), desc=title, unit="piece", disable=not spans)
    if workers <= 1 or len(spans) <= 1:
        for _ in bar(map(work, spans)):
            pass
        return
    with ProcessPoolExecutor(workers) as pool:
        for _ in bar(pool.map(work, spans)):
            pass


def _render_piece(folder: Path, split: str, size_px: int, span: tuple[int, int]) -> None:
    first, config = SPLITS[split].first_seed, SPLITS[split].config(size_px)
    drawn = [render(first + number, config) for number in range(*span)]
    joints = np.zeros((len(drawn), MAX_FIGURES, 18, 3))
    for row, scene in zip(joints, drawn, strict=True):
        row[: len(scene.joints)] = np.reshape(scene.joints, (-1, 18, 3))
    arrays = {
        "seeds": np.array([s.seed for s in drawn]),
        "images": np.stack([s.image for s in drawn]),
        "metres": np.stack([s.depth for s in drawn]),
        "edges": np.stack([s.edges for s in drawn]),
        "poses": np.stack([s.pose for s in drawn]),
        "joints": joints,
        "figures": np.array([len(s.joints) for s in drawn]),
        "captions": np.array([s.caption for s in drawn]),
    }
    write_arrays(_piece(folder, span), arrays, compressed=True)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as packed:
            return dict(packed)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"cannot read the cached scenes {path}: {error}; delete the file, run again"
        ) from error


def _joined(split: str, pieces: list[dict[str, np.ndarray]]) -> SceneSet:
    whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return SceneSet(
        split=split,
        joints=[row[:count] for row, count in zip(whole["joints"], whole["figures"], strict=True)],
        captions=[str(caption) for caption in whole["captions"]],
        **{name: whole[name] for name in ("seeds", "images", "metres", "edges", "poses")},
    )
