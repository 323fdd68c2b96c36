"""How does a pipeline come by its priors: loaded, checked, asked?

One of each kind may be there, the diffusion prior (`prior`) and the autoregressive one (`prior_ar`). Which
one a call asks, its settings say; `prior=True` is the diffusion prior where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from diffusers import DiffusionPipeline, PriorTransformer
from torch import Tensor

from adapters import ClipIdentity
from unicon.embeddings import TextEmbeddings, check_same_clip
from unicon.prior import (
    PRIOR,
    PriorSettings,
    check_statistics,
    load_clip,
    sample_prior,
    save_clip,
    width_of,
)
from unicon.prior_ar import (
    PRIOR_AR,
    ArPriorSettings,
    AutoregressivePrior,
    check_buckets,
    sample_prior_ar,
)
from unicon.sampling.loop import Noise
from unicon.sampling.noise import NoiseSource
from unicon.sources import PRIOR_FOLDERS, find_adapter

AnyPrior = PriorTransformer | AutoregressivePrior
AnySettings = PriorSettings | ArPriorSettings
_CLIP = "_unicon_clip"


class WithPriors(DiffusionPipeline):
    """The part of a pipeline that chooses what a picture looks like, from a text."""

    prior: PriorTransformer | None
    prior_ar: AutoregressivePrior | None

    @property
    def prior_clips(self) -> dict[str, ClipIdentity | None]:
        """Whose embeddings each loaded prior makes, where it says so."""
        there = {slot: getattr(self, slot) for slot in PRIOR_FOLDERS}
        return {slot: clip_of(prior) for slot, prior in there.items() if prior is not None}

    if TYPE_CHECKING:  # of the pipeline that this is part of

        @property
        def clip(self) -> ClipIdentity: ...

        def embed_texts(self, texts: Sequence[str]) -> TextEmbeddings: ...

    def load_prior(self, folder: str | Path) -> None:
        """Load a prior of either kind from a folder (or OWNER/NAME/FOLDER on the hub), see `add_prior`."""
        place, kind = find_prior(folder)
        self.add_prior(kind.from_pretrained(place), load_clip(place))

    def add_prior(self, prior: AnyPrior, clip: ClipIdentity | None = None) -> None:
        """Take a prior in, in the base's number format: the call then takes `prior=True`.

        `clip` says whose embeddings it makes. Raises ValueError for a prior without statistics, or one of
        another CLIP than the decoder adapter or image encoder.
        """
        self.check_prior(prior, clip)
        torch.nn.Module.to(prior, self._execution_device, self.unet.dtype)
        self.register_modules(**{_slot(prior): prior})
        tell_clip(prior, clip)

    def unload_prior(self) -> None:
        """Take all priors out again."""
        self.register_modules(**dict.fromkeys(PRIOR_FOLDERS))

    def imagine(
        self, texts: str | Sequence[str], settings: AnySettings | None = None, noise: Noise | None = None
    ) -> Tensor:
        """Embeddings (n, width) of pictures that texts could describe, from a prior; unit vectors.

        Without `noise`, such as `NoiseSource.from_seed(0, n)`, they differ from call to call. Raises
        ValueError for no text, an empty one, without a prior of the kind of `settings`, and for one that does
        not fit.
        """
        texts = read_texts(texts)
        settings = self.prior_settings(True if settings is None else settings)
        prior = self._asked(settings)
        self.check_prior(prior, clip_of(prior))
        noise = NoiseSource.from_generator(None, len(texts)) if noise is None else noise
        said = self.embed_texts(texts)
        if isinstance(prior, AutoregressivePrior):
            assert isinstance(settings, ArPriorSettings), "_asked goes by the settings"
            return sample_prior_ar(prior, said, noise, settings)
        assert isinstance(settings, PriorSettings), "_asked goes by the settings"
        return sample_prior(prior, said, self.embed_texts([""]), noise, settings)

    def prior_settings(self, asked: bool | AnySettings) -> AnySettings:
        """What `prior=` of a call comes to."""
        if not isinstance(asked, bool):
            return asked
        return ArPriorSettings() if self.prior is None and self.prior_ar is not None else PriorSettings()

    def _asked(self, settings: AnySettings) -> AnyPrior:
        found = self.prior_ar if isinstance(settings, ArPriorSettings) else self.prior
        if found is not None:
            return found
        if self.prior is None and self.prior_ar is None:
            raise ValueError("there is no prior: pipe.load_prior(folder)")
        raise ValueError(
            f"there is no prior for {type(settings).__name__}, only the other kind: load one, or give "
            f"{'PriorSettings' if self.prior_ar is None else 'ArPriorSettings'}"
        )

    def check_prior(self, prior: AnyPrior, clip: ClipIdentity | None) -> None:
        """ValueError where a prior does not fit what is loaded."""
        if isinstance(prior, AutoregressivePrior):
            check_buckets(prior)
            width, tokens = prior.config["width"], prior.config["num_tokens"]
        else:
            check_statistics(prior)
            width, tokens = width_of(prior), prior.config["num_embeddings"]
        if clip is not None:
            check_same_clip(clip, self.clip, "the prior")
        if width != self.clip.width:
            raise ValueError(
                f"the prior makes embeddings {width} wide, this pipeline works with those of "
                f"{self.clip.name} ({self.clip.width}): load a prior for this CLIP"
            )
        if tokens != self.tokenizer.model_max_length:
            raise ValueError(
                f"the prior reads texts of {tokens} tokens, this tokenizer makes "
                f"{self.tokenizer.model_max_length}: load the prior of this text encoder"
            )

    def name_prior_clips(self, folders: dict[str, Path]) -> None:
        """After the priors came with a base: whose they are, by the files beside them."""
        for slot, place in folders.items():
            prior = getattr(self, slot)
            if prior is not None:
                tell_clip(prior, load_clip(place))
                self.check_prior(prior, clip_of(prior))

    def save_prior_clips(self, folder: Path) -> None:
        """Say beside each saved prior whose embeddings it makes."""
        for slot, clip in self.prior_clips.items():
            if clip is not None:
                save_clip(clip, folder / slot)


def find_prior(source: str | Path) -> tuple[Path, Any]:
    """The folder of a prior, found as `find_adapter` does, and its class; ValueError where it holds none."""
    place, kinds = find_adapter(source, "a prior"), {kind.__name__: kind for kind in get_args(AnyPrior)}
    try:
        named = json.loads((place / "config.json").read_text(encoding="utf-8"))["_class_name"]
        return place, kinds[named]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"prior {str(source)!r}: no config.json there names {' or '.join(kinds)}; give the folder of a "
            "trained prior, such as runs/prior/prior/export"
        ) from error


def tell_clip(prior: AnyPrior, clip: ClipIdentity | None) -> None:
    """Say whose embeddings a prior makes, on itself: pipelines that share it then know, too."""
    vars(prior)[_CLIP] = clip


def clip_of(prior: AnyPrior) -> ClipIdentity | None:
    """What `tell_clip` said."""
    return vars(prior).get(_CLIP)


def read_texts(texts: str | Sequence[str]) -> list[str]:
    """What a prior is asked for; one text is a list of it. ValueError for none, and for empty ones: what a
    picture shows that nobody described, no prior can say."""
    found = [texts] if isinstance(texts, str) else list(texts)
    if not found:
        raise ValueError("a prior reads texts, and the list of them is empty; give at least one")
    for place, text in enumerate(found, start=1):
        if not isinstance(text, str):
            raise ValueError(f"a prior reads texts, text {place} of {len(found)} is a {type(text).__name__}")
        if not text.strip():
            raise ValueError(
                f"a prior reads what the picture shows, but text {place} of {len(found)} is empty "
                f"({text!r}): describe it, or do without the prior"
            )
    return found


def _slot(prior: AnyPrior) -> str:
    return PRIOR_AR if isinstance(prior, AutoregressivePrior) else PRIOR
