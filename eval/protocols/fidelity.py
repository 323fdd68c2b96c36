"""Does a generated picture obey its map, by whoever reads the map back?

The evaluation of ControlNet++ (Li et al. 2024, arXiv 2404.07987; conventions read from its public code): the
map is read from the picture and compared with the one given, by a measure of its own for each kind of map, as
the mean over groups that hold the k-th picture of every condition. Read by the annotator that made the
condition the number flatters a model trained with it; a held-out second reader says by how much. Leaves out
arguments (`eval.protocols.control`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import PIL.Image

from adapters.files import write_array
from eval.digests import digest, digest_of_content
from eval.metrics.depth import fit
from eval.metrics.edges import edge_counts
from eval.metrics.normals import angles, errors_of
from eval.metrics.oks import Figures, figures, pose_ap
from eval.metrics.pictures import SMALLEST_FOR_SCALES_PX, ms_ssim, psnr, ssim
from eval.metrics.pose import PoseCounts, pose_counts
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
    from unicon.conditions.annotators import Annotator

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

MapReader = Callable[[Sequence[PIL.Image.Image], Sequence[Path]], Sequence[np.ndarray]]
"""Upright pictures of one size and their files -> a map (h, w, 3) of each, uint8 or [0, 1]."""


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


class MapFiles(Mapping[str, np.ndarray]):
    """Maps of files by stem, (H, W, 3) float32 in [0, 1], read when asked for; the last few are kept."""

    KEPT = 4
    """A picture's own map and another's, and those of its neighbour."""

    def __init__(self, files: Mapping[str, Path]):
        self.files = files
        self._read = lru_cache(self.KEPT)(lambda stem: _float(np.asarray(load_photo(files[stem]))))

    def __getitem__(self, stem: str) -> np.ndarray:
        return self._read(stem)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def judge_reader(judge: Reader, condition: str, seed: int = 0) -> MapReader:
    """A reader of `eval.protocols.readers`; each picture has its own noise, whatever others are read."""

    def read(pictures: Sequence[PIL.Image.Image], files: Sequence[Path]) -> list[np.ndarray]:
        keys = [stable_hash(seed, file.name) for file in files]
        found = judge.read(np.stack([np.asarray(each) for each in pictures]), condition, keys, seed)
        return list(found.maps.astype(np.float32))

    return read


def annotator_reader(annotator: Annotator) -> MapReader:
    """An annotator, which takes one picture at a time."""
    return lambda pictures, files: [annotator(*each) for each in zip(pictures, files, strict=True)]


def folder_reader(maps: Mapping[str, Path], pictures: Iterable[Path]) -> MapReader:
    """Maps that somebody else has read already, by the stems of `pictures`; ValueError naming one without."""
    for file in pictures:
        if file.stem not in maps:
            raise ValueError(f"{file}: no map of this stem was read; {len(maps)} others were")

    return lambda _, files: [np.asarray(load_photo(maps[file.stem])) for file in files]


def remembering(reader: MapReader, folder: Path | None, facts: Mapping[str, object]) -> MapReader:
    """The reader, but a map that `folder` holds is not read again.

    `facts`, as JSON can hold them, are all that makes its readings what they are, such as digests of its
    weights. Pictures are told by their content.
    """
    if folder is None:
        return reader
    told = json.dumps({"version": __version__, **facts}, sort_keys=True)

    def kept(file: Path) -> Path:
        known = (told, digest_of_content(file.read_bytes()))
        return folder / f"{file.stem}.{digest(repr(known))}.npy"

    def read(pictures: Sequence[PIL.Image.Image], files: Sequence[Path]) -> list[np.ndarray]:
        paths = [kept(file) for file in files]
        if missing := [n for n, path in enumerate(paths) if not path.is_file()]:
            found = reader([pictures[n] for n in missing], [files[n] for n in missing])
            for n, values in zip(missing, found, strict=True):
                write_array(paths[n], values)
        return [np.load(path, allow_pickle=False) for path in paths]

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
    sets: Mapping[str, Mapping[str, Sequence[Path]]],
    *,
    batch_size: int = 1,
    palette: np.ndarray | None = None,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> dict[str, Fidelity]:
    """Compare what `reader` sees in pictures with maps (H, W, 3) in [0, 1], in several ways by name.

    `sets`: of each way the pictures by the map that they are compared with. A picture is read once, whatever
    number of ways it takes part in, with at most `batch_size` others of its size; only what numbers are made
    of is kept of it, so that maps may be of any number (`MapFiles`).

    Raises ValueError for a map without pictures or with another number of them than the first, a picture of
    another shape than its map, and when no picture can be compared.
    """
    uses: dict[Path, list[tuple[str, str, int]]] = {}
    for name, pictures in sets.items():
        _check_numbers({stem: len(files) for stem, files in pictures.items()})
        for stem, files in pictures.items():
            for place, path in enumerate(files):
                uses.setdefault(path, []).append((name, stem, place))
    facts: dict[tuple[str, str, int], Any] = {}
    resizes = Counter()
    for batch in _batches(progress(list(uses)), batch_size):
        found = reader([picture for _, picture in batch], [path for path, _ in batch])
        for (path, picture), values in zip(batch, found, strict=True):
            for use in uses[path]:
                name, given = use[0], maps[use[1]]
                resizes[name] += check_shape(path, picture.size, given.shape[1::-1])
                facts[use] = _facts(kind, values, given, palette)
    return {
        name: _over_groups(kind, name, pictures, facts, num_resized=resizes[name])
        for name, pictures in sets.items()
    }


def _batches(paths: Iterable[Path], num: int) -> Iterator[list[tuple[Path, PIL.Image.Image]]]:
    """Neighbours of one size, opened, at most `num` at a time."""
    batch: list[tuple[Path, PIL.Image.Image]] = []
    for path in paths:
        picture = load_photo(path)
        if batch and (len(batch) == num or picture.size != batch[0][1].size):
            yield batch
            batch = []
        batch.append((path, picture))
    if batch:
        yield batch


def _over_groups(
    kind: Kind,
    name: str,
    pictures: Mapping[str, Sequence[Path]],
    facts: Mapping[tuple[str, str, int], Any],
    *,
    num_resized: int,
) -> Fidelity:
    """One way's numbers: group k holds the k-th picture of every map."""
    count = len(next(iter(pictures.values())))
    scored = [_numbers(kind, [facts[name, stem, place] for stem in pictures]) for place in range(count)]
    return Fidelity(
        scores=[numbers for numbers, _ in scored], num=count * len(pictures), num_conditions=len(pictures),
        num_resized=num_resized, num_unread=sum(missed for _, missed in scored),
    )  # fmt: skip


