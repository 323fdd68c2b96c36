"""Which real pictures, and which of them, are a model scored on?

Readers for public sets in the `metadata.jsonl` layout (`datasets`' imagefolder with one `*file_name` column
per picture), the folder given by the user: NYU Depth v2, BSDS500, LSP extended; and photographs that belong
together, by subject (DreamBooth) or clip (DAVIS). Nothing is downloaded.
The **held-out tenth** is chosen by a hash of the file name, so it needs no list and no seed and does not move
when files are added; see `fold`. Leaves out training sources (`unicon.data`) and any resizing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar, get_args

import numpy as np
from PIL import Image

from unicon.data.photos import SUFFIXES

TABLE = "metadata.jsonl"
NUM_FOLDS = 10
Split = Literal["held_out", "rest", "all"]
RoomSplit = Literal["held_out", "rest", "all", "other_rooms", "train"]
"""Of NYU: also its pictures of rooms that `train` does not show, and those that are in no test set."""
STRETCH = 20
"""Neighbours in NYU's list that `other_rooms` takes together, one such stretch of every `NUM_FOLDS`."""
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthPhoto:
    """One picture of NYU Depth v2."""

    name: str
    image: np.ndarray
    """(H, W, 3) uint8."""
    depth: np.ndarray
    """(H, W) float64 in [0, 1]: planar depth over the picture's maximum; linear, metric scale lost; 0 where
    nothing was measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundaryPhoto:
    """One picture of BSDS500."""

    name: str
    image: np.ndarray
    """(H, W, 3) uint8."""
    boundaries: np.ndarray
    """(annotators, H, W) bool."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PosePhoto:
    """One picture of LSP extended."""

    name: str
    image: np.ndarray
    """(H, W, 3) uint8."""
    joints: np.ndarray
    """(1, 18, 3) float64 [x px, y px, visible], OpenPose order; nose, eyes and ears are never visible."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Photographs of one subject, or frames of one clip in their order."""

    name: str
    files: tuple[Path, ...]


