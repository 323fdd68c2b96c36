"""Does a generated picture obey its map, by whoever reads the map back?

The evaluation of ControlNet++ (Li et al. 2024, arXiv 2404.07987; conventions read from its public code): the
map is read from the picture and compared with the one given, by a measure of its own for each kind of map, as
the mean over groups that hold the k-th picture of every condition. Read by the annotator that made the
condition the number flatters a model trained with it; a held-out second reader says by how much. Leaves out
arguments (`eval.protocols.control`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import PIL.Image

from adapters.files import write_array
from eval.metrics.depth import fit
from eval.metrics.edges import edge_counts
from eval.metrics.normals import angles, errors_of
from eval.metrics.oks import figures, pose_ap
from eval.metrics.pictures import SMALLEST_FOR_SCALES_PX, ms_ssim, psnr, ssim
from eval.metrics.pose import pose_counts
from eval.metrics.segmentation import Confusion, confusion, labels_of
from unicon import __version__
from unicon.conditions.arrays import at_size
from unicon.conditions.edges import edge_strength, map_to_edges
from unicon.conditions.normals import map_to_normal
from unicon.conditions.pose_reading import read_pose
from unicon.data.photos import load_photo, upright_size
from unicon.sampling.noise import stable_hash

if TYPE_CHECKING:
    from eval.protocols.readers import Reader

Kind = Literal["depth", "edge", "lines", "pose", "normal", "segmentation"]
KINDS: dict[str, Kind] = {
    "depth": "depth", "edge": "edge", "canny": "edge", "hed": "lines", "softedge": "lines",
    "lineart": "lines", "pose": "pose", "normal": "normal", "normals": "normal",
    "segmentation": "segmentation", "seg": "segmentation",
}  # fmt: skip
"""How maps of a condition are compared."""
HEADLINES: dict[Kind, tuple[str, bool]] = {
    "depth": ("rmse_255_fitted", False), "edge": ("f1", True), "lines": ("ssim", True), "pose": ("pck", True),
    "normal": ("mean", False), "segmentation": ("mean_iou", True),
}  # fmt: skip
"""The number that one picture is judged by, and whether more of it is better."""
LARGEST_STRETCH = 1.02
"""By how much the shapes of a picture and its map may differ, as the quotient of their aspects."""
LEAST_DRAWN = 0.5
"""Of a map of classes, the share of pixels that have a colour of the palette; borders may be blended."""
RADIX = np.array([1 << 16, 1 << 8, 1])
NO_PALETTE = "maps of classes need the palette that they are drawn in: give --palette"

MapReader = Callable[[PIL.Image.Image, Path], np.ndarray]
"""An upright picture and its file -> a map (h, w, 3), uint8 or [0, 1]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fidelity:
    """One reader's verdict."""

    scores: list[dict[str, float]]
    """Numbers of each group of pictures."""
    num: int
    """Pictures."""
    num_conditions: int
    num_resized: int
    """Pictures whose size is not their map's."""
    num_unread: int
    """Pictures in whose map there was nothing to compare (no figure to find, every label ignored)."""


def judge_reader(judge: Reader, condition: str, seed: int = 0) -> MapReader:
    """A reader of `eval.protocols.readers` for single pictures."""

    def read(picture: PIL.Image.Image, file: Path) -> np.ndarray:
        key = stable_hash(seed, file.name)
        return judge.read(np.asarray(picture)[None], condition, [key], seed).maps[0].astype(np.float32)

    return read


def folder_reader(maps: Mapping[str, Path], pictures: Iterable[Path]) -> MapReader:
    """Maps that somebody else has read already, by the stems of `pictures`; ValueError naming one without."""
    for file in pictures:
        if file.stem not in maps:
            raise ValueError(f"{file}: no map of this stem was read; {len(maps)} others were")

    def read(picture: PIL.Image.Image, file: Path) -> np.ndarray:
        return np.asarray(load_photo(maps[file.stem]))

    return read


def remembering(reader: MapReader, folder: Path | None, facts: Mapping[str, object]) -> MapReader:
    """The reader, but a map that `folder` holds is not read again.

    `facts`, as JSON can hold them, are all that makes its readings what they are, such as digests of its
    weights. Pictures are told by their content.
    """
    if folder is None:
        return reader
    told = json.dumps({"version": __version__, **facts}, sort_keys=True)

    def read(picture: PIL.Image.Image, file: Path) -> np.ndarray:
        known = (told, hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest())
        path = folder / f"{file.stem}.{hashlib.blake2b(repr(known).encode(), digest_size=8).hexdigest()}.npy"
        if path.is_file():
            return np.load(path, allow_pickle=False)
        found = reader(picture, file)
        write_array(path, found)
        return found

    return read


