"""How are a user's pairs read by number during training, from the cache or encoded anew?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from adapters.files import CannotWrite, write_whole
from train.examples import Encoded, Examples
from train.objectives.base import Draws
from train.pairs.cache import PairCache
from train.pairs.encoding import EncodedPair, PairEncoder, content_of
from train.validation import HeldOut
from unicon.data.pairs import Entry, Pairs
from unicon.pictures import as_pictures


@dataclass(frozen=True, slots=True)
class Skipped:
    """A pair that could not be encoded."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A pair that can be read."""

    index: int
    """Its place in the source."""
    key: str
    """Its place in the cache."""
    shape: tuple[int, ...]
    """(C, h, w) of its latents."""
    whole: bool
    """Whether both sides are there."""


class PairExamples(Examples):
    """Encoded pairs; where `aligned`, both sides are seen in the same view."""

    def __init__(
        self,
        found: Sequence[Found],
        read_one: Callable[[Found], EncodedPair],
        bare: Tensor,
        *,
        aligned: bool,
    ):
        self.read_one, self.bare, self.aligned = read_one, bare.float(), aligned
        self.show(found)

    def show(self, found: Sequence[Found]) -> None:
        """Be these pairs."""
        self.found = found
        numbers = {shape: number for number, shape in enumerate(sorted({pair.shape for pair in found}))}
        self.groups = np.array([numbers[pair.shape] for pair in found], dtype=int)

    def __len__(self) -> int:
        return len(self.found)

    def latent_shape(self, item: int) -> tuple[int, ...]:
        return self.found[item].shape

    def draw(self, generator: torch.Generator, num: int) -> Draws:
        return Draws(
            view=torch.rand(num, 2, generator=generator), caption=torch.rand(num, generator=generator)
        )

    def read(self, items: np.ndarray, draws: Draws) -> Encoded:
        views, captions = draws["view"], draws["caption"].tolist()
        pairs = [self.read_one(self.found[item]) for item in items.tolist()]
        sides = [0, 0 if self.aligned else 1]
        latents, texts = ([], []), ([], [])
        for number, pair in enumerate(pairs):
            for branch, (seen, text) in enumerate(
                ((pair.image, pair.image_text), (pair.condition, pair.condition_text))
            ):
                latents[branch].append(seen[int(views[number, sides[branch]] * len(seen))])
                texts[branch].append(text[int(captions[number] * len(text))])
        return Encoded(
            latents=torch.stack([torch.stack(rows) for rows in latents]).float(),
            texts=torch.stack([torch.stack(rows) for rows in texts]).float(),
            bare=self.bare,
            present=torch.stack([pair.present for pair in pairs], dim=1),
        )


@dataclass(kw_only=True, slots=True, eq=False)
class PairReader:
    """A user's pairs, an encoder for them, and the cache between; None: every read encodes anew."""

    pairs: Pairs
    condition: str
    encoder: PairEncoder
    cache: PairCache | None
    skipped: list[Skipped] = field(default_factory=list)
    """What could not be read, filled by `find`."""

    def find(self, indices: Iterable[int], *, show: bool) -> list[Found]:
        """Those of these pairs that can be read, encoded into the cache where it does not hold them."""
        found = []
        for index in tqdm(list(indices), desc="encoding pairs", unit="pair", disable=not show):
            key = f"pair {index}"
            try:
                entry = self.pairs[index]
                key = entry.key
                found.append(self._find(index, entry))
            except CannotWrite:  # no fault of the pair's
                raise
            except (ValueError, OSError) as error:
                self.skipped.append(Skipped(key, str(error)))
        return found

    def _find(self, index: int, entry: Entry) -> Found:
        whole = self.encoder.is_whole(entry, self.condition)
        if self.cache is None:
            return Found(index, "", self.encoder.shape(entry, self.condition), whole)
        self.encoder.check(entry, self.condition)  # a cache may hold what this run does not take
        key = content_of(entry, self.condition)
        shape = self.cache.shape(key)
        if shape is None:
            pair = self.encoder(entry, self.condition)
            self.cache.write(key, pair)
            shape = tuple(pair.image.shape[1:])
        return Found(index, key, shape, whole)

    def split(self, found: Sequence[Found], num: int) -> tuple[list[Found], list[Found]]:
        """Pairs to train on, and about `num` whole ones of the commonest size to look at.

        Those are spread evenly, at most a tenth of all pairs, at least two or none, the same in every run.
        """
        whole = [pair for pair in found if pair.whole]
        shapes = Counter(pair.shape for pair in whole).most_common(1)
        common = [pair for pair in whole if pair.shape == shapes[0][0]]
        num = min(num, len(found) // 10, len(common))
        num = num if num > 1 else 0  # each is compared with another
        held_out = [common[(2 * n + 1) * len(common) // (2 * num)] for n in range(num)]
        places = {pair.index for pair in held_out}
        return [pair for pair in found if pair.index not in places], held_out

    def show(self, found: Sequence[Found]) -> HeldOut | None:
        """Whole pairs of one size as pictures; None where there are none."""
        if not found:
            return None
        entries = [self.pairs[pair.index] for pair in found]
        seen = [self.encoder.pictures(entry, self.condition) for entry in entries]
        pictures, maps = (as_pictures(list(side), "pairs") for side in zip(*seen, strict=True))
        captions = [entry.captions[0] if entry.captions else "" for entry in entries]
        return HeldOut(pictures=pictures, maps=maps, captions=captions)

    def examples(self, found: Sequence[Found], *, aligned: bool) -> PairExamples:
        """Those that were found, for training. With a cache they do not need the encoder any more."""
        bare = self.encoder.texts([None, self.encoder.trigger])
        cache = self.cache
        read_one = self._encode if cache is None else lambda pair: cache.read(pair.key)
        return PairExamples(found, read_one, bare, aligned=aligned)

    def _encode(self, found: Found) -> EncodedPair:
        return self.encoder(self.pairs[found.index], self.condition)


def report_skipped(skipped: Sequence[Skipped], num: int, bad_share: float, path: Path) -> None:
    """Name what was skipped on the screen and in `path`, which says nothing of earlier runs.

    Raises ValueError where it is more than `bad_share` of the pairs, or all.
    """
    if not skipped:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps({"key": s.key, "reason": s.reason}) + "\n" for s in skipped)
    write_whole(path, lambda target: target.write_text(text, encoding="utf-8"))
    if len(skipped) > bad_share * num or len(skipped) == num:
        raise ValueError(say_skipped(skipped, len(skipped), num, path, bad_share))
    print(f"skipped {say_skipped(skipped, len(skipped), num, path)}", file=sys.stderr)


def say_skipped(
    skipped: Sequence[Skipped], num_skipped: int, num: int, path: Path, bad_share: float | None = None
) -> str:
    """The first of the skipped pairs in words; with `bad_share`, as an error of more than that."""
    shown = "\n".join(f"  {s.key}: {s.reason}" for s in skipped[:5])
    text = f"{num_skipped} of {num} pairs cannot be read (all of them in {path}):\n{shown}"
    if bad_share is None:
        return text
    return (
        f"{text}\nthat is more than bad_share {bad_share:g}: mend or remove them (unicon check names "
        "every problem), or raise --bad_share"
    )
