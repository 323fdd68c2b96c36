"""Which saved map belongs to which truth, and how is each kind of file read?

Files belong together by stem; what `unicon estimate` and `unicon annotate` add to it (`_depth`, `_16bit`) is
not part of it. Of several files of one stem the exactest is taken: .npy, .npz, .mat, .json, 16-bit PNG,
others. Leaves out scores (`eval.protocols.map_folders`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from unicon.conditions.normals import map_to_normal
from unicon.conditions.pose_files import read_joints
from unicon.conditions.pose_reading import read_pose
from unicon.data.photos import load_photo

ARRAYS = (".npy", ".npz")
PICTURES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".webp")
SUFFIXES = {
    "depth": (*ARRAYS, *PICTURES),
    "edge": (*ARRAYS, ".mat", *PICTURES),
    "pose": (".json", *PICTURES),
    "normal": (*ARRAYS, *PICTURES),
}
"""Files that are read for each condition, the exactest first."""
DEEP, UNCERTAINTY, MASK = "_16bit", "_uncertainty", "_mask"


@dataclass(frozen=True, slots=True)
class Pair:
    """A prediction and its truth."""

    stem: str
    predicted: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class Matched:
    """What two folders have in common."""

    pairs: list[Pair]
    missing: list[str]
    """Stems of truths without a prediction."""
    num_extra: int
    """Predictions without a truth."""


def match(
    predictions: str | Path, truth: str | Path, condition: str, *, allow_missing: bool = False
) -> Matched:
    """Pairs of two folders in the order of their stems.

    Raises ValueError for a folder without such maps, for no pair at all, and for truths without a prediction
    unless that is allowed.
    """
    found, known = by_stem(predictions, condition), by_stem(truth, condition)
    missing = [stem for stem in known if stem not in found]
    pairs = [Pair(stem, found[stem], path) for stem, path in known.items() if stem in found]
    if not pairs:
        raise ValueError(
            f"{predictions} and {truth} have no stem in common, such as {next(iter(found))!r} and "
            f"{next(iter(known))!r}: name predictions as their truth is named"
        )
    if missing and not allow_missing:
        raise ValueError(
            f"{predictions} lacks {len(missing)} of {len(known)} maps of {truth}, such as {missing[0]!r}: "
            "make them, or score the others with --allow-missing, which records how many are missing"
        )
    return Matched(pairs, missing, len(found) - len(pairs))


def by_stem(folder: str | Path, condition: str) -> dict[str, Path]:
    """The maps of a folder by stem; ValueError when there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; check the spelling and the current folder")
    order = SUFFIXES[condition]
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in order and not p.name.startswith(".")]
    found: dict[str, Path] = {}
    for path in sorted(files, key=lambda p: (order.index(p.suffix.lower()), DEEP not in p.stem)):
        name = path.stem.removesuffix(DEEP)
        if not name.endswith((UNCERTAINTY, MASK)):
            found.setdefault(name.removesuffix(f"_{condition}"), path)
    if not found:
        raise ValueError(f"{folder}: holds no map; expected files that end in {', '.join(order)}")
    return dict(sorted(found.items()))


def read_plane(path: Path, *, scale: float = 1.0, deep: bool = False) -> np.ndarray:
    """One number per pixel, (H, W) float64: an array as it is, a picture's values / `scale`.

    `deep`: 8 bits are refused. Raises ValueError naming the file for more than one channel that differ.
    """
    if path.suffix.lower() in ARRAYS:
        values = np.squeeze(_array(path)).astype(np.float64)
    else:
        pixels = _pixels(path)
        if deep and pixels.dtype == np.uint8:
            raise ValueError(f"{path}: has 8 bits; expected 16, as the data set is published: check the file")
        values = pixels.astype(np.float64) / scale
        if values.ndim == 3 and not np.ptp(values[..., :3], axis=-1).any():
            values = values[..., 0]
    if values.ndim != 2:
        raise ValueError(f"{path}: has shape {values.shape}; expected one value per pixel (H, W)")
    return values


def read_strength(path: Path) -> np.ndarray:
    """A map of edge strength (H, W) in [0, 1]: floats as they are, whole numbers by their number of bits.

    Raises ValueError for floats beyond [0, 1].
    """
    if path.suffix.lower() in ARRAYS:
        kind = _array(path).dtype
        values = read_plane(path)
        if np.issubdtype(kind, np.integer):
            return values / np.iinfo(kind).max
        if values.size and (values.min() < -1e-3 or values.max() > 1 + 1e-3):
            raise ValueError(
                f"{path}: has strengths from {values.min():.3g} to {values.max():.3g}; expected [0, 1]: "
                "divide them by their largest possible value"
            )
        return values
    return read_plane(path, scale=65535.0 if _pixels(path).dtype == np.uint16 else 255.0)


