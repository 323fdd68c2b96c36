"""Which sentence names what is visible in a scene?

Short, from a small vocabulary, at most about 40 words. Leaves out everything that is not visible.
"""

from __future__ import annotations

import numpy as np

from .colours import article
from .subject import Subject

Rng = np.random.Generator


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _named(subjects: list[Subject]) -> list[str]:
    """Noun phrases; equal ones are counted."""
    words = [s.words for s in subjects]
    phrases: list[str] = []
    for word in dict.fromkeys(words):
        count = words.count(word)
        phrases.append(
            article(word) if count == 1 else f"{('two', 'three', 'four', 'five', 'six')[count - 2]} {word}s"
        )
    return phrases


def caption(rng: Rng, subjects: list[Subject], place: str, light: str, style: str) -> str:
    """A sentence for visible subjects (largest first), a place and a light."""
    keep = subjects[: 2 if any(s.kind == "person" for s in subjects[2:]) else 3]
    parts = _named(keep) if keep else ["an empty scene"]
    if len(parts) == 2 and rng.random() < 0.35:
        body = f"{parts[0]} next to {parts[1]}"
    else:
        body = _listed(parts)
    draw = rng.random()
    if draw < 0.45:
        return f"{style}{body} {place}, {light}"
    if draw < 0.65:
        return f"{style}{body} {place}"
    if draw < 0.85:
        return f"{style}{body} {place} in {light}"
    return f"{style}{body}, {light}"
