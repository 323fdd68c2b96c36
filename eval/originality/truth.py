"""Is each generated picture true to its prompt and to its map, and from where on does it count as true?

To the prompt: the cosine of CLIP's embeddings of picture and caption. To the map: what `unicon eval control`
measures, one number per picture. Neither has a scale of its own, so the limit is, in this order: one that is
given; what all but a share of true pairs reach; the lower fence of the batch (Tukey 1977: 1.5 interquartile
ranges beyond the quartile). Leaves out what is done with those that fail (`eval.originality.selection`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from pathlib import Path

import numpy as np
from tqdm import tqdm

from eval.clip import Clip
from eval.kept import kept_features
from eval.metrics.text import cosines
from eval.pictures import Pictures
from eval.protocols.fidelity import HEADLINES, Kind, MapReader, picture_fidelity
from unicon.data.photos import load_photo

SHARE = 0.05
"""Of true pairs that fall below their limit."""
MOST_PAIRS = 1000
"""True pairs that are looked at, from all over the set."""
FENCE = 1.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Truth:
    """How true pictures are to one thing."""

    to: str
    """What, in words: "prompt", "depth map"."""
    number: str
    """What the scores are, in words."""
    by: str
    """Who judged: a model and how it saw pictures, a reader of maps, people."""
    scores: np.ndarray
    """(M,) float64; NaN where there is nothing to compare, which counts as true."""
    limit: float
    limit_from: str
    """Where the limit comes from, in words."""
    higher_is_truer: bool = True

    @property
    def is_true(self) -> np.ndarray:
        """(M,) bool."""
        kept = self.scores >= self.limit if self.higher_is_truer else self.scores <= self.limit
        return kept | np.isnan(self.scores)

    @property
    def reason(self) -> str:
        """Why pictures that are not true are left out."""
        side = "below" if self.higher_is_truer else "above"
        return f"not true to their {self.to} ({self.number} {side} {self.limit:.4g}, {self.limit_from})"


def judged(
    to: str,
    number: str,
    scores: np.ndarray,
    *,
    by: str,
    higher: bool = True,
    given: float | None = None,
    true: np.ndarray | None = None,
) -> Truth:
    """Scores that `by` gave, with their limit: `given`, or by the scores of `true` pairs, or by the batch
    itself.

    Raises ValueError where no score is known, and for true pairs too few to tell the lowest share.
    """
    scores = np.asarray(scores, dtype=np.float64)
    known = scores[~np.isnan(scores)]
    if not len(known):
        raise ValueError(f"no picture can be compared with its {to}")
    sign = 1.0 if higher else -1.0
    if given is not None:
        limit, limit_from = given, "as given"
    elif true is not None:
        if len(true) * SHARE < 1:
            raise ValueError(f"{len(true)} true pairs cannot tell their lowest {SHARE:.0%}: give a limit")
        limit = sign * float(np.quantile(sign * true, SHARE))
        limit_from = f"which {1 - SHARE:.0%} of {len(true)} true pairs reach"
    else:
        low, high = np.quantile(sign * known, (0.25, 0.75))
        limit = sign * float(low - FENCE * (high - low))
        limit_from = f"the fence of all {len(known)}"
    return Truth(
        to=to, number=number, by=by, scores=scores, limit=limit, limit_from=limit_from, higher_is_truer=higher
    )


def true_to_prompt(
    pictures: Pictures,
    captions: Sequence[str],
    clip: Clip,
    *,
    limit: float | None = None,
    true: tuple[Pictures, Sequence[str]] | None = None,
    folder: Path | None = None,
) -> Truth:
    """Pictures beside their captions (M). `true`: real pictures and their captions, which give the limit
    where there are enough; features are kept in `folder`."""
    found = own_cosines(pictures, captions, clip, folder)
    reached = None
    if limit is None and true is not None and len(true[0]) * SHARE >= 1:
        step = ceil(len(true[0]) / MOST_PAIRS)
        places = range(0, len(true[0]), step)
        reached = own_cosines(true[0].subset(places), [true[1][n] for n in places], clip, folder)
    return judged("prompt", "CLIP cosine", found, by=clip.source, given=limit, true=reached)


def own_cosines(pictures: Pictures, captions: Sequence[str], clip: Clip, folder: Path | None) -> np.ndarray:
    """(N,) of each picture and its caption."""
    if len(captions) != len(pictures):
        raise ValueError(
            f"there are {len(captions)} captions for {len(pictures)} pictures; give one for each"
        )
    seen = kept_features(clip.pictures, pictures, folder).values
    read = clip.of_texts(captions).values
    return np.concatenate([cosines(a[None], b[None])[0] for a, b in zip(seen, read, strict=True)])


def true_to_map(
    paths: Sequence[Path],
    maps: Sequence[Path],
    condition: str,
    kind: Kind,
    reader: MapReader,
    *,
    by: str,
    palette: np.ndarray | None = None,
    limit: float | None = None,
) -> Truth:
    """Pictures beside the map (M) that each was made from, read back by `reader`, whose name is `by`."""

    @lru_cache(maxsize=1)  # pictures of one map are neighbours
    def opened(path: Path) -> np.ndarray:
        return np.asarray(load_photo(path)).astype(np.float32) / 255

    pairs = tqdm(list(zip(paths, maps, strict=True)), desc="reading maps back", unit="picture", leave=False)
    scores = [picture_fidelity(reader, kind, opened(m), path, palette=palette) for path, m in pairs]
    name, higher = HEADLINES[kind]
    return judged(f"{condition} map", name, np.array(scores), by=by, higher=higher, given=limit)