def picture_fidelity(
    reader: MapReader, kind: Kind, given: np.ndarray, path: Path, *, palette: np.ndarray | None = None
) -> float:
    """The headline number of one picture and its map (H, W, 3) in [0, 1]; NaN where the map shows nothing to
    find again. Raises ValueError for a picture of another shape than its map."""
    if _is_empty(kind, given):
        return float("nan")
    picture = load_photo(path)
    check_shape(path, picture.size, given.shape[1::-1])
    (values,) = reader([picture], [path])
    return _numbers(kind, [_facts(kind, values, given, palette)])[0][HEADLINES[kind][0]]


def _is_empty(kind: Kind, given: np.ndarray) -> bool:
    if kind == "pose":
        return not (figures(np.reshape(read_pose(given), (-1, 18, 3))).areas > 0).any()
    return kind == "normal" and not np.any(map_to_normal(given))


def _facts(kind: Kind, values: np.ndarray, given: np.ndarray, palette: np.ndarray | None) -> Any:
    """What of one picture numbers of its group are made of, from the map that was read in it: numbers of its
    own, figures, or counts. None where its map shows nothing."""
    read = at_size(_float(values), given.shape, nearest=kind == "segmentation")
    if kind == "pose":
        return _people(read, given)
    if kind == "segmentation":
        return _labels(read, given, palette)
    if kind == "normal":
        return errors_of(_angles(read, given)) if np.any(map_to_normal(given)) else None
    return {"depth": _depth, "edge": _edges, "lines": _lines}[kind](read, given)


def _numbers(kind: Kind, group: Sequence[Any]) -> tuple[dict[str, float], int]:
    """Numbers of one group by the facts of its pictures, and how many of it could not be compared."""
    if kind == "pose":
        return _poses(group)
    if kind == "segmentation":
        total = sum(group[1:], group[0])
        return {"mean_iou": total.mean_iou, "accuracy": total.accuracy}, 0
    if kind == "normal":
        found = [errors for errors in group if errors is not None]
        if not found:
            raise ValueError("no normal map has a direction anywhere")
        names = ("mean", "median", "under_11_25", "under_30")
        return {n: float(np.mean([getattr(f, n) for f in found])) for n in names}, len(group) - len(found)
    names = [name for name in group[0] if all(name in row for row in group)]  # some need a size
    return {name: float(np.mean([row[name] for row in group])) for name in names}, 0


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


@dataclass(frozen=True, kw_only=True, slots=True)
class _People:
    """Of one picture."""

    read: Figures
    given: Figures
    counts: PoseCounts


def _people(read: np.ndarray, given: np.ndarray) -> _People:
    p, g = (np.reshape(read_pose(m), (-1, 18, 3)) for m in (read, given))
    return _People(read=figures(p), given=figures(g), counts=pose_counts(p, g))


def _poses(group: Sequence[_People]) -> tuple[dict[str, float], int]:
    whole = [each.given.take(each.given.areas > 0) for each in group]
    if not sum(map(len, whole)):
        raise ValueError("no given map shows a figure: nothing to find again")
    found = pose_ap([each.read for each in group], whole)
    total = sum((each.counts for each in group[1:]), group[0].counts)
    numbers = {
        "ap": found.ap, "oks": found.mean_oks, "pck": total.pck, "count_error": found.count_error,
    }  # fmt: skip
    return numbers, sum(not len(g) for g in whole)


def _labels(read: np.ndarray, given: np.ndarray, palette: np.ndarray | None) -> Confusion:
    if palette is None:
        raise ValueError(NO_PALETTE)
    p, g = (labels_of(np.round(255 * m).astype(np.uint8), palette) for m in (read, given))
    return confusion(p, g, len(palette), ignored=-1)


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
