"""How does an adapter learn from a user's own pairs, on any base?

The objective is the mini family's (`joint`); here a base, a folder of pairs and a size become examples.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import PartialState

from adapters import AdapterConfig, JointAdapter
from train.objectives.joint import JointConfig, JointObjective
from train.objectives.starting import started, unlike_own
from train.pairs.cache import PairCache
from train.pairs.encoding import PairEncoder
from train.pairs.examples import PairExamples, PairReader, log_of, report_skipped
from train.pairs.framing import View
from train.pairs.streaming import StreamedPairs, StreamExamples, StreamOrder
from train.randomness import LookAhead, Order, Share
from unicon.cards import Origin
from unicon.conditions.lowres import LOWRES, MOST_SCALE, degraded_anyhow
from unicon.conditions.mirror import REDRAWN
from unicon.data.pairs import Pairs, open_pairs
from unicon.data.pairs.ranges import doubts
from unicon.data.pairs.streams import open_stream
from unicon.devices import use_quick_attention
from unicon.pipeline import UniConPipeline
from unicon.ranges import AT_LEAST_1, COUNT, SHARE

AUTO = "auto"
SKIPPED = "skipped.jsonl"
MOST_ZOOM = 16.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PairsConfig(JointConfig):
    """An adapter for your own condition, from your own pairs."""

    condition: str = ""
    data: str = ""
    """A folder, file or hub data set of pairs, see docs/data.md."""
    base: str = "mini"
    """The frozen base: mini, a folder, or a hub id."""
    trigger: str = AUTO
    """Words before the caption of a map; auto: the condition's name and "map, "."""
    resolution: int = 0
    """Side of a square of as many pixels as pairs are trained at; 0: the base's own."""
    longest: int = 0
    """In the place of `resolution`: the longer side in pixels of pairs that are trained at nearly whole, as
    maps are estimated; 0: by `resolution`."""
    flip: bool = True
    """Whether pairs are seen mirrored, too. Poses and normals then change their colours."""
    crops: int = 1
    """Crops of each pair, spread evenly over what stands over and over `zoom`."""
    zoom: float = 0.0
    """How many times enlarged the narrowest crop is seen, the first being the whole picture; 0: none is, but
    4 times for lowres. A picture is never seen larger than it is."""
    aligned: bool = True
    """Whether a map lies pixel for pixel on its picture; otherwise each side is cropped and flipped alone."""
    unpaired: bool = False
    """Whether pictures without a map, and maps without a picture, are learnt from too; else they are bad."""
    cache: str = "cache"
    """Folder of encoded pairs, below --out; empty: every step encodes its own."""
    bad_share: float = 0.02
    """The run stops where more than this share of the pairs cannot be read."""
    streaming: bool = False
    """Whether pairs are read as they come, from tar files, parquet files or the hub, and never cached."""
    stream_block: int = 512
    """Pairs that a process reads, encodes and shuffles together."""

    def __post_init__(self):
        JointConfig.__post_init__(self)
        AT_LEAST_1.check_fields(self, "crops", "stream_block")
        COUNT.check_fields(self, "resolution", "longest")
        SHARE.check_fields(self, "bad_share")
        if self.zoom and not 1 <= self.zoom <= MOST_ZOOM:
            raise ValueError(f"zoom is {self.zoom:g}; it must be 0 (none), or from 1 to {MOST_ZOOM:g}")
        if self.zoom > 1 and self.crops == 1:
            raise ValueError(
                f"zoom is {self.zoom:g} with one crop, the whole picture: give --crops 4, or more"
            )
        if self.longest and self.resolution:
            raise ValueError(
                f"longest is {self.longest} and resolution {self.resolution}: both say how large pairs are; "
                "give one of them"
            )

    def origin(self) -> Origin:
        return Origin(base=self.base, data=self.data)

    def prepare(self, folder: Path) -> None:
        """Encode what the cache does not hold yet, each process its share. All of them must come here."""
        state = PartialState()
        if self.cache and not self.streaming:
            reader = self._reader(*self._parts(), state, folder)
            mine = range(state.process_index, len(reader.pairs), state.num_processes)
            reader.find(mine, show=state.is_main_process)
        state.wait_for_everyone()

    def build(self, folder: Path) -> JointObjective:
        """The objective. Raises ValueError for pairs that cannot be read, or a base that does not fit."""
        state, (pipe, start) = PartialState(), self._parts()
        if self.streaming:
            return self._of_stream(pipe, start, state, folder)
        reader = self._reader(pipe, start, state, folder)
        if state.is_main_process:
            _warn([*unlike_own(self, self.base), *doubts(reader.pairs, [self.condition])])
        found = reader.find(range(len(reader.pairs)), show=state.is_main_process)
        report_skipped(reader.skipped, len(reader.pairs), self.bad_share, folder / SKIPPED)
        use_quick_attention(pipe.unet)
        kept, held_out = reader.split(found, self.validation_pairs)
        return PairsObjective(
            self,
            self._fresh_or(start, reader.encoder.trigger),
            pipe,
            reader.examples(
                kept,
                aligned=self.aligned,
                bad_share=self.bad_share,
                log=log_of(folder / SKIPPED, state.process_index),
            ),
            lambda: reader.show(held_out),
        )

    def _of_stream(
        self, pipe: UniConPipeline, start: JointAdapter | None, state: PartialState, folder: Path
    ) -> StreamObjective:
        self._check_names()
        encoder = self._encoder(pipe, start, state)
        pairs = StreamedPairs(
            stream=open_stream(self.data, self.condition),
            condition=self.condition,
            encoder=encoder,
            block=self.stream_block,
            bad_share=self.bad_share,
            log=folder / SKIPPED,
        )
        if state.is_main_process:
            _warn([*unlike_own(self, self.base), *pairs.doubts()])
        use_quick_attention(pipe.unet)
        return StreamObjective(self, self._fresh_or(start, encoder.trigger), pipe, pairs)

    def _fresh_or(self, start: JointAdapter | None, trigger: str) -> AdapterConfig | JointAdapter:
        return self.adapter(trigger) if start is None else start

    def _reader(
        self, pipe: UniConPipeline, start: JointAdapter | None, state: PartialState, folder: Path
    ) -> PairReader:
        encoder = self._encoder(pipe, start, state)
        place = folder / self.cache
        cache = PairCache.of(place, encoder.fingerprint(), state.process_index) if self.cache else None
        return PairReader(pairs=self._pairs(), condition=self.condition, encoder=encoder, cache=cache)

    def _pairs(self) -> Pairs:
        self._check_names()
        return open_pairs(self.data, [] if self.condition == LOWRES else [self.condition])

    def _check_names(self) -> None:
        if not self.data or not self.condition:
            raise ValueError("give --data PAIRS and --condition NAME, for example --condition depth")

    def _parts(self) -> tuple[UniConPipeline, JointAdapter | None]:
        """The base without adapters, and the one to start from. Raises ValueError for one that does not
        fit."""
        # Encoders stored in half precision, too: autocast to another half is what a processor refuses.
        pipe = UniConPipeline.from_pretrained(self.base, adapters=(), dtype=torch.float32)
        return pipe, started(self, pipe, self.base)

    def _encoder(self, pipe: UniConPipeline, start: JointAdapter | None, state: PartialState) -> PairEncoder:
        trigger = f"{self.condition} map, " if self.trigger == AUTO else self.trigger
        return PairEncoder.of(
            pipe,
            state.device,
            resolution=self.resolution,
            longest=self.longest,
            trigger=trigger if start is None else start.config.trigger,
            redrawn=REDRAWN.get(self.condition),
            aligned=self.aligned,
            unpaired=self.unpaired,
            views=[replace(crop, flip=flip) for crop in self._crops() for flip in self._flips()],
            made=degraded_anyhow if self.condition == LOWRES else None,
        )

    def _crops(self) -> list[View]:
        places = [(number + 0.5) / self.crops for number in range(self.crops)]
        most = self.zoom or (MOST_SCALE if self.condition == LOWRES else 1.0)
        if most == 1:
            return [View(place) for place in places]
        # Zooms from 1 in equal ratios; places by steps of a golden section, which never lie on a line.
        return [
            View(place, zoom=most ** (number / self.crops), down=(0.5 + 0.618034 * number) % 1)
            for number, place in enumerate(places)
        ]

    def _flips(self) -> list[bool]:
        return [False, True] if self.flip else [False]


