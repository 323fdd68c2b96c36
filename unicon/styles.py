"""What is a style that people can share?

One LoRA file for the image branch. Its header says in ModelSpec's fields what it is, who made it, under which
licence it may be used and for what, and the words that call it. They stay with it wherever it goes; a picture
that the command line draws under several styles names all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

from diffusers.utils import logging

logger = logging.get_logger(__name__)

_FIELDS = {
    "title": "modelspec.title",
    "phrase": "modelspec.trigger_phrase",
    "author": "modelspec.author",
    "licence": "modelspec.license",
    "allowed_use": "modelspec.usage_hint",
    "description": "modelspec.description",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StyleCard:
    """What a style's file says about it. Empty where it says nothing."""

    title: str = ""
    """Its name; a training takes the phrase where there is none."""
    phrase: str = ""
    """Words that follow the image's prompt, "in the style of a woodcut"."""
    author: str = ""
    """Whose style it is, or who made the file."""
    licence: str = ""
    """Of the file and of the pictures it was learnt from, such as "CC-BY-4.0"."""
    allowed_use: str = ""
    """What it may be used for, in words."""
    description: str = ""
    """Anything else people should know."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> StyleCard:
        return cls(**{name: metadata.get(key, "") for name, key in _FIELDS.items()})

    def metadata(self) -> dict[str, str]:
        """As the header of a file holds it."""
        stated = {key: getattr(self, name) for name, key in _FIELDS.items()}
        return {"modelspec.sai_model_spec": "1.0.1", **{key: text for key, text in stated.items() if text}}

    def credit(self, name: str) -> str:
        """One line for people."""
        said = {field.name.replace("_", " "): getattr(self, field.name) for field in fields(self)[2:]}
        about = "; ".join(f"{what}: {text}" for what, text in said.items() if text)
        return f"{self.title or name} ({about or 'says nothing about itself'})"


def with_phrases(
    prompt: str | Sequence[str] | None,
    phrases: Sequence[str],
    fits: Callable[[str], bool] = lambda text: True,
) -> str | list[str] | None:
    """An image's prompt, or each of several, with the styles' phrases behind it that it does not have yet.

    `fits` says whether a text is read whole (`TextReader.fits`): the end of a prompt that is too long makes
    room for the phrases, with a warning in the log, unless they are too long by themselves.
    """
    if not phrases:
        return prompt if prompt is None or isinstance(prompt, str) else list(prompt)
    if prompt is not None and not isinstance(prompt, str):
        return [_with_phrases(each, phrases, fits) for each in prompt]
    return _with_phrases(prompt or "", phrases, fits)


def _with_phrases(prompt: str, phrases: Sequence[str], fits: Callable[[str], bool]) -> str:
    missing = [p for p in phrases if p and not re.search(rf"(?<!\w){re.escape(p)}(?!\w)", prompt)]
    if not missing:
        return prompt
    kept = prompt
    if not fits(", ".join(missing)):
        return ", ".join([prompt, *missing] if prompt else missing)
    while kept and not fits(", ".join([kept, *missing])):
        # The last word, or a character of what has no words.
        kept = (re.sub(r"[^\s,]+$", "", kept) or kept[:-1]).rstrip(" ,")
    if kept != prompt:
        logger.warning(f"the prompt {prompt!r} is cut after {kept!r}, so that the style's words are read")
    return ", ".join([kept, *missing] if kept else missing)
