"""How are bad pairs made?"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import PIL.Image

from .case import Place
from .files import parquet, png, put, saved, tar, tar_rows


def with_map(content: bytes, name: str = "0.png") -> Callable[[Place], list[str]]:
    """One map of three is something else."""

    def make(place: Place) -> list[str]:
        place.pairs()
        (place.data / "depth" / "0.png").unlink()
        put(place.data / "depth" / name, content)
        return place.check()

    return make


def with_maps(first: bytes, others: bytes) -> Callable[[Place], list[str]]:
    """The first of three maps, and the others."""

    def make(place: Place) -> list[str]:
        place.pairs()
        shutil.rmtree(place.data / "depth")
        for i, content in enumerate((first, others, others)):
            put(place.data / "depth" / f"{i}.tiff", content)
        return place.check()

    return make


def with_file(name: str, content: bytes, *more: str) -> Callable[[Place], list[str]]:
    """Another file beside good pairs."""

    def make(place: Place) -> list[str]:
        put(place.pairs() / name, content)
        return place.check(*more)

    return make


def maps_as_arrays(place: Place) -> list[str]:
    for path in (place.pairs() / "depth").iterdir():
        np.save(path.with_suffix(".npy"), np.ones((64, 64), np.float32))
        path.unlink()
    return place.check("--conditions", "depth")


def poses_in_grey(place: Place) -> list[str]:
    (place.pairs() / "depth").rename(place.data / "pose")
    for path in (place.data / "pose").iterdir():
        put(path, saved(PIL.Image.new("RGB", (64, 64), (160, 160, 150))))
    return place.check("--conditions", "pose")


def without(*names: str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        place.pairs()
        for name in names:
            (place.data / name).unlink()
        return place.check()

    return make


def alone(name: str, content: bytes) -> Callable[[Place], list[str]]:
    """The file is all there is."""

    def make(place: Place) -> list[str]:
        put(place.data / name, content)
        return place.check()

    return make


def jsonl(*rows: dict | str) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        put(place.pairs() / "metadata.jsonl", "\n".join(lines).encode())
        return place.check()

    return make


GOOD_ROW = {"file_name": "image/0.png", "depth_file_name": "depth/0.png", "text": "a thing"}


def picture_twice(place: Place) -> list[str]:
    place.pairs()
    put(place.data / "image" / "9.png", png(0))
    put(place.data / "depth" / "9.png", png(9))
    return place.check()


def not_permitted(place: Place) -> list[str]:
    place.pairs()
    real, path = PIL.Image.open, place.data / "depth" / "0.png"

    def opened(content, *more, **options):
        if content == path:
            raise PermissionError(13, "Permission denied", str(path))
        return real(content, *more, **options)

    place.patches.enter_context(mock.patch("PIL.Image.open", opened))  # for root, every file is readable
    return place.check()


def parquet_case(columns: dict[str, list]) -> Callable[[Place], list[str]]:
    return lambda place: (parquet(place.data / "a.parquet", columns), place.check())[1]


def tar_case(members: dict[str, bytes], cut: int | None = None) -> Callable[[Place], list[str]]:
    def make(place: Place) -> list[str]:
        path = tar(place.data / "000.tar", members)
        path.write_bytes(path.read_bytes()[:cut])
        return place.check()

    return make


def stream_cut_short(place: Place) -> list[str]:
    path = tar(place.data / "000.tar", tar_rows(4))
    path.write_bytes(path.read_bytes()[:70_000])
    return place.train("--streaming", "true", "--bad_share", "0.5", "--validation_pairs", "0")


def train_with(damage: Callable[[Path], object], *more: str) -> Callable[[Place], list[str]]:
    """Training on pairs of which one is damaged."""
    return lambda place: (damage(place.pairs(4)), place.train(*more))[1]
