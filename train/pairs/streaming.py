"""How is a run's data read as a stream, in an order that a stopped run finds again?

Each process goes over its own share of the shards, whose order is drawn from (seed, epoch), a block of pairs
at a time. A block is encoded when it is read, each pair in a view that is drawn from (seed, epoch, pair).
Its batches are drawn from (seed, epoch, block), so that the place in the data is the place before the block
and the number of batches taken from it. (The shuffle buffer of `datasets` is not used: it is refilled with
other pairs when a run is continued.)
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from train.pairs.ahead import ahead
from train.pairs.contents import content_of
from train.pairs.encoding import EncodedPair, PairEncoder, SeenPair, SideViews
from train.pairs.examples import (
    Found,
    PairExamples,
    PairReader,
    Skipped,
    append_skipped,
    log_of,
    say_skipped,
)
from train.randomness import DataOrder, Order, Share, seed_of
from train.validation import HeldOut
from unicon.data.pairs import Entry, Pairs
from unicon.data.pairs.entries import Unreachable
from unicon.data.pairs.ranges import LOOKED_AT, doubts_of
from unicon.data.pairs.streams import PairStream
from unicon.extras import need

HEAD = 10
"""Pairs at the start of a stream that are looked at for each one held out."""


class StreamExamples(PairExamples):
    """The encoded pairs of the block that is trained on."""

    def __init__(self, bare: Tensor, *, aligned: bool):
        self.block: list[EncodedPair] = []
        super().__init__([], lambda found: self.block[found.index], bare, aligned=aligned)

    def hold(self, block: list[EncodedPair]) -> None:
        """Let go of the pairs so far and take these."""
        self.block = block
        shapes = [tuple(pair.image.shape[1:]) for pair in block]
        self.show([Found(n, "", shape, bool(block[n].present.all())) for n, shape in enumerate(shapes)])


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamedPairs:
    """A stream, and how its pairs become what the network sees."""

    stream: PairStream
    condition: str
    encoder: PairEncoder
    block: int
    """Pairs that are read, encoded and shuffled together."""
    bad_share: float
    log: Path
    """File of the pairs that were skipped; processes after the first have one of their own."""

    def head(self, num: int) -> tuple[PairReader, list[Found]]:
        """About `num` whole pairs from the start of the stream, to look at; `split` of a `PairReader`."""
        pairs = Pairs.of(self._first(HEAD * num), [self.condition])
        reader = PairReader(pairs=pairs, condition=self.condition, encoder=self.encoder, cache=None)
        return reader, reader.split(reader.find(range(len(pairs)), show=False), num)[1]

    def doubts(self) -> list[str]:
        """What the first maps say of all of them; `unicon.data.pairs.ranges`."""
        return doubts_of(self._first(LOOKED_AT), [self.condition])

    def _first(self, num: int) -> list[Entry]:
        entries = []
        for row in self.stream.rows.take(num):
            try:
                entries.append(self.stream.entry(row))
            except ValueError:  # named when training comes to it
                continue
        return entries

    def held_out(self, num: int) -> tuple[HeldOut | None, frozenset[str]]:
        """Those pairs as pictures, and by what they hold, so that they are not trained on."""
        reader, found = self.head(num)
        return reader.show(found), frozenset(content_of(reader.pairs[f.index], self.condition) for f in found)


@dataclass(slots=True)
class _Place:
    """Where a process is in its share of the data; JSON."""

    epoch: int = 0
    block: int = 0
    """Of this epoch."""
    batch: int = 0
    """The next one of the block."""
    rows: dict[str, Any] | None = None
    """`datasets`' own place, before the block; None: before the epoch."""
    num_read: int = 0
    num_skipped: int = 0
    """Both before the block."""


