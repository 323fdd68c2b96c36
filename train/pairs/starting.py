"""Which adapter is trained on, where a run starts from one that is there?

Its tensors become float32, which trained ones are; half-precision ones are those numbers exactly. What a
config of a run says of an adapter's form must then be what the adapter is, or be left at its default.
"""

from __future__ import annotations

from dataclasses import fields

import torch

from adapters import AdapterConfig, JointAdapter, load_adapter
from train.objectives.joint import JointConfig
from unicon.pipeline import UniConPipeline
from unicon.sources import find_adapter

FORM = ("rank", "locality", "clean_timestep", "trigger")
"""Fields of a run that say what a fresh adapter is."""


def read_start(source: str, pipe: UniConPipeline) -> JointAdapter:
    """One of the base's own adapters by name, or that of a folder or of the hub; float32, ungrafted.

    Raises ValueError for what is neither, and for an adapter of another base.
    """
    if source in pipe.adapters:
        own = pipe.adapters[source]
        pipe.unload_adapter(source)
        return own.float().requires_grad_(True)
    try:
        folder = find_adapter(source)
    except ValueError as error:
        own = ", ".join(pipe.adapters) or "none"
        raise ValueError(f"--start_from: {error}, or the name of one of the base's own ({own})") from error
    return load_adapter(folder, pipe.unet, dtype=torch.float32).requires_grad_(True)


def check_start(config: JointConfig, start: AdapterConfig) -> None:
    """ValueError where the run asks for another condition or another form than the adapter's."""
    if start.condition != config.condition:
        raise ValueError(
            f"--start_from holds an adapter for {start.condition!r}, this run is for {config.condition!r}: "
            f"give --condition {start.condition}, or leave --start_from out"
        )
    defaults = {field.name: field.default for field in fields(config)}
    for name in FORM:
        asked, is_so = getattr(config, name), getattr(start, name)
        if asked not in (is_so, defaults[name]):
            raise ValueError(
                f"--{name} {asked!r}, but the adapter of --start_from has {is_so!r}, which training on does "
                f"not change: leave --{name} out, or start afresh"
            )