def check_comparable(
    kind: Kind,
    maps: Mapping[str, Path],
    pictures: Mapping[str, Sequence[Path]],
    *,
    palette: np.ndarray | None = None,
) -> None:
    """Raise what a comparison of these would raise, before anything is read from a picture, which takes long.

    ValueError for a condition with another number of pictures than the first, a picture of another shape than
    its map, maps that all show nothing, and a palette that is missing or another's.
    """
    _check_numbers({stem: len(pictures.get(stem, ())) for stem in maps})
    for stem, given in maps.items():
        for path in pictures[stem]:
            check_shape(path, upright_size(path), upright_size(given))
    if kind == "segmentation":
        _check_palette(palette, dict.fromkeys(maps.values()))  # one map may be of many pictures
    shown = {"pose": "figure", "normal": "direction"}.get(kind)
    if shown and all(_is_empty(kind, _float(np.asarray(load_photo(given)))) for given in maps.values()):
        raise ValueError(f"none of {len(maps)} given maps shows a {shown}: there is nothing to find again")


def fidelity(
    reader: MapReader,
    kind: Kind,
    maps: Mapping[str, np.ndarray],
    pictures: Mapping[str, Sequence[Path]],
    *,
    palette: np.ndarray | None = None,
    progress: Callable = iter,
) -> Fidelity:
    """Compare what `reader` sees in the pictures of each condition with its map (H, W, 3) in [0, 1].

    Raises ValueError for a condition without pictures or with another number of them than the first, a
    picture of another shape than its map, and when no picture can be compared.
    """
    numbers = {stem: len(pictures.get(stem, ())) for stem in maps}
    _check_numbers(numbers)
    count, resizes, scored = next(iter(numbers.values())), 0, []
    groups: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(count)]
    for stem, given in progress(list(maps.items())):
        for place, path in enumerate(pictures[stem]):
            picture = load_photo(path)
            resizes += check_shape(path, picture.size, given.shape[1::-1])
            read = _float(reader(picture, path))
            groups[place].append((at_size(read, given.shape, nearest=kind == "segmentation"), given))
    unread = 0
    for group in groups:
        numbers_of, missed = _score(kind, group, palette)
        scored.append(numbers_of)
        unread += missed
    return Fidelity(
        scores=scored, num=count * len(maps), num_conditions=len(maps), num_resized=resizes, num_unread=unread
    )


def picture_fidelity(
    reader: MapReader, kind: Kind, given: np.ndarray, path: Path, *, palette: np.ndarray | None = None
) -> float:
    """The headline number of one picture and its map (H, W, 3) in [0, 1]; NaN where the map shows nothing to
    find again. Raises ValueError for a picture of another shape than its map."""
    if _is_empty(kind, given):
        return float("nan")
    picture = load_photo(path)
    check_shape(path, picture.size, given.shape[1::-1])
    read = at_size(_float(reader(picture, path)), given.shape, nearest=kind == "segmentation")
    return _score(kind, [(read, given)], palette)[0][HEADLINES[kind][0]]


def _is_empty(kind: Kind, given: np.ndarray) -> bool:
    if kind == "pose":
        return not (figures(np.reshape(read_pose(given), (-1, 18, 3))).areas > 0).any()
    return kind == "normal" and not np.any(map_to_normal(given))


def _score(
    kind: Kind, group: Sequence[tuple[np.ndarray, np.ndarray]], palette: np.ndarray | None
) -> tuple[dict[str, float], int]:
    """Numbers of one group, and how many of it could not be compared."""
    if kind == "pose":
        return _poses(group)
    if kind == "segmentation":
        return _segmentation(group, palette)
    if kind == "normal":
        whole = [(r, g) for r, g in group if np.any(map_to_normal(g))]
        if not whole:
            raise ValueError("no normal map has a direction anywhere")
        found = [errors_of(_angles(r, g)) for r, g in whole]
        names = ("mean", "median", "under_11_25", "under_30")
        return {n: float(np.mean([getattr(f, n) for f in found])) for n in names}, len(group) - len(whole)
    rows = [{"depth": _depth, "edge": _edges, "lines": _lines}[kind](r, g) for r, g in group]
    names = [name for name in rows[0] if all(name in row for row in rows)]  # some need a size
    return {name: float(np.mean([row[name] for row in rows])) for name in names}, 0


