"""How do public sets with measured or annotated conditions become a user's own pairs?

Each set of `eval.data` is drawn as this project draws its condition, so that adapters trained on it answer
what the ones of `mini` answer. What is held out there is left out. Leaves out where the pairs are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import PIL.Image

from eval.data import BoundaryPhoto, DepthPhoto, Group, Photos, PosePhoto, bsds, groups, lsp, nyu_depth
from unicon.conditions.palettes import depth_to_map
from unicon.conditions.pose import draw_pose
from unicon.data.pairs.writing import Made
from unicon.data.photos import at_longer_side, load_photo
from unicon.data.views import fitted

LINES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda drawn: drawn.mean(axis=0),
    "any": lambda drawn: drawn.max(axis=0),
}
"""How annotators' lines (annotators, H, W) become one map: as bright as they agree, or all at full."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One pair that is made when it is asked for."""

    stem: str
    make: Callable[[], Made]
    """Raises ValueError naming a file that cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What of a public set becomes pairs."""

    folder: Path
    split: str
    longest_px: int = 0
    """Larger pictures are made this long at most; 0: as they are."""
    every: int = 1
    """Frames from one to the next of a pair of a clip."""
    lines: str = "mean"
    """A key of `LINES`: how bright the lines of several annotators are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicSet:
    """A set that can be asked for by name."""

    condition: str
    split: str
    """What is taken unless another split is asked for."""
    help: str
    tasks: Callable[[Selection], list[Task]]
    """Raises ValueError for a folder that does not hold the set, or an unknown split."""
    views: bool = False
    """Whether its maps are other views of the subject: such sets go into one folder together."""


def depths(asked: Selection) -> list[Task]:
    """Depth maps, near is bright, and black where nothing was measured."""

    def made(photo: DepthPhoto, stem: str) -> Made:
        return _made(stem, photo.image, depth_to_map(photo.depth, photo.depth > 0), asked.longest_px)

    return _tasks(nyu_depth(asked.folder, asked.split), made)  # pyright: ignore[reportArgumentType]


def boundaries(asked: Selection) -> list[Task]:
    """Boundary maps of all annotators."""

    def made(photo: BoundaryPhoto, stem: str) -> Made:
        image = _shrunk(PIL.Image.fromarray(photo.image), asked.longest_px)
        return Made(stem=stem, image=image, map=boundary_map(photo.boundaries, image.size, asked.lines))

    return _tasks(bsds(asked.folder, asked.split), made)  # pyright: ignore[reportArgumentType]


def boundary_map(boundaries: np.ndarray, size: tuple[int, int], lines: str = "mean") -> np.ndarray:
    """The annotators' lines (annotators, H, W) in a picture of `size` (width, height): float32 (height,
    width, 3) in [0, 1].

    Each is drawn one pixel wide in that size: averaged down, lines of one pixel would all but vanish.
    """
    width, height = size
    drawn = np.zeros((len(boundaries), height, width), np.float32)
    for canvas, one in zip(drawn, boundaries, strict=True):
        rows, columns = np.nonzero(one)
        canvas[rows * height // one.shape[0], columns * width // one.shape[1]] = 1
    return np.repeat(LINES[lines](drawn)[..., None], 3, axis=-1)


def poses(asked: Selection) -> list[Task]:
    """Drawings of 13 of 14 joints in OpenPose's colours; the head's top has no place among those."""

    def made(photo: PosePhoto, stem: str) -> Made:
        image = _shrunk(PIL.Image.fromarray(photo.image), asked.longest_px)
        joints = photo.joints.copy()
        joints[..., :2] = (joints[..., :2] + 0.5) * image.width / photo.image.shape[1] - 0.5
        return Made(stem=stem, image=image, map=draw_pose(list(joints), (image.height, image.width)))

    return _tasks(lsp(asked.folder, asked.split), made)  # pyright: ignore[reportArgumentType]


def subjects(asked: Selection) -> list[Task]:
    """Every photograph of a subject with every other one."""
    return [
        _view(group, first, second, asked.longest_px, caption=f"a photo of a {spoken(group.name)}")
        for group in groups(asked.folder, "subject", asked.split)  # pyright: ignore[reportArgumentType]
        for first, second in permutations(group.files, 2)
    ]


def clips(asked: Selection) -> list[Task]:
    """Every frame of a clip with the one `every` later, and the other way round."""
    tasks = [
        _view(group, first, second, asked.longest_px)
        for group in groups(asked.folder, "clip", asked.split)  # pyright: ignore[reportArgumentType]
        for one, other in zip(group.files, group.files[asked.every :], strict=False)
        for first, second in ((one, other), (other, one))
    ]
    if not tasks:
        raise ValueError(
            f"{asked.folder}: no clip has {asked.every + 1} frames; take frames nearer together (--every 1)"
        )
    return tasks


SETS = {
    "nyu_depth": PublicSet(
        condition="depth", split="train", tasks=depths, help="NYU Depth v2: photographs of rooms and depth"
    ),
    "bsds": PublicSet(
        condition="edge", split="all", tasks=boundaries, help="one part of BSDS500: people's boundaries"
    ),
    "lsp": PublicSet(
        condition="pose", split="rest", tasks=poses, help="Leeds Sports Poses, extended: 14 joints"
    ),
    "subjects": PublicSet(
        condition="appearance", split="rest", tasks=subjects, views=True,
        help="DreamBooth: two photographs of one subject",
    ),
    "clips": PublicSet(
        condition="appearance", split="rest", tasks=clips, views=True, help="DAVIS: two frames of one clip"
    ),
}  # fmt: skip
"""Every set by its name."""


def spoken(name: str) -> str:
    """A folder's name as words: "cat2" is a cat, "berry_bowl" a berry bowl."""
    return re.sub(r"[\d_\W]+", " ", name).strip().lower()


def _tasks(photos: Photos, made: Callable[..., Made]) -> list[Task]:
    return [
        Task(stem=Path(name).stem, make=partial(_read, photos, place, made))
        for place, name in enumerate(photos.names)
    ]


def _read(photos: Photos, place: int, made: Callable[..., Made]) -> Made:
    return made(photos[place], Path(photos.names[place]).stem)


def _made(stem: str, image: np.ndarray, drawn: np.ndarray, longest_px: int) -> Made:
    """A map that is as smooth as its picture, and is resized with it."""
    picture, small = PIL.Image.fromarray(image), np.round(drawn * 255).astype(np.uint8)
    return Made(
        stem=stem,
        image=_shrunk(picture, longest_px),
        map=_shrunk(PIL.Image.fromarray(small), longest_px),
    )


def _view(group: Group, first: Path, second: Path, longest_px: int, *, caption: str = "") -> Task:
    stem = f"{group.name}/{first.stem}-{second.stem}"

    def make() -> Made:
        image, other = (_shrunk(load_photo(path), longest_px) for path in (first, second))
        return Made(stem=stem, image=image, map=fitted(other, image.size), captions=[caption] * bool(caption))

    return Task(stem=stem, make=make)


def _shrunk(picture: PIL.Image.Image, longest_px: int) -> PIL.Image.Image:
    is_small = not longest_px or max(picture.size) <= longest_px
    return picture if is_small else at_longer_side(picture, longest_px)