class Photos(Sequence, Generic[Item]):
    """Pictures read when they are asked for: `len`, index, iterate; `names` without reading."""

    def __init__(self, rows: list[dict], load: Callable[[dict], Item]):
        self._rows, self._load = rows, load

    @property
    def names(self) -> list[str]:
        """Key of each picture: the base name of the file that `fold` hashes."""
        return [key(row) for row in self._rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return Photos(self._rows[index], self._load)
        return self._load(self._rows[index])

    def __iter__(self) -> Iterator[Item]:
        return (self._load(row) for row in self._rows)


def fold(name: str) -> int:
    """Fold 0 .. 9 of a file: sha256 of its base name (with extension), as a big-endian integer, modulo 10."""
    digest = hashlib.sha256(Path(name).name.encode()).digest()
    return int.from_bytes(digest, "big") % NUM_FOLDS


def is_held_out(name: str) -> bool:
    """True for about a tenth of all names, fold 0: test pictures, never to be trained or tuned on."""
    return fold(name) == 0


def key(row: dict) -> str:
    """The name that decides a row's fold: base name of its last `*file_name` column, the map's where there is
    one.

    The map's and not the photo's because photos get recompressed and renamed; on NYU this tenth has also
    nearly the same floor as the whole set (`unicon eval baselines nyu`).
    """
    columns = [name for name in row if name.endswith("file_name")]
    if not columns:
        raise ValueError(f"metadata row without a '*file_name' column: {row}")
    return Path(row[columns[-1]]).name


def nyu_depth(folder: str | Path, split: RoomSplit = "held_out") -> Photos[DepthPhoto]:
    """NYU Depth v2 (Silberman et al. 2012), official training pictures, already cut to Eigen's crop (280 x
    213).

    8-bit depth, 255 * depth / max per picture, 0 where there is none: score after a fit of scale (and shift).
    The list follows the video, so neighbours show one room: a hashed tenth tests a model that saw none of
    this set (zero-shot); for a model trained on the rest it flatters. A model trained on `train` alone is
    tested by `other_rooms`, stretches of neighbours (a room at the end of one may be in `train` as well).
    """
    folder = Path(folder)

    def load(row: dict) -> DepthPhoto:
        depth = _grey(folder / row["depth_file_name"]).astype(np.float64) / 255
        return DepthPhoto(name=key(row), image=_picture(folder / row["image_file_name"], "RGB"), depth=depth)

    columns = ("image_file_name", "depth_file_name")
    if split not in ("other_rooms", "train"):
        return Photos(_rows(folder, split, columns, get_args(RoomSplit)), load)
    rows = _rows(folder, "all", columns)
    stretches = [place // STRETCH % NUM_FOLDS == NUM_FOLDS - 1 for place in range(len(rows))]
    kept = [
        row
        for row, is_other in zip(rows, stretches, strict=True)
        if (is_other if split == "other_rooms" else not is_other and not is_held_out(key(row)))
    ]
    return Photos(_some(kept, folder / TABLE, len(rows), split), load)


def bsds(folder: str | Path, split: Split = "all") -> Photos[BoundaryPhoto]:
    """BSDS500 (Arbelaez et al. 2011); `folder` is one of its official parts (`.../train`, `.../val`)."""
    folder = Path(folder)

    def load(row: dict) -> BoundaryPhoto:
        with np.load(folder / row["boundary_file_name"], allow_pickle=False) as packed:
            annotators, height, width = packed["shape"]
            bits = np.unpackbits(packed["boundaries"], axis=-1)[..., :width]
        image = _picture(folder / row["image_file_name"], "RGB")
        return BoundaryPhoto(
            name=key(row), image=image, boundaries=bits.reshape(annotators, height, width) > 0
        )

    return Photos(_rows(folder, split, ("image_file_name", "boundary_file_name")), load)


def lsp(folder: str | Path, split: Split = "held_out") -> Photos[PosePhoto]:
    """LSP extended (Johnson and Everingham 2011): one person per crop, 14 joints mapped to OpenPose's 18."""
    folder = Path(folder)

    def load(row: dict) -> PosePhoto:
        joints = openpose_from_lsp(np.array(row["keypoints"], dtype=np.float64))
        return PosePhoto(name=key(row), image=_picture(folder / row["file_name"], "RGB"), joints=joints[None])

    return Photos(_rows(folder, split, ("file_name", "keypoints")), load)


LSP_TO_OPENPOSE = (10, 9, 8, 11, 12, 13, 4, 3, 2, 5, 6, 7, 1)
"""OpenPose index of each of LSP's first 13 joints (right ankle .. neck); the head's top has none."""


def openpose_from_lsp(keypoints: np.ndarray) -> np.ndarray:
    """(14, 3) [x, y, visible] in LSP's order -> (18, 3) in OpenPose's; hidden joints become zeros."""
    if keypoints.shape != (14, 3):
        raise ValueError(f"LSP keypoints have shape {keypoints.shape}; expected (14, 3)")
    joints = np.zeros((18, 3))
    joints[list(LSP_TO_OPENPOSE)] = keypoints[:13]
    joints[joints[:, 2] <= 0] = 0
    return joints


def groups(folder: str | Path, column: str, split: Split = "rest") -> list[Group]:
    """Photographs by the `column` ("subject", "clip") of `metadata.jsonl`, or where there is none, by folder.

    The held-out tenth is one of groups, by a hash of their names: what is measured are subjects that were
    never seen. Raises ValueError where a split is empty, or no group has two pictures.
    """
    folder = Path(folder)
    _check_split(split, get_args(Split))
    if (folder / TABLE).is_file():
        rows = _rows(folder, "all", ("file_name", column))
        files = [(str(row[column]), folder / row["file_name"]) for row in rows]
    else:
        files = [(path.parent.name, path) for path in sorted(folder.glob("*/*")) if _is_photo(path)]
    found: dict[str, list[Path]] = {}
    for name, path in files:
        found.setdefault(name, []).append(path)
    several = {name: paths for name, paths in found.items() if len(paths) > 1}
    if not several:
        raise ValueError(
            f"{folder}: no {column} with two pictures; expected {TABLE} with columns file_name and {column}, "
            f"or a folder of pictures for each {column}"
        )
    kept = [name for name in several if split == "all" or is_held_out(name) == (split == "held_out")]
    return [
        Group(name=name, files=tuple(several[name]))
        for name in _some(kept, folder, len(several), split, f"{column}s")
    ]


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _rows(
    folder: Path, split: str, required: tuple[str, ...], known: Sequence[str] = get_args(Split)
) -> list[dict]:
    _check_split(split, known)
    table = folder / TABLE
    if not table.is_file():
        raise ValueError(f"{table} does not exist: give the folder that holds {TABLE} beside the pictures")
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").split("\n") if line.strip()]
    for number, row in enumerate(rows, start=1):
        missing = [name for name in required if name not in row]
        if missing:
            raise ValueError(f"{table}, line {number} lacks {', '.join(missing)}: is this another data set?")
    kept = [row for row in rows if split == "all" or is_held_out(key(row)) == (split == "held_out")]
    return _some(kept, table, len(rows), split)


def _check_split(split: str, known: Sequence[str]) -> None:
    if split not in known:
        raise ValueError(f"split is {split!r}; known: {', '.join(known)}")


def _some(kept: list[Item], place: Path, num: int, split: str, what: str = "pictures") -> list[Item]:
    if not kept:
        raise ValueError(f"{place}: none of its {num} {what} is in split {split!r}")
    return kept


def _grey(path: Path) -> np.ndarray:
    """(H, W) uint8. ValueError for a picture of more than 8 bits, of which Pillow would cut all above 255."""
    with contextlib.suppress(OSError), Image.open(path) as picture:
        if picture.mode.startswith(("I", "F")):
            raise ValueError(
                f"{path}: has values of more than 8 bits ({picture.mode}), where 8 bits are read: bring all "
                "files to 8 by one factor first"
            )
    return _picture(path, "L")


def _picture(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert(mode))
    except OSError as error:
        raise ValueError(f"cannot read the picture {path}: {error}") from error
