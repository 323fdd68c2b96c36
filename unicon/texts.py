"""How does a base read words?

With one CLIP text encoder (Stable Diffusion 1.x and 2.x, the mini family) or two (SDXL: the layers before
the last of both, side by side, and the second's pooled embedding).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging
from torch import Tensor

from adapters import lora_weights
from adapters.base import bare
from adapters.layer_lora import telling_layers
from adapters.texts import with_pooled

logger = logging.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TextReader:
    """A base's tokenizers and text encoders, in order."""

    tokenizers: Sequence[Any]
    encoders: Sequence[Any]
    styles: Mapping[str, float] = field(default_factory=dict)
    """LoRAs that are grafted on the encoders, and how much of each the image's words get."""
    nothing_is_zero: bool = False
    """Whether no prompt is zeros rather than the embedding of an empty text (SDXL's
    `force_zeros_for_empty_prompt`)."""

    @classmethod
    def of(cls, pipe: DiffusionPipeline) -> TextReader:
        """A pipeline's."""
        has_two = pipe.text_encoder_2 is not None
        encoders = (pipe.text_encoder, pipe.text_encoder_2) if has_two else (pipe.text_encoder,)
        return cls(
            tokenizers=(pipe.tokenizer, pipe.tokenizer_2) if has_two else (pipe.tokenizer,),
            encoders=[bare(each) for each in encoders],
            styles={name: weight for name, weight in lora_weights(pipe.unet).items() if weight != 0},
            nothing_is_zero=has_two and bool(pipe.config.get("force_zeros_for_empty_prompt")),
        )

    def fits(self, text: str) -> bool:
        """Whether every tokenizer reads all of it."""
        lengths = [len(tokenizer(text, verbose=False).input_ids) for tokenizer in self.tokenizers]
        return all(n <= t.model_max_length for n, t in zip(lengths, self.tokenizers, strict=True))

    def __call__(
        self,
        texts: Sequence[str | None],
        device: torch.device | None = None,
        *,
        styled: bool = False,
        warn: bool = True,
    ) -> Tensor:
        """Embeddings (texts, rows, width), see `adapters.texts`; None is no prompt.

        `device` is where the encoders run, their own by default; `styled`: they read with the styles' own
        parts. Equal texts are read once. One longer than the tokenizers take is cut, with a warning in the
        log.
        """
        place: torch.device = self.encoders[0].device if device is None else device
        unique = {text: index for index, text in enumerate(dict.fromkeys(text or "" for text in texts))}
        with contextlib.ExitStack() as told:
            for encoder in self.encoders if styled else ():
                told.enter_context(telling_layers(encoder, self.styles))
            read = [
                _read(tokenizer, encoder, list(unique), place, warn=warn, last=len(self.encoders) == 1)
                for tokenizer, encoder in zip(self.tokenizers, self.encoders, strict=True)
            ]
        rows = torch.cat([hidden for hidden, _ in read], dim=-1)
        if len(read) > 1:
            rows = with_pooled(rows, read[-1][1])
        rows = rows[torch.tensor([unique[text or ""] for text in texts], device=rows.device)]
        if self.nothing_is_zero:
            rows[[text is None for text in texts]] = 0
        return rows


def _read(
    tokenizer: Any, encoder: Any, texts: list[str], device: torch.device, *, warn: bool, last: bool
) -> tuple[Tensor, Tensor]:
    """Hidden states (text, token, width), of the last layer (normed) or the one before, and pooled ones."""
    most = tokenizer.model_max_length
    for text, ids in zip(texts, tokenizer(texts, verbose=False).input_ids, strict=True):
        if warn and len(ids) > most:
            logger.warning(f"the prompt {text!r} has {len(ids)} tokens; those after the {most}th are ignored")
    tokens = tokenizer(texts, padding="max_length", max_length=most, truncation=True, return_tensors="pt")
    out = encoder(tokens.input_ids.to(device), output_hidden_states=not last)
    return out.last_hidden_state if last else out.hidden_states[-2], out[0]
