"""How do prompts become text embeddings for every branch and sample?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unicon.branch import IMAGE, Branch
from unicon.call.batch import Batch
from unicon.call.request import Request
from unicon.styles import with_phrases
from unicon.texts import TextReader

Words = str | Sequence[str] | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Embeddings:
    """The user's own text embeddings of the image, (1 or input, tokens, width), in place of its prompts."""

    prompted: Tensor | None
    unprompted: Tensor | None

    def check(self, tokens: int, width: int) -> None:
        for name, value in (("prompt_embeds", self.prompted), ("negative_prompt_embeds", self.unprompted)):
            if value is not None and (value.ndim != 3 or tuple(value.shape[1:]) != (tokens, width)):
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}; expected (sample, {tokens}, {width})"
                )


def has_words(branch: Branch, embeddings: Embeddings) -> bool:
    """Whether anything is said about an image, or about what it is not to be; empty texts say nothing."""
    texts = [branch.prompt, branch.negative_prompt]
    given = [embeddings.prompted, embeddings.unprompted]
    return any(each is not None for each in given) or any(
        text if isinstance(text, str) else any(text or ()) for text in texts
    )


def count_prompts(request: Request, embeddings: Embeddings) -> dict[str, int]:
    """How many prompts each branch was given in lists; ValueError for what is no prompt, or given twice."""
    image, counts = request.branches[IMAGE], {}
    for name, words, own in (
        ("prompt", image.prompt, embeddings.prompted),
        ("negative_prompt", image.negative_prompt, embeddings.unprompted),
    ):
        if own is not None:
            counts[f"{name}_embeds"] = len(own)
            if words is not None:
                raise ValueError(f"{name} and {name}_embeds are both given; keep one")
    for branch, asked in request.branches.items():
        for kind, words in (("prompt", asked.prompt), ("negative_prompt", asked.negative_prompt)):
            if words is None or isinstance(words, str):
                continue
            if not isinstance(words, Sequence) or not words or not all(isinstance(w, str) for w in words):
                raise ValueError(
                    f"{branch}: {kind} is {words!r}; give a text, or a list of texts, one per sample"
                )
            counts[f"{branch} {kind}"] = len(words)
    return counts


def branch_embeddings(
    request: Request,
    batch: Batch,
    triggers: Mapping[str, str],
    embeddings: Embeddings,
    *,
    reader: TextReader,
    device: torch.device,
    phrases: Sequence[str] = (),
) -> Tensor:
    """Text embeddings (2, branch, sample, rows, width), unprompted first.

    `phrases` of styles follow the image's prompt. Where a branch is unguided, its unprompted half has its
    prompt: the image's unprompted half reads it as it is.
    """
    words = _words(request, triggers, phrases, reader)
    texts = [batch.texts(each) for each in words]
    own, others = itertools.chain(*texts[:2]), itertools.chain(*texts[2:])
    rows = reader(list(own), device, styled=True)
    if len(texts) > 2:
        rows = torch.cat([rows, reader(list(others), device)])
    rows = rows.unflatten(0, (len(request.branches), 2, batch.num_samples)).transpose(0, 1).contiguous()
    embeddings.check(*rows.shape[-2:])
    for half, own in enumerate((embeddings.unprompted, embeddings.prompted)):
        if own is not None:
            rows[half, 0] = batch.spread(own.to(rows))
    for index, scale in enumerate(request.text_scales.values()):
        if scale == 1:
            rows[0, index] = rows[1, index]
    return rows


def _words(
    request: Request, triggers: Mapping[str, str], phrases: Sequence[str], reader: TextReader
) -> list[Words]:
    """The negative prompt and the prompt of every branch: the image's with the phrases of styles behind it,
    those of conditions with their trigger words in front."""
    words: list[Words] = []
    for name, branch in request.branches.items():
        prompt = request.branches[IMAGE].prompt if branch.prompt is None else branch.prompt
        if name == IMAGE:
            words += [branch.negative_prompt, with_phrases(prompt, phrases, reader.fits)]
        else:  # an empty prompt keeps its trigger: it says which kind of map it is
            words += [_after(triggers[name], own) for own in (branch.negative_prompt, prompt)]
    return words


def _after(trigger: str, words: Words) -> Words:
    return (
        trigger + (words or "") if words is None or isinstance(words, str) else [trigger + w for w in words]
    )
