"""Which pictures does a source hold, and what is each called?

Those of a folder, of folders within it (one for each seed, subject or class), or of pairs (`docs/data.md`).
Leaves out what was asked of them (`eval.protocols.generated`) and what is seen in them (`eval.features`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from unicon.data.pairs import open_pairs
from unicon.data.pairs.names import is_image
from unicon.data.photos import SUFFIXES, list_photos, load_photo

IMAGE = "_image"
"""How pictures end that lie beside their maps."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures of a set that are decoded one by one."""

    names: tuple[str, ...]
    load: Callable[[int], Image.Image]
    digest: Callable[[int], str] | None = None
    """Of a picture's content, where it lies in a file: told apart by it, whatever its name."""
    paths: tuple[Path, ...] | None = None
    """Where all are files of their own."""
    captions: tuple[str | None, ...] | None = None
    """Where they are of pairs: the first of each."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digests(self) -> list[str] | None:
        """Of all, in their order."""
        return None if self.digest is None else [self.digest(n) for n in range(len(self))]

    def subset(self, places: Sequence[int]) -> Pictures:
        """Some of them."""
        load, told = self.load, self.digest
        return Pictures(
            names=tuple(self.names[n] for n in places),
            load=lambda n: load(places[n]),
            digest=None if told is None else lambda n: told(places[n]),
            paths=None if self.paths is None else tuple(self.paths[n] for n in places),
            captions=None if self.captions is None else tuple(self.captions[n] for n in places),
        )


def find_pictures(source: str | Path) -> Pictures:
    """The pictures of a folder (`pictures_in`), of the folders within one, or the picture side of pairs, in a
    fixed order.

    Raises ValueError where there is none, and as `folders_within`.
    """
    path = Path(source)
    if within := folders_within(path):
        return pictures_of([file for folder in within for file in pictures_in(folder)], path)
    if path.is_dir() and (not any(path.iterdir()) or (_files(path) and not _has_images(path))):
        return pictures_of(pictures_in(path))
    pairs = open_pairs(source)
    found = [(entry, entry.image) for entry in pairs if entry.image is not None]
    if not found:
        raise ValueError(f"{source}: holds maps alone; expected pictures")
    images = [image for _, image in found]
    paths = [image.content for image in images if isinstance(image.content, Path)]
    return Pictures(
        names=tuple(entry.key for entry, _ in found),
        load=lambda n: images[n].load(),
        digest=cache(lambda n: _digest(images[n].read())),
        paths=tuple(paths) if len(paths) == len(images) else None,
        captions=tuple(entry.captions[0] if entry.captions else None for entry, _ in found),
    )


def folders_within(folder: Path) -> list[Path]:
    """Those that hold the pictures of a seed, a subject or a class each; none of pairs, and none where the
    pictures lie in the folder itself.

    Folders whose pictures are all named as those in the folder itself are maps of these. Raises ValueError
    where other folders hold pictures, too: either might be meant.
    """
    if not folder.is_dir() or (folder / "metadata.jsonl").is_file() or _has_images(folder):
        return []
    own = _files(folder)
    stems = {file.stem for file in own}
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    within = [path for path in inside if any(file.stem not in stems for file in _files(path))]
    if own and within:
        raise ValueError(
            f"{folder}: holds {len(own)} pictures, such as {own[0].name}, and folders of others, such as "
            f"{within[0].name}: which are meant? Move those that are not out of it, or give a folder within"
        )
    return within


def pictures_of(files: Sequence[Path], root: Path | None = None) -> Pictures:
    """Files of pictures, named as they lie below a `root`, by default each in its own folder."""
    return Pictures(
        names=tuple(file.name if root is None else file.relative_to(root).as_posix() for file in files),
        load=lambda n: load_photo(files[n]),
        digest=cache(lambda n: _digest(files[n].read_bytes())),
        paths=tuple(files),
    )


def pictures_in(folder: str | Path, ending: str = IMAGE) -> list[Path]:
    """Of a folder; where files are named `...ENDING`, those alone. ValueError where there is none."""
    found = list_photos(folder)
    return [path for path in found if path.stem.endswith(ending)] or found


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))


def _has_images(folder: Path) -> bool:
    """Whether its pictures lie in a folder of that name, as pairs do; loose ones are none of the set, such as
    a sheet of all."""
    return any(path.is_dir() and is_image(path.name) for path in folder.iterdir())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
