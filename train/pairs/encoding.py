"""What is a pair once the base's autoencoder and text encoder have seen it?

Computed alike with and without a cache, and stored in half precision. Pairs of one size may be encoded
together, which is faster and changes nothing beyond the rounding of a device whose kernels depend on it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import PIL.Image
import torch
from torch import Tensor

from train.pairs.framing import Bucket, View, buckets, framed, nearest, whole_buckets
from unicon.bases import base_size
from unicon.data.pairs import Entry
from unicon.data.pairs.check import UNUSABLE, disagreement, on_picture
from unicon.latents import Autoencoder, downscale, encode
from unicon.pipeline import UniConPipeline
from unicon.texts import TextReader

T = TypeVar("T")

SideViews = tuple[Sequence[View], Sequence[View]]
"""As many views of the picture and of the map."""

BATCH_PX = 2**21
"""Pixels that are encoded together: as many as a pair of 1024 px has without its mirror image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPair:
    """One pair, float16. A side that the pair does not have is zero."""

    image: Tensor
    """Latents in every view, (views, C, h, w)."""
    condition: Tensor
    """The map's, the same views."""
    present: Tensor
    """Whether image and map are there, bool (2,)."""
    image_text: Tensor
    """Embeddings of every caption, (captions, tokens, width); of the empty one where there is none."""
    condition_text: Tensor
    """The same behind the condition's trigger words."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeenPair:
    """One pair as its views show it, before the base has seen it. A side that it does not have is None."""

    image: np.ndarray | None
    """uint8 (views, H, W, 3)."""
    condition: np.ndarray | None
    """The map's, the same views."""
    captions: tuple[str, ...]

    @property
    def sides(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        return self.image, self.condition

    @property
    def shape(self) -> tuple[int, ...]:
        """(views, H, W, 3)."""
        return next(side.shape for side in self.sides if side is not None)


@dataclass(kw_only=True, slots=True, eq=False)
class PairEncoder:
    """A base's frozen parts, and how pairs are framed for it."""

    vae: Autoencoder
    reader: TextReader
    trigger: str
    sizes: Sequence[Bucket]
    views: Sequence[View]
    redrawn: Callable[[np.ndarray], np.ndarray] | None = None
    """What becomes of a map, uint8 (H, W, 3), before it is seen mirrored; None: nothing."""
    aligned: bool = True
    """Whether a map lies on its picture: one of another shape, or with the same pixels, is then refused."""
    unpaired: bool = False
    """Whether pictures without a map, and maps without a picture, are taken too."""
    made: Callable[[np.ndarray], np.ndarray] | None = None
    """What makes a map of a framed picture, both uint8 (H, W, 3), where a pair has none; None: nothing."""

    @classmethod
    def of(
        cls,
        pipe: UniConPipeline,
        device: torch.device | None,
        *,
        resolution: int,
        views: Sequence[View],
        longest: int = 0,
        trigger: str = "",
        redrawn: Callable[[np.ndarray], np.ndarray] | None = None,
        aligned: bool = True,
        unpaired: bool = False,
        made: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> PairEncoder:
        """A pipeline's, whose encoders are moved to `device`. `resolution` is the side of a square of as many
        pixels as pairs are framed to, 0: the base's own; `longest`, where it is given, the longer side."""
        size, reader = base_size(pipe.unet, pipe.vae), TextReader.of(pipe)
        for part in (pipe.vae, *reader.encoders):
            torch.nn.Module.to(part, device).eval()
        return cls(
            vae=pipe.vae,
            reader=reader,
            trigger=trigger,
            sizes=whole_buckets(longest, size.multiple_px)
            if longest
            else buckets(resolution or size.own_px, size.multiple_px),
            views=views,
            redrawn=redrawn,
            aligned=aligned,
            unpaired=unpaired,
            made=made,
        )

    def __call__(self, entry: Entry, condition: str) -> EncodedPair:
        """Raises ValueError naming the file that cannot be read, or the side that is missing."""
        return self.encode([self.see(entry, condition)])[0]

    def see(self, entry: Entry, condition: str, views: SideViews | None = None) -> SeenPair:
        """What is to be encoded of a pair, in every view or in these. Errors as when it is encoded."""
        flipped = any(view.flip for view in self.views)  # in whichever views: all or none can be learnt from
        seen = self._seen(entry, condition, *(views or (self.views,)), flipped=flipped)
        sides = (None if side is None else np.stack(side) for side in seen)
        image, drawn = sides
        return SeenPair(image=image, condition=drawn, captions=entry.captions or ("",))

    @torch.no_grad()
    def encode(self, pairs: Sequence[SeenPair]) -> list[EncodedPair]:
        """Pairs of one size at once."""
        sides = [side for pair in pairs for side in pair.sides if side is not None]
        latents = iter(self._latents(np.concatenate(sides)).split(len(sides[0])))
        captions = [caption for pair in pairs for caption in pair.captions]
        counts = [len(pair.captions) for pair in pairs]
        bare = self.texts(captions).split(counts)
        triggered = self.texts([self.trigger + caption for caption in captions]).split(counts)
        encoded = []
        for pair, text, behind_trigger in zip(pairs, bare, triggered, strict=True):
            found = [None if side is None else next(latents).clone() for side in pair.sides]
            there = next(side for side in found if side is not None)
            image, drawn = (torch.zeros_like(there) if side is None else side for side in found)
            present = torch.tensor([side is not None for side in found])
            encoded.append(
                EncodedPair(
                    image=image,
                    condition=drawn,
                    present=present,
                    image_text=text.clone(),
                    condition_text=behind_trigger.clone(),
                )
            )
        return encoded

    def in_batches(self, seen: Iterable[tuple[T, SeenPair]]) -> Iterator[tuple[T, EncodedPair | ValueError]]:
        """Each pair encoded, or why it cannot be; what goes with it says which one it is, since pairs of one
        size come together."""
        waiting: dict[tuple[int, ...], list[tuple[T, SeenPair]]] = {}
        for each in seen:
            shape = each[1].shape
            batch = waiting.setdefault(shape, [])
            batch.append(each)
            if 2 * math.prod(shape[:3]) * (len(batch) + 1) > BATCH_PX:
                yield from self._batch(waiting.pop(shape))
        for batch in waiting.values():
            yield from self._batch(batch)

    def _batch(self, batch: Sequence[tuple[T, SeenPair]]) -> Iterator[tuple[T, EncodedPair | ValueError]]:
        names, pairs = zip(*batch, strict=True)
        try:
            encoded = self.encode(pairs)
        except ValueError as error:
            if len(batch) == 1:
                yield names[0], error
            else:  # which one is it?
                yield from (found for each in batch for found in self._batch([each]))
        else:
            yield from zip(names, encoded, strict=True)

    def pictures(self, entry: Entry, condition: str) -> list[np.ndarray]:
        """A whole pair as it is trained on, its first view: uint8 (H, W, 3), picture and map."""
        sides = self._seen(entry, condition, self.views[:1])
        return [side[0] for side in sides if side is not None]

    def shape(self, entry: Entry, condition: str) -> tuple[int, int, int]:
        """(C, h, w) of the latents a pair would have; errors as when it is encoded."""
        bucket, factor = self._bucket(self._load(entry, condition)), downscale(self.vae)
        return (self.vae.config["latent_channels"], bucket.height // factor, bucket.width // factor)

    def _load(self, entry: Entry, condition: str) -> list[PIL.Image.Image | None]:
        """Picture and map. Raises ValueError for a map that does not lie on its picture."""
        self.check(entry, condition)
        sides = (entry.image, entry.maps.get(condition))
        loaded = [None if side is None else side.load() for side in sides]
        image, drawn = loaded
        if self.aligned and image is not None and drawn is not None:
            found = disagreement(np.asarray(image), np.asarray(drawn))
            if found and found[0] in UNUSABLE:
                raise ValueError(f"{entry.maps[condition].place}: {found[1]} (--aligned false takes it)")
            # A view is a part of one size: of a smaller map the same numbers would be another part.
            loaded[1] = on_picture(drawn, image)
        return loaded

    def check(self, entry: Entry, condition: str) -> None:
        """Raises ValueError naming the side that is missing; nothing is read."""
        missing = self._missing(entry, condition)
        if len(missing) > int(self.unpaired):
            raise ValueError(f"has no {' and no '.join(missing)}")

    def is_whole(self, entry: Entry, condition: str) -> bool:
        """Whether it will have both sides; nothing is read."""
        return not self._missing(entry, condition)

    def _missing(self, entry: Entry, condition: str) -> list[str]:
        """The sides that are neither there nor made."""
        can_be_made = self.made is not None and entry.image is not None
        there = {
            "picture": entry.image is not None,
            condition: can_be_made or entry.maps.get(condition) is not None,
        }
        return [name for name, is_there in there.items() if not is_there]

    def _seen(
        self,
        entry: Entry,
        condition: str,
        views: Sequence[View],
        of_map: Sequence[View] | None = None,
        *,
        flipped: bool = False,
    ) -> tuple[list[np.ndarray] | None, list[np.ndarray] | None]:
        """Picture and map as the views show them, the map perhaps in views of its own. `flipped`: it must be
        one that can be mirrored, even if no view shows it so."""
        loaded = self._load(entry, condition)
        bucket = self._bucket(loaded)
        (image, drawn), of_map = loaded, of_map or views
        pictures = None if image is None else [framed(image, bucket, view) for view in views]
        if drawn is not None:
            drawings = self._drawings(drawn, entry, condition, of_map, flipped)
            return pictures, [framed(d, bucket, v) for d, v in zip(drawings, of_map, strict=True)]
        if self.made is None or image is None or pictures is None:
            return pictures, None
        shown = pictures if of_map == views else [framed(image, bucket, view) for view in of_map]
        return pictures, [self.made(picture) for picture in shown]

    def _drawings(
        self, drawn: PIL.Image.Image, entry: Entry, condition: str, views: Sequence[View], flipped: bool
    ) -> list[PIL.Image.Image]:
        """The map as each view shows it, before it is framed."""
        if self.redrawn is None or not (flipped or any(view.flip for view in views)):
            return [drawn] * len(views)
        try:
            redrawn = PIL.Image.fromarray(self.redrawn(np.asarray(drawn)))
        except ValueError as error:
            raise ValueError(f"{entry.maps[condition].place}: {error}") from error
        return [redrawn if view.flip else drawn for view in views]

    def _bucket(self, loaded: Sequence[PIL.Image.Image | None]) -> Bucket:
        first = next(picture for picture in loaded if picture is not None)
        bucket = nearest(*first.size, self.sizes)
        if self.made is not None and (first.width < bucket.width or first.height < bucket.height):
            raise ValueError(
                f"has {first.width} x {first.height} px and would be enlarged to {bucket.width} x "
                f"{bucket.height}, without the detail that is to be learnt; use larger pictures"
            )
        return bucket

    @torch.no_grad()
    def texts(self, captions: Sequence[str | None]) -> Tensor:
        """Embeddings float16 (captions, rows, width)."""
        # Of thousands of captions many are too long; a warning for each would hide all else.
        return self.reader(captions, warn=False).half().cpu()

    def _latents(self, pictures: np.ndarray) -> Tensor:
        stacked = torch.from_numpy(pictures).to(next(self.vae.parameters()).device)
        return encode(self.vae, stacked.permute(0, 3, 1, 2).float() / 255).half().cpu()

    def fingerprint(self) -> str:
        """Changes with the autoencoder, the text encoder and its words, the trigger and the framing."""
        framing = (self.trigger, list(self.sizes), list(self.views), self.aligned)
        scaling = [self.vae.config.get(name) for name in ("scaling_factor", "shift_factor")]
        words = [tokenizer.get_vocab() for tokenizer in self.reader.tokenizers]
        reading = (self.reader.nothing_is_zero, [sorted(vocabulary.items()) for vocabulary in words])
        changes = [change.__name__ for change in (self.redrawn, self.made) if change is not None]
        digest = hashlib.blake2b(repr((*framing, *changes, scaling, reading)).encode())
        for module in (self.vae, *self.reader.encoders):
            for name, tensor in module.state_dict().items():
                digest.update(name.encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