def _warn(doubts: Sequence[str]) -> None:
    for text in doubts:
        print(f"warning: {text}", file=sys.stderr)


class PairsObjective(JointObjective):
    """Pairs that are read by number."""

    examples: PairExamples

    def order(self, seed: int, batch_size: int, share: Share, steps: int | None = None) -> Order:
        return LookAhead(super().order(seed, batch_size, share), share, self.examples.expect, steps)


class StreamObjective(JointObjective):
    """The same from pairs that come one after another."""

    def __init__(
        self,
        config: PairsConfig,
        adapter: AdapterConfig | JointAdapter,
        pipe: UniConPipeline,
        pairs: StreamedPairs,
    ):
        """Reads the start of the stream: a few pairs of it are held out. Raises OSError where it cannot."""
        shown, contents = pairs.held_out(config.validation_pairs)
        bare = pairs.encoder.texts([None, pairs.encoder.trigger])
        streamed = StreamExamples(bare, aligned=config.aligned)
        super().__init__(config, adapter, pipe, streamed, lambda: shown)
        self.pairs, self.streamed, self.held_out_contents = pairs, streamed, contents

    @property
    def num_items(self) -> None:
        return None

    def order(self, seed: int, batch_size: int, share: Share, steps: int | None = None) -> Order:
        return StreamOrder(self.pairs, self.streamed, self.held_out_contents, seed, batch_size, share)
