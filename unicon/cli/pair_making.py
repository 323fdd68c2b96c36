"""How do a user's files become pairs: maps of photographs, or two views of one subject?

A maker turns one task (a file, or a file and its partner) into pairs. Leaves out where they are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unicon.cli.photo_batches import find_photos

if TYPE_CHECKING:
    from PIL import Image

    from unicon.conditions.annotators import Annotator
    from unicon.data.pairs.writing import Made

APPEARANCE = "appearance"
VIEWS = {
    "crops": "another crop of the same photograph",
    "frames": "the next frame of the same video",
    "named": "the next photograph of the same name or folder",
}
"""How a second view is found, and what the map of the pair then is; the first is the default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """What is done or skipped as one."""

    stem: str
    files: tuple[Path, ...]


Maker = Callable[[Task], "Iterator[Made]"]


def find_tasks(sources: Sequence[str], *, recursive: bool, views: str | None) -> list[Task]:
    """One task per photo or video. Raises ValueError where there is none, or none has a partner."""
    if views == "frames":
        return _videos(sources, recursive)
    photos = {file.stem: file.path for file in find_photos(sources, recursive=recursive)}
    if views != "named":
        return [Task(stem=stem, files=(path,)) for stem, path in photos.items()]
    from unicon.data.views import named_alike

    partners = named_alike(list(photos)).items()
    return [Task(stem=stem, files=(photos[stem], photos[partner])) for stem, partner in partners]


def _videos(sources: Sequence[str], recursive: bool) -> list[Task]:
    from unicon.data.views import VIDEO_SUFFIXES

    tasks: dict[str, Task] = {}
    for source in map(Path, sources):
        inside = sorted(source.rglob("*") if recursive else source.glob("*")) if source.is_dir() else [source]
        for path in inside:
            if path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith("."):
                stem = path.relative_to(source).with_suffix("").as_posix() if source.is_dir() else path.stem
                if stem in tasks:
                    raise ValueError(f"{path}: {tasks[stem].files[0]} has the same stem; rename one of them")
                tasks[stem] = Task(stem=stem, files=(path,))
    if not tasks:
        raise ValueError(f"{', '.join(sources)}: no video; expected files in {', '.join(VIDEO_SUFFIXES)}")
    return list(tasks.values())


def maps(annotator: Annotator, longest_px: int) -> Maker:
    """A photograph and its map."""

    def make(task: Task) -> Iterator[Made]:
        from unicon.data.pairs.writing import Made

        photo = _opened(task.files[0], longest_px)
        yield Made(stem=task.stem, image=photo, map=annotator(photo, task.files[0]))

    return make


def views(kind: str, longest_px: int, *, num: int, seed: int, every_s: float) -> Maker:
    """Two views of a subject, found as `VIEWS` says."""
    from unicon.data.views import crops, fitted, frames

    def found(task: Task) -> Iterator[tuple[Image.Image, Image.Image]]:
        if kind == "frames":
            for first, second in frames(task.files[0], every_s=every_s):
                yield _shrunk(first, longest_px), _shrunk(second, longest_px)
        elif kind == "named":
            first, second = (_opened(path, longest_px) for path in task.files)
            yield first, fitted(second, first.size)
        else:
            yield from crops(_opened(task.files[0], longest_px), task.stem, num=num, seed=seed)

    def make(task: Task) -> Iterator[Made]:
        from unicon.data.pairs.writing import Made

        one = kind == "named" or (kind == "crops" and num == 1)
        for place, (first, second) in enumerate(found(task)):
            stem = task.stem if one else f"{task.stem}_{place:04d}"
            yield Made(stem=stem, image=first, map=second)

    return make


def _opened(path: Path, longest_px: int) -> Image.Image:
    from unicon.data.photos import load_photo

    return _shrunk(load_photo(path), longest_px)


def _shrunk(picture: Image.Image, longest_px: int) -> Image.Image:
    """Its longer side at most `longest_px` (0: as it is); never larger than it was."""
    from unicon.data.photos import at_longer_side

    is_small = not longest_px or max(picture.size) <= longest_px
    return picture if is_small else at_longer_side(picture, longest_px)
