"""How are a user's pairs read by number during training, from the cache or encoded anew?"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from adapters.files import CannotWrite, write_whole
from train.examples import Encoded, Examples
from train.objectives.base import Draws
from train.pairs.ahead import Ahead, ahead
from train.pairs.cache import PairCache
from train.pairs.contents import content_of
from train.pairs.encoding import EncodedPair, PairEncoder, SeenPair
from train.validation import HeldOut
from unicon.data.pairs import Entry, Pairs
from unicon.data.pairs.entries import Unreachable
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


class _Looked(NamedTuple):
    """A pair as `find` comes upon it."""

    found: Found
    name: str
    seen: SeenPair | None
    """What is to be encoded; None where the cache holds it, or there is none."""


def _stop(pair: Found, error: Exception) -> None:
    raise error


class PairExamples(Examples):
    """Encoded pairs; where `aligned`, both sides are seen in the same view."""

    def __init__(
        self,
        found: Sequence[Found],
        read_one: Callable[[Found], EncodedPair],
        bare: Tensor,
        *,
        aligned: bool,
        gone: Callable[[Found, Exception], None] = _stop,
        expect: Callable[[Sequence[Found]], None] = lambda found: None,
    ):
        """`read_one` raises ValueError or OSError for a pair that went bad; `gone` is told, and may stop the
        run, as it does by default. `expect` is told what is read next, and nothing at the end."""
        self.read_one, self.bare, self.aligned, self.gone = read_one, bare.float(), aligned, gone
        self.tell_expected = expect
        self.show(found)

    def show(self, found: Sequence[Found]) -> None:
        """Be these pairs."""
        self.found, self.bad = found, set[int]()
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
        pairs = [self._pair(item) for item in items.tolist()]
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

    def expect(self, items: np.ndarray) -> None:
        self.tell_expected([self.found[item] for item in items.tolist() if item not in self.bad])

    def _pair(self, item: int) -> EncodedPair:
        """This one, or where it went bad the next of its size, always the same one until the run is started
        again, which then leaves the bad one out."""
        for place in self._from(item):
            if place in self.bad:
                continue
            try:
                return self.read_one(self.found[place])
            except (CannotWrite, Unreachable):
                raise
            except (ValueError, OSError) as error:
                self.bad.add(place)
                self.gone(self.found[place], error)
        raise ValueError("none of the pairs of one size can be read any more; check --data")

    def _from(self, item: int) -> Iterator[int]:
        """It, and then the others of its size, which are looked for only where they are needed."""
        yield item
        alike = np.flatnonzero(self.groups == self.groups[item])
        yield from (*alike[alike > item].tolist(), *alike[alike < item].tolist())


@dataclass(kw_only=True, slots=True, eq=False)
class PairReader:
    """A user's pairs, an encoder for them, and the cache between; None: every read encodes anew."""

    pairs: Pairs
    condition: str
    encoder: PairEncoder
    cache: PairCache | None
    skipped: list[Skipped] = field(default_factory=list)
    """What could not be read, filled by `find`."""
    _decoded: Ahead[Found, SeenPair] = field(init=False)
    """Those that are not read from the cache."""

    def __post_init__(self):
        self._decoded = Ahead(self._see)

    def find(self, indices: Iterable[int], *, show: bool) -> list[Found]:
        """Those of these pairs that can be read, encoded into the cache where it does not hold them."""
        found: dict[int, Found] = {}
        skipped: dict[int, Skipped] = {}

        def to_encode() -> Iterator[tuple[_Looked, SeenPair]]:
            bar = tqdm(list(indices), desc="encoding pairs", unit="pair", disable=not show)
            for index, looked in ahead(lambda index: (index, self._look(index)), bar):
                if isinstance(looked, Skipped):
                    skipped[index] = looked
                elif looked.seen is None:
                    found[index] = looked.found
                else:
                    yield looked._replace(seen=None), looked.seen

        for (there, name, _), pair in self.encoder.in_batches(to_encode()):
            if isinstance(pair, ValueError):
                skipped[there.index] = Skipped(name, str(pair))
            else:
                assert self.cache is not None, "without one nothing is encoded here"
                self.cache.write(there.key, pair)
                found[there.index] = replace(there, shape=tuple(pair.image.shape[1:]))
        if self.cache is not None:
            self.cache.contents.close()
        self.skipped += [skipped[index] for index in sorted(skipped)]
        return [found[index] for index in sorted(found)]

    def _look(self, index: int) -> _Looked | Skipped:
        name = f"pair {index}"
        try:
            entry = self.pairs[index]
            name = entry.key
            found = self._find(index, entry)
            seen = None if found.shape else self.encoder.see(entry, self.condition)
        except Unreachable:
            raise
        except (ValueError, OSError) as error:
            return Skipped(name, str(error))
        return _Looked(found, name, seen)

    def _find(self, index: int, entry: Entry) -> Found:
        """Without a shape where the cache does not hold it."""
        whole = self.encoder.is_whole(entry, self.condition)
        if self.cache is None:
            return Found(index, "", self.encoder.shape(entry, self.condition), whole)
        self.encoder.check(entry, self.condition)  # a cache may hold what this run does not take
        key = self.cache.contents.of(entry, self.condition)
        return Found(index, key, self.cache.shape(key) or (), whole)

    def split(self, found: Sequence[Found], num: int) -> tuple[list[Found], list[Found]]:
        """Pairs to train on, and about `num` whole ones of the commonest size to look at.

        Those are spread evenly, at most a tenth of all pairs, at least two or none, the same in every run.
        What is in the set a second time is not trained on either, as far as a cache tells.
        """
        whole = [pair for pair in found if pair.whole]
        shapes = Counter(pair.shape for pair in whole).most_common(1)
        common = [pair for pair in whole if pair.shape == shapes[0][0]]
        num = min(num, len(found) // 10, len(common))
        num = num if num > 1 else 0  # each is compared with another
        held_out = [common[(2 * n + 1) * len(common) // (2 * num)] for n in range(num)]
        places, contents = {pair.index for pair in held_out}, {pair.key for pair in held_out} - {""}
        kept = [pair for pair in found if pair.index not in places and pair.key not in contents]
        return kept, held_out

    def show(self, found: Sequence[Found]) -> HeldOut | None:
        """Whole pairs of one size as pictures; None where there are none."""
        if not found:
            return None
        entries = [self.pairs[pair.index] for pair in found]
        seen = [self.encoder.pictures(entry, self.condition) for entry in entries]
        pictures, maps = (as_pictures(list(side), "pairs") for side in zip(*seen, strict=True))
        captions = [entry.captions[0] if entry.captions else "" for entry in entries]
        return HeldOut(pictures=pictures, maps=maps, captions=captions)

    def examples(
        self, found: Sequence[Found], *, aligned: bool, log: Path | None = None, bad_share: float = 0.0
    ) -> PairExamples:
        """Those that were found, for training. What goes bad on the way is skipped and named in `log`, and
        stops the run where it is more than `bad_share` of the pairs; without a log it stops the run."""
        bare = self.encoder.texts([None, self.encoder.trigger])
        if log is None:
            return PairExamples(found, self._read, bare, aligned=aligned, expect=self._expect)

        def gone(pair: Found, error: Exception) -> None:
            self.skipped.append(Skipped(self._name(pair), str(error)))
            append_skipped(self.skipped[-1:], log)
            if len(self.skipped) > bad_share * len(self.pairs):
                raise ValueError(
                    say_skipped(self.skipped, len(self.skipped), len(self.pairs), log, bad_share)
                ) from error
            print(f"skipped from now on: {self.skipped[-1].key}: {error}", file=sys.stderr)

        return PairExamples(found, self._read, bare, aligned=aligned, gone=gone, expect=self._expect)

    def _name(self, found: Found) -> str:
        try:
            return self.pairs[found.index].key
        except (ValueError, OSError):
            return f"pair {found.index}"

    def _read(self, found: Found) -> EncodedPair:
        """From the cache; encoded anew without one, and where its file was lost."""
        pair = None if self.cache is None else self.cache.read(found.key)
        if pair is None:
            (pair,) = self.encoder.encode([self._decoded.take(found)])
            if tuple(pair.image.shape[1:]) != found.shape:
                raise ValueError(f"{self._name(found)}: has another size than when the run began")
            if self.cache is not None:
                self.cache.write(found.key, pair)
        return pair

    def _see(self, found: Found) -> SeenPair:
        entry = self.pairs[found.index]
        if self.cache is not None and content_of(entry, self.condition) != found.key:
            raise ValueError(f"{entry.key}: has changed since the run began, and its cached file is lost")
        return self.encoder.see(entry, self.condition)

    def _expect(self, found: Sequence[Found]) -> None:
        """Begin to decode those that are read next, where they are not cached; stop where nothing is."""
        if not found:
            self._decoded.clear()
        elif self.cache is None:
            self._decoded.expect(found)


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


def append_skipped(skipped: Sequence[Skipped], path: Path) -> None:
    """What is told again when a run is continued stands there once."""
    if not skipped:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    told = set(path.read_text(encoding="utf-8").splitlines()) if path.exists() else set()
    lines = [json.dumps({"key": s.key, "reason": s.reason}) for s in skipped]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines if line not in told)


def log_of(path: Path, process: int) -> Path:
    """Where a process names what it skips: those after the first have a file of their own."""
    return path.with_name(f"{path.stem}-{process}{path.suffix}") if process else path


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