@dataclass(slots=True, eq=False)
class StreamOrder(Order):
    """One process's batches, in turn."""

    pairs: StreamedPairs
    examples: StreamExamples
    held_out: frozenset[str]
    seed: int
    batch_size: int
    share: Share
    _place: _Place = field(default_factory=_Place)
    _rows: Any = None
    """The epoch's rows of this process, shuffled by shards."""
    _iterator: Iterator[Any] | None = None
    _batches: DataOrder | None = None
    """Of the block that is held."""
    _num_batches: int = 0
    _fruitless: int = 0
    """Ends of epochs since there was something to train on."""
    _found: tuple[int, int] = (0, 0)
    """Pairs read and skipped, with the block that is held."""

    def items(self, step: int) -> np.ndarray:
        """The next batch: numbers within the block. Places of other processes hold what nobody reads.

        Raises ValueError where too much cannot be read, naming it.
        """
        while self._batches is None or self._place.batch == self._num_batches:
            if self._batches is not None:
                self._past_the_block()
            self._read_block()
        mine = self._batches.items(self._place.batch)
        self._place.batch += 1
        items = np.full(self.batch_size, mine[0])
        items[self.share.start : self.share.stop] = mine
        return items

    def place(self) -> dict[str, Any]:
        return asdict(self._place)

    def restore(self, place: dict[str, Any]) -> None:
        self._place, self._rows, self._iterator, self._batches = _Place(**place), None, None, None
        if self._place.batch:
            self._read_block()

    def _past_the_block(self) -> None:
        """The place behind the block that was held."""
        place = self._place
        place.num_read, place.num_skipped = self._found
        place.block, place.batch, self._batches = place.block + 1, 0, None
        assert self._rows is not None, "a block comes from rows"
        place.rows = None if self._iterator is None else _plain(self._rows.state_dict())
        if self._iterator is None:  # the block was the epoch's last
            place.epoch, place.block = place.epoch + 1, 0

    def _read_block(self) -> None:
        """Encode the next pairs of the epoch that can be read, at most a block of them."""
        if self._iterator is None:
            self._rows = self._of_epoch(self._place.epoch)
            if self._place.rows is not None:
                self._rows.load_state_dict(self._place.rows)
            self._iterator = iter(self._rows)
        rows = islice(self._iterator, self.pairs.block)
        num_read = self._place.num_read
        block: dict[int, EncodedPair] = {}
        skipped: dict[int, Skipped] = {}

        def seen() -> Iterator[tuple[tuple[int, str], SeenPair]]:
            """Those that are trained on, by their numbers in the stream and their names."""
            nonlocal num_read
            for looked in ahead(self._look, rows):
                num_read += 1
                if isinstance(looked, Skipped):
                    skipped[num_read] = looked
                elif looked is not None:
                    key, pair = looked
                    yield (num_read, key), pair

        for (number, key), pair in self.pairs.encoder.in_batches(seen()):
            if isinstance(pair, ValueError):
                skipped[number] = Skipped(key, str(pair))
            else:
                block[number] = pair
        if num_read - self._place.num_read < self.pairs.block:
            self._iterator = None
        self._found = num_read, self._place.num_skipped + len(skipped)
        self._tell([skipped[number] for number in sorted(skipped)])
        self._draw_batches([block[number] for number in sorted(block)])

    def _look(self, row: Mapping[str, Any]) -> tuple[str, SeenPair] | Skipped | None:
        """A pair by its name; None for one that is held out."""
        key = row.get("key")
        try:
            entry = self.pairs.stream.entry(row)
            key = entry.key
            if content_of(entry, self.pairs.condition) in self.held_out:
                return None
            return entry.key, self.pairs.encoder.see(entry, self.pairs.condition, self._views(entry.key))
        except Unreachable:
            raise
        except (ValueError, OSError) as error:
            return Skipped(str(key or str(error).split(":")[0]), str(error))

    def _views(self, key: str) -> SideViews:
        """The one view of each side that an epoch sees, one for both where maps lie on their pictures."""
        encoder = self.pairs.encoder
        random = np.random.default_rng(seed_of(self.seed, "view", self._place.epoch, key))
        of_image, of_map = random.integers(len(encoder.views), size=2)
        return [encoder.views[of_image]], [encoder.views[of_image if encoder.aligned else of_map]]

    def _draw_batches(self, block: list[EncodedPair]) -> None:
        """Of the block that was read; none where nothing of it can be used."""
        self.examples.hold(block)
        size, groups = self.share.stop - self.share.start, self.examples.groups
        assert groups is not None, "pairs of any size have groups"
        self._num_batches = -(-len(block) // size)
        seed = seed_of(self.seed, "block", self._place.epoch, self._place.block)
        self._batches = DataOrder(seed, size, len(block), groups)
        self._fruitless = 0 if block else self._fruitless + (self._iterator is None)
        if self._fruitless > 1:
            raise ValueError(
                f"process {self.share.process} of {self.share.num_processes} finds nothing to train on in a "
                "whole round through its share of the stream; check --data, or start fewer processes"
            )

    def _of_epoch(self, epoch: int) -> Any:
        """The rows of this process, from the shards in an order of this epoch."""
        distributed = need("datasets.distributed", extra="train")
        rows = self.pairs.stream.rows
        settings: dict[str, Any] = {"seed": seed_of(self.seed, "epoch", epoch), "buffer_size": 1}
        if "max_buffer_input_shards" in signature(rows.shuffle).parameters:
            settings["max_buffer_input_shards"] = 1  # continued, interleaved shards never end (datasets 5.2)
        rows = rows.shuffle(**settings)
        logging.getLogger("datasets.iterable_dataset").addFilter(_is_no_buffer)
        if self.share.num_processes == 1:
            return rows
        return distributed.split_dataset_by_node(rows, self.share.process, self.share.num_processes)

    def _tell(self, skipped: list[Skipped]) -> None:
        """Add to the log what is not in it, and stop the run where too much is bad, or all."""
        num_read, num_skipped = self._found
        path = log_of(self.pairs.log, self.share.process)
        if num_read == 0:
            raise ValueError(
                f"process {self.share.process} of {self.share.num_processes} gets no pairs from the stream; "
                "check --data, or start fewer processes"
            )
        append_skipped(skipped, path)
        if skipped:
            shown = say_skipped(skipped, num_skipped, num_read, path)
            print(f"skipped so far {shown}", file=sys.stderr)
        if num_skipped > self.pairs.bad_share * num_read or num_skipped == num_read:
            raise ValueError(say_skipped(skipped, num_skipped, num_read, path, self.pairs.bad_share))


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A copy that does not move on with the stream."""
    return json.loads(json.dumps(state))


def _is_no_buffer(record: logging.LogRecord) -> bool:
    """Leaves out `datasets`' warning that a shuffle buffer is lost: here it holds a single pair."""
    return "shuffle buffer" not in str(record.msg)