def _depth(read: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """RMSE of 8-bit maps as ControlNet++ has it, and after the read map's scale and shift are fitted; near is
    never made far."""
    p, g = 255 * read.astype(np.float64).mean(-1), 255 * given.astype(np.float64).mean(-1)
    scale, shift = fit(p, g)
    if scale < 0:
        scale, shift = 0.0, float(g.mean())
    return {
        "rmse_255": float(np.sqrt(np.mean((p - g) ** 2))),
        "rmse_255_fitted": float(np.sqrt(np.mean((scale * p + shift - g) ** 2))),
    }


def _edges(read: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """F1 of single pixels (ControlNet++ on Canny) and within 2 px after thinning; SSIM."""
    p, g = edge_strength(read), edge_strength(given)
    return {
        "f1_exact": edge_counts(p, g, tolerance_px=0, thin=False).f1,
        "f1": edge_counts(map_to_edges(read), map_to_edges(given), tolerance_px=2).f1,
        "ssim": ssim(p, g),
    }


def _lines(read: np.ndarray, given: np.ndarray) -> dict[str, float]:
    p, g = edge_strength(read), edge_strength(given)
    found = {"ssim": ssim(p, g), "psnr": psnr(p, g)}
    if min(g.shape) >= SMALLEST_FOR_SCALES_PX:
        found["ms_ssim"] = ms_ssim(p, g)
    return found


def _angles(read: np.ndarray, given: np.ndarray) -> np.ndarray:
    return angles(map_to_normal(read), map_to_normal(given), guess=True)


def _poses(group: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[dict[str, float], int]:
    people = [[np.reshape(read_pose(m), (-1, 18, 3)) for m in pair] for pair in group]
    truth = [figures(g) for _, g in people]
    whole = [g.take(g.areas > 0) for g in truth]
    if not sum(map(len, whole)):
        raise ValueError("no given map shows a figure: nothing to find again")
    found = pose_ap([figures(p) for p, _ in people], whole)
    counts = [pose_counts(p, g) for p, g in people]
    total = sum(counts[1:], counts[0])
    numbers = {
        "ap": found.ap, "oks": found.mean_oks, "pck": total.pck, "count_error": found.count_error,
    }  # fmt: skip
    return numbers, sum(not len(g) for g in whole)


def _segmentation(
    group: Sequence[tuple[np.ndarray, np.ndarray]], palette: np.ndarray | None
) -> tuple[dict[str, float], int]:
    if palette is None:
        raise ValueError(NO_PALETTE)
    total = Confusion(np.zeros((len(palette), len(palette)), dtype=np.int64))
    for read, given in group:
        p, g = (labels_of(np.round(255 * m).astype(np.uint8), palette) for m in (read, given))
        total = total + confusion(p, g, len(palette), ignored=-1)
    return {"mean_iou": total.mean_iou, "accuracy": total.accuracy}, 0


def _check_numbers(numbers: Mapping[str, int]) -> None:
    """ValueError for conditions without pictures, or with more of them than others have."""
    if len(set(numbers.values())) != 1 or 0 in numbers.values():
        few = min(numbers, key=lambda stem: numbers[stem])
        raise ValueError(
            f"conditions have {min(numbers.values())} to {max(numbers.values())} pictures, {few!r} the "
            "fewest: make as many of each, so that groups are alike"
        )


def check_shape(name: str | Path, size: tuple[int, ...], given: tuple[int, ...]) -> bool:
    """Whether the sizes (width, height) of a picture and its map differ; ValueError if the shapes do."""
    stretch = size[0] * given[1] / (size[1] * given[0])
    if not 1 / LARGEST_STRETCH <= stretch <= LARGEST_STRETCH:
        raise ValueError(
            f"{name} is {size[0]} x {size[1]}, its map {given[0]} x {given[1]}: they must have one shape"
        )
    return size != given


def _check_palette(palette: np.ndarray | None, maps: Iterable[Path]) -> None:
    """ValueError for none, and for one that maps are not drawn in: the nearest colour says nothing then."""
    if palette is None:
        raise ValueError(NO_PALETTE)
    known = np.unique(palette.astype(np.int64) @ RADIX)
    for path in maps:
        colours, counts = np.unique(np.asarray(load_photo(path)).astype(np.int64) @ RADIX, return_counts=True)
        other = ~np.isin(colours, known)
        if (share := 1 - counts[other].sum() / counts.sum()) < LEAST_DRAWN:
            most = int(np.argmax(counts * other))
            colour = tuple((colours[most] // RADIX % 256).tolist())
            raise ValueError(
                f"{path}: {share:.0%} of its pixels have a colour of --palette; expected {LEAST_DRAWN:.0%} "
                f"and more. {counts[most] / counts.sum():.0%} are {colour}: if that is a "
                "background, give it a row of the palette, where it counts as a class; else give the palette "
                "that it is drawn in, and maps that were saved without loss (PNG)"
            )


def _float(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    values = values.astype(np.float32) / 255 if values.dtype == np.uint8 else values.astype(np.float32)
    return np.clip(values, 0, 1)