def read_boundaries(path: Path) -> np.ndarray:
    """Annotations (A, H, W) bool: BSDS' .mat, the packed .npz of `eval.data`, an array, or a picture above
    half."""
    if path.suffix.lower() == ".mat":
        return _mat_boundaries(path)
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as packed:
            if {"shape", "boundaries"} <= set(packed):
                bits = np.unpackbits(packed["boundaries"], axis=-1)[..., : packed["shape"][2]]
                return bits.reshape(packed["shape"]) > 0
    found = _array(path) > 0 if path.suffix.lower() in ARRAYS else read_strength(path) > 0.5
    if found.ndim not in (2, 3):
        raise ValueError(f"{path}: has shape {found.shape}; expected (H, W) or (annotators, H, W)")
    return found if found.ndim == 3 else found[None]


def read_normals(path: Path) -> np.ndarray:
    """Vectors (H, W, 3) float64, 0 where there is none: an array (H, W, 3) or (3, H, W), or a picture of
    (n + 1) / 2."""
    if path.suffix.lower() not in ARRAYS:
        pixels = _pixels(path)
        if pixels.ndim != 3:
            raise ValueError(f"{path}: is grey; expected a picture of normals with three channels")
        whole = 65535 if pixels.dtype == np.uint16 else 255
        return map_to_normal(pixels[..., :3].astype(np.float64) / whole).astype(np.float64)
    values = np.squeeze(_array(path)).astype(np.float64)
    if values.ndim == 3 and values.shape[0] == 3 and values.shape[-1] != 3:
        values = np.moveaxis(values, 0, -1)
    if values.ndim != 3 or values.shape[-1] != 3:
        raise ValueError(f"{path}: has shape {values.shape}; expected normals (H, W, 3)")
    return values


def read_mask(path: Path) -> np.ndarray:
    """(H, W) bool: not 0."""
    return read_plane(path) > 0


def read_people(predicted: Path, truth: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Joints (18, 3) of a prediction and its truth, in the truth's pixels: OpenPose's JSON, or a drawing."""
    sizes = [_canvas(path) for path in (truth, predicted)]
    size = sizes[0] or sizes[1] or (1, 1)
    found = [_people(path, size) for path in (predicted, truth)]
    return found[0], found[1]


def _people(path: Path, size: tuple[int, int]) -> list[np.ndarray]:
    if path.suffix.lower() == ".json":
        return read_joints(path, size, canvas=size)
    drawing = np.asarray(load_photo(path))
    scale = np.array([size[0] / drawing.shape[1], size[1] / drawing.shape[0], 1.0])
    return [(person + (0.5, 0.5, 0)) * scale - (0.5, 0.5, 0) for person in read_pose(drawing)]


def _canvas(path: Path) -> tuple[int, int] | None:
    import json

    if path.suffix.lower() != ".json":
        return load_photo(path).size
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return int(told["canvas_width"]), int(told["canvas_height"])
    except (KeyError, TypeError):
        return None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: holds no joints ({error})") from error


def _array(path: Path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            if len(found.files) != 1:
                raise ValueError(f"it holds {', '.join(found.files) or 'nothing'}; expected one array")
            return found[found.files[0]]
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: is no file of one array ({error})") from error


def _pixels(path: Path) -> np.ndarray:
    """(H, W) or (H, W, C) in red, green, blue, with the file's own number of bits."""
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if found is None:
        raise ValueError(f"{path}: is not a picture that OpenCV can read")
    return found if found.ndim == 2 else found[..., [2, 1, 0, *range(3, found.shape[2])]]


def _mat_boundaries(path: Path) -> np.ndarray:
    from unicon.extras import need

    need("scipy", extra="eval")
    from scipy.io import loadmat

    try:
        cells = loadmat(path)["groundTruth"]
        return np.stack([cells[0, k]["Boundaries"][0, 0] > 0 for k in range(cells.shape[1])])
    except (KeyError, IndexError, ValueError, TypeError, OSError, NotImplementedError) as error:
        raise ValueError(f"{path}: holds no BSDS groundTruth ({type(error).__name__}: {error})") from error
