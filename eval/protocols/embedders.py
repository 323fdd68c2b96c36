"""Who turns a picture into a vector: a model, or the user's own function?

`mini`, a folder of transformers, or `FILE.py:FUNCTION`: a function from an upright RGB PIL picture to a
vector, or to None where it sees nothing (no face). Leaves out what is done with the vectors.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
from tqdm import tqdm

from eval.features import MINI, RESIZES, Extractor
from eval.pictures import Pictures

Embedder = Callable[[PIL.Image.Image], "np.ndarray | Sequence[float] | None"]


def add_embedder_arguments(top: argparse.ArgumentParser) -> None:
    """--generated, --features, --resize, --device, --out."""
    top.add_argument("--generated", required=True, metavar="DIR", help="folders of pictures, or pictures")
    top.add_argument(
        "--features", default=MINI, metavar="MODEL",
        help="mini, a transformers vision model's folder, or FILE.py:FUNCTION from a PIL picture to a vector "
        "or None (default mini)",
    )  # fmt: skip
    top.add_argument("--resize", choices=list(RESIZES), default="bicubic", help="default bicubic")
    top.add_argument("--device", default="auto", help="auto, cpu, cuda, ... (default auto)")
    top.add_argument("--out", metavar="FILE", help="append the results to this file of JSON lines")


def embed(
    pictures: Pictures, who: str, *, resize: str = "bicubic", device: str = "cpu"
) -> tuple[list[np.ndarray | None], str]:
    """Vectors of pictures, and who made them, for the record."""
    if ".py:" in who:
        own = own_embedder(who)
        places = tqdm(range(len(pictures)), desc="embedding", unit="picture", leave=False)
        return [_vector(own(pictures.load(n)), pictures.names[n]) for n in places], who
    extractor = Extractor(who, resize=resize, device=device)
    bar_of = lambda batches: tqdm(batches, desc="embedding", unit="batch", leave=False)  # noqa: E731
    found = extractor(pictures, progress=bar_of)
    return list(found.values), found.source


def own_embedder(text: str) -> Embedder:
    """The function that FILE.py:FUNCTION names; ValueError when there is none."""
    file, _, name = text.rpartition(":")
    if not Path(file).is_file():
        raise ValueError(f"--features {text!r}: {file} does not exist; expected FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"--features {text!r}: {file} has no function {name}")
    return found  # pyright: ignore[reportReturnType]


def _vector(found: np.ndarray | Sequence[float] | None, name: str) -> np.ndarray | None:
    if found is None:
        return None
    vector = np.asarray(found, dtype=np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all():
        raise ValueError(f"{name}: --features gave {vector.shape}; expected a finite vector (D,) or None")
    return vector
