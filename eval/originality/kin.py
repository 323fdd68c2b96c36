"""How far is a picture from the other outputs of its prompt, and from what it was made from?

By meaning: 1 - cosine of features. Small distances among the outputs of one prompt are variants of one
picture; a small one to a reference is its copy. Leaves out training pictures (`eval.originality.copies`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.features import Pictures
from eval.protocols.diversity import map_stems
from eval.protocols.generated import groups
from unicon.data.photos import list_photos, load_photo


def apart_from_others(features: np.ndarray, prompts: Sequence[str]) -> np.ndarray:
    """(N,) mean distance of features (N, D) to the others of the same prompt; NaN where it has one alone."""
    rows = _directions(features)
    found = np.full(len(rows), np.nan)
    for prompt in set(prompts):
        places = np.flatnonzero([other == prompt for other in prompts])
        if len(places) > 1:
            alike = rows[places] @ rows[places].sum(0) - 1
            found[places] = 1 - alike / (len(places) - 1)
    return found


def apart_from_given(features: np.ndarray, given: np.ndarray) -> np.ndarray:
    """(N,) distance of features (N, D) to those of what each was made from, (N, D)."""
    return 1 - (_directions(features) * _directions(given)).sum(1)


def made_from(names: Sequence[str], folder: str) -> Pictures:
    """The reference or condition of each generated picture, whose name begins with its stem.

    References are STEM or STEM_CONDITION. Raises ValueError for a picture that none fits, and for two of one
    stem.
    """
    files: dict[str, Path] = {}
    for path in list_photos(folder):
        (stem,) = map_stems([path]) or [path.stem]
        if stem in files:
            raise ValueError(f"{folder}: {files[stem].name} and {path.name} are both of {stem!r}; keep one")
        files[stem] = path
    of = {
        path: files[stem]
        for stem, made in groups([Path(name) for name in names], list(files)).items()
        for path in made
    }
    found = [of[Path(name)] for name in names]
    return Pictures(tuple(path.name for path in found), lambda n: load_photo(found[n]))


def _directions(features: np.ndarray) -> np.ndarray:
    rows = features.astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
