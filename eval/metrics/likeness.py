"""Do generated pictures keep what their references show, and how different are they from each other?

*Likeness*: mean cosine over all pairs of a generated picture and a reference of its subject, as DreamBooth's
DINO and CLIP-I scores do (Ruiz et al. 2023, arXiv 2208.12242). An embedder may see nothing (no face): such
pictures are counted, never dropped in silence, and the mean is told twice, of those seen and with the others
as 0. *Diversity*: mean distance of two samples of one condition, averaged over conditions (the intra-class
distance of Zhu et al. 2017, arXiv 1711.11586, on any embedder's features). Leaves out the embedders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from eval.metrics.summary import Interval, bootstrap_interval
from eval.metrics.text import cosines

Distance = Literal["cosine", "euclidean"]
Embedding = np.ndarray | None
"""(D,) of one picture; None where the embedder sees nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SubjectFidelity:
    """Over all subjects."""

    seen: float
    """Mean over the pictures in which the embedder sees something, of their mean cosine to the references."""
    with_missing: float
    """The same with 0 for the others: the number to compare systems by."""
    interval: Interval | None
    """Bootstrap over pictures of `with_missing`; None for one picture."""
    per_subject: dict[str, float]
    """`with_missing` by subject."""
    missing_rate: float
    """Share of generated pictures in which the embedder sees nothing."""
    num: int
    num_missing: int
    num_references: int
    num_references_missing: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversity:
    """Over conditions."""

    mean: float
    """Mean over conditions of the mean distance of two of their samples."""
    per_condition: dict[str, float]
    deviation: float
    """Sample deviation over conditions; NaN for one."""
    distance: Distance
    num_samples: int
    num_skipped: int
    """Conditions with fewer than two samples, left out."""


def likeness(
    generated: Mapping[str, Sequence[Embedding]], references: Mapping[str, Sequence[Embedding]]
) -> SubjectFidelity:
    """Embeddings of generated pictures and of references, both by subject.

    Raises ValueError for a subject without references, one in none of whose references anything is seen, and
    for no generated picture.
    """
    if not any(len(pictures) for pictures in generated.values()):
        raise ValueError("no generated picture to compare: give at least one")
    scores: dict[str, np.ndarray] = {}
    for subject, pictures in generated.items():
        known = [each for each in references.get(subject, ()) if each is not None]
        if not known:
            raise ValueError(
                f"subject {subject!r} has {len(references.get(subject, ()))} references, and the embedder "
                "sees something in none of them: give one in which it does"
            )
        scores[subject] = np.array(
            [np.nan if each is None else cosines(each[None], np.stack(known)).mean() for each in pictures]
        )
    everyone = np.concatenate(list(scores.values()))
    missing = int(np.isnan(everyone).sum())
    if missing == len(everyone):
        raise ValueError(
            f"the embedder sees something in none of the {missing} generated pictures: no likeness to tell"
        )
    filled = np.nan_to_num(everyone)
    used = [each for subject in generated for each in references[subject]]
    return SubjectFidelity(
        seen=float(np.nanmean(everyone)),
        with_missing=float(filled.mean()),
        interval=bootstrap_interval(filled.tolist()) if len(filled) > 1 else None,
        per_subject={name: float(np.nan_to_num(row).mean()) for name, row in scores.items() if len(row)},
        missing_rate=missing / len(everyone),
        num=len(everyone),
        num_missing=missing,
        num_references=len(used),
        num_references_missing=sum(each is None for each in used),
    )


def diversity(samples: Mapping[str, np.ndarray], distance: Distance = "cosine") -> Diversity:
    """(n, D) features of the samples of each condition -> mean pairwise distance.

    "cosine": 1 - cos, 0 to 2. "euclidean": of the features as they are. Raises ValueError when no condition
    has two samples, for NaN and for an unknown distance.
    """
    if distance not in get_args(Distance):
        raise ValueError(f"distance is {distance!r}; known: {', '.join(get_args(Distance))}")
    usable = {name: np.asarray(rows) for name, rows in samples.items() if len(rows) >= 2}
    if not usable:
        raise ValueError(f"none of {len(samples)} conditions has two samples; generate at least two of each")
    found = {name: _mean_pair(rows, distance) for name, rows in usable.items()}
    values = np.array(list(found.values()))
    return Diversity(
        mean=float(values.mean()),
        per_condition=found,
        deviation=float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
        distance=distance,
        num_samples=sum(map(len, usable.values())),
        num_skipped=len(samples) - len(usable),
    )


def _mean_pair(rows: np.ndarray, distance: Distance) -> float:
    rows = np.asarray(rows, dtype=np.float64)
    places = np.triu_indices(len(rows), 1)
    if distance == "cosine":
        return float(1 - cosines(rows, rows)[places].mean())
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise ValueError(f"features have shape {rows.shape} or hold NaN; expected finite (n, D)")
    # One row with those after it: all pairs of a thousand wide rows at once would be gigabytes.
    sums = (np.linalg.norm(rows[n + 1 :] - row, axis=1).sum() for n, row in enumerate(rows))
    return float(sum(sums) / len(places[0]))
