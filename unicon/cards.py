"""What does an adapter's folder tell people: what it is for, what it cannot do, how it is used?

A model card in the hub's form. It says only what is known of the adapter and of the run that made it; what
nobody stated is named as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adapters import AdapterConfig
from adapters.files import write_whole
from unicon.sources import HubPlace, is_hub_id, named

NAME = "README.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where an adapter comes from. Empty where nobody said."""

    base: str = ""
    """Hub id or folder of the base; of what lies on this machine a card says the last name alone."""
    commit: str = ""
    """Of its repository on the hub."""
    data: str = ""
    """What it was trained on, in words, a place on the hub or on this machine."""
    licence: str = ""
    """A licence's identifier on the hub, such as "apache-2.0"."""


def write_card(folder: Path, config: AdapterConfig, *, origin: Origin) -> Path:
    """Write the card of the adapter in `folder`, whole or not at all. One that is there stays: a person may
    have written it."""
    path = folder / NAME
    if not path.exists():
        text = card(config, origin)
        write_whole(path, lambda target: target.write_text(text, encoding="utf-8"))
    return path


def card(config: AdapterConfig, origin: Origin) -> str:
    """The card's text, markdown behind a YAML header."""
    condition = config.condition
    base = named(origin.base) if origin.base else "BASE"
    return f"""---
{_header(config, origin)}
---

# A joint adapter for {condition}

With this adapter a frozen text-to-image base denoises a picture and its {condition} map together. Which of
the two gets noise decides the direction: map to picture, picture to map, both at once, coarse, editing.

```python
from unicon import UniConPipeline

pipe = UniConPipeline.from_pretrained("{base}")
pipe.load_adapter("this folder, or its place on the hub", name="{condition}")
picture = pipe("a prompt", {condition}=given_map).images[0]
drawn_map = pipe(image=picture, outputs=["{condition}"]).conditions["{condition}"][0]
```

Base: {_base(origin)}. Rank {config.rank}. {_clean(config)}

## What it is for, and what not

For pictures that follow a given {condition} map, and for maps of pictures like those it was trained on.
Maps are guesses, without units: not for measuring, for safety, or for identifying people. What the base shows
or fails to show of the world this adapter does too, and the base's licence holds here as well.

## Data and licence

Trained on {named(origin.data) if origin.data else "data that is not recorded"}.
Licence: {origin.licence or "not stated by whoever trained it"}.
"""


def _header(config: AdapterConfig, origin: Origin) -> str:
    lines = ["library_name: unicon-diffusion", "pipeline_tag: image-to-image"]
    if is_hub_id(origin.base) and not Path(origin.base).exists():
        lines += [f"base_model: {HubPlace.read(origin.base).repository}", "base_model_relation: adapter"]
    if origin.licence:
        lines.append(f"license: {origin.licence}")
    return "\n".join([*lines, "tags:", "- unicon", "- joint-adapter", f"- {config.condition}"])


def _base(origin: Origin) -> str:
    if not origin.base:
        return "unknown"
    base = named(origin.base)
    return f"{base}, commit {origin.commit}" if origin.commit else base


def _clean(config: AdapterConfig) -> str:
    if config.allows_shortcut:
        return "What is held clean is computed once per run."
    return "What is held clean is computed in every step."
