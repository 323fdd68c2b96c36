"""Does a picture show what its caption says, and on which scale is that told?

The cosine of CLIP's embeddings, in the three scales that papers print and seldom name. Also how often the own
caption is the nearest of all, which has no scale at all. Leaves out the encoders (`eval.clip`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from eval.metrics.summary import Interval, bootstrap_interval

ROWS = 1024
"""Pictures that are compared with all captions at a time."""

Scale = Literal["cosine", "percent", "hessel"]
SCALES: dict[Scale, str] = {
    "cosine": "cos",
    "percent": "max(100 cos, 0), torchmetrics' CLIPScore",
    "hessel": "2.5 max(cos, 0), Hessel et al. 2021 (arXiv 2104.08718), eq. 1; captions as they are, where "
    'the published scores have "A photo depicts" before them',
}
"""What each scale computes from one cosine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextScore:
    """How well pictures match their captions."""

    mean: Interval | float
    """On `scale`, mean over pictures with its 95% bootstrap interval; of one picture the number alone."""
    shuffled: float | None
    """The same of every picture with the next one's caption: what no match at all scores. None for one."""
    own_first: float | None
    """Share of pictures nearer to their own caption than to every other (different) one; None where all
    captions are equal."""
    scale: Scale
    per_picture: tuple[float, ...]
    """On `scale`."""

    @property
    def num(self) -> int:
        return len(self.per_picture)


def on_scale(cosines: np.ndarray, scale: Scale) -> np.ndarray:
    """Cosines in [-1, 1] on a scale of `SCALES`; ValueError for an unknown scale, NaN and other values."""
    if scale not in get_args(Scale):
        raise ValueError(f"scale is {scale!r}; known: {', '.join(get_args(Scale))}")
    cosines = np.asarray(cosines, dtype=np.float64)
    if not (np.abs(cosines) <= 1 + 1e-5).all():  # NaN fails, too
        raise ValueError("cosines are NaN or outside of [-1, 1]: normalise the embeddings")
    if scale == "cosine":
        return cosines
    return (100.0 if scale == "percent" else 2.5) * np.maximum(cosines, 0)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) cosines of rows (N, D) and (M, D); ValueError for other shapes, NaN and rows of length 0."""
    rows = _directions(first, second)
    return rows[0] @ rows[1].T


def _rivals(pictures: np.ndarray, texts: np.ndarray, which: np.ndarray) -> np.ndarray:
    """(N,) the largest cosine of each picture with another caption than its own, -inf where there is none.
    `which` (N,) numbers the captions; a table of 30 000 by 30 000 would not fit."""
    found = np.full(len(pictures), -np.inf)
    for start in range(0, len(pictures), ROWS):
        rows = slice(start, start + ROWS)
        table = pictures[rows] @ texts.T
        table[which[rows, None] == which] = -np.inf
        found[rows] = table.max(1)
    return found


def _directions(first: np.ndarray, second: np.ndarray) -> list[np.ndarray]:
    """Both as unit vectors, float64."""
    rows = []
    for name, given in (("first", first), ("second", second)):
        array = np.asarray(given, dtype=np.float64)
        if array.ndim != 2 or not len(array):
            raise ValueError(f"{name} embeddings have shape {array.shape}; expected (N, D), N at least 1")
        length = np.linalg.norm(array, axis=1, keepdims=True)
        if not (np.isfinite(length).all() and (length > 0).all()):
            raise ValueError(f"{name} embeddings hold NaN, infinity or a row of zeros")
        rows.append(array / length)
    if rows[0].shape[1] != rows[1].shape[1]:
        raise ValueError(f"embeddings are {rows[0].shape[1]} and {rows[1].shape[1]} wide: use one model")
    return rows


def text_score(
    pictures: np.ndarray, texts: np.ndarray, captions: Sequence[str], *, scale: Scale = "cosine"
) -> TextScore:
    """Score (N, D) embeddings of pictures and of their captions; `captions` (N) tell which are equal."""
    pictures, texts = _directions(pictures, texts)
    if not len(pictures) == len(texts) == len(captions):
        raise ValueError(
            f"got {len(pictures)} pictures, {len(texts)} texts and {len(captions)} captions; "
            "give one caption per picture"
        )
    matching = (pictures * texts).sum(1)
    own, several = on_scale(matching, scale), len(matching) > 1
    rivals = _rivals(pictures, texts, np.unique(np.array(captions), return_inverse=True)[1])
    asked = np.isfinite(rivals)
    return TextScore(
        mean=bootstrap_interval(own.tolist()) if several else float(own[0]),
        shuffled=float(on_scale((pictures * np.roll(texts, -1, axis=0)).sum(1), scale).mean())
        if several
        else None,
        own_first=float((matching > rivals)[asked].mean()) if asked.any() else None,
        scale=scale,
        per_picture=tuple(own.tolist()),
    )
