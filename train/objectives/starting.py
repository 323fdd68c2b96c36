"""Which adapter is trained on, where a run starts from one that is there?

Its tensors become float32, which trained ones are; half-precision ones are those numbers exactly. What a
config of a run says of an adapter's form must then be what the adapter is, or be left at its default.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from adapters import AdapterConfig, JointAdapter, load_adapter
from adapters.store import read_config
from unicon.conditions.lowres import LOWRES
from unicon.pipeline import UniConPipeline
from unicon.sources import find_adapter, find_base, saved_adapters

if TYPE_CHECKING:
    from train.objectives.joint import JointConfig

FORM = ("rank", "locality", "clean_timestep", "condition_lora", "skip_blocks", "pool_keys", "trigger")
"""Fields of a run that say what a fresh adapter is."""


def started(config: JointConfig, pipe: UniConPipeline, base: str | Path) -> JointAdapter | None:
    """That of `config.start_from`, float32 and ungrafted; None where it names none. `base` is where `pipe`
    came from.

    Raises ValueError for what is neither one of the base's own adapters, a folder nor on the hub, for an
    adapter of another base, and where the run asks for another condition or form than the adapter's.
    """
    if not config.start_from:
        return None
    adapter = load_adapter(_folder(config.start_from, base), pipe.unet, dtype=torch.float32)
    _check(config, adapter.config)
    return adapter.requires_grad_(True)


def unlike_own(config: JointConfig, base: str | Path) -> list[str]:
    """What makes a fresh adapter unlike those that came with its base, in words; empty where nothing does."""
    if config.start_from or config.condition == LOWRES:  # which is used alone
        return []
    if not Path(find_base(base)).is_dir():  # a file has none, and from the hub they would be downloaded
        return []
    own = {n: read_config(place) for n, place in saved_adapters(base).items() if n != LOWRES}
    told = {form.clean_timestep for form in own.values()}
    if not told or config.clean_timestep in told:
        return []
    form = next(iter(own.values()))
    return [
        f"this adapter is trained with --clean_timestep {config.clean_timestep} and --locality "
        f"{config.locality:g}, those of its base ({', '.join(own)}) with {form.clean_timestep} and "
        f"{form.locality:g}: beside them it cannot read one clean picture. Give theirs, or --start_from one "
        "of them"
    ]


def _folder(source: str, base: str | Path) -> Path:
    own = saved_adapters(base, [source])
    if source in own:
        return own[source]
    try:
        return find_adapter(source)
    except ValueError as error:
        names = ", ".join(own) or "none"
        raise ValueError(f"--start_from: {error}, or the name of one of the base's own ({names})") from error


def _check(config: JointConfig, start: AdapterConfig) -> None:
    if start.condition != config.condition:
        raise ValueError(
            f"--start_from holds an adapter for {start.condition!r}, this run is for {config.condition!r}: "
            f"give --condition {start.condition}, or leave --start_from out"
        )
    defaults = {field.name: field.default for field in fields(config)}
    for name in (name for name in FORM if name in defaults):
        asked, is_so = getattr(config, name), getattr(start, name)
        if asked not in (is_so, defaults[name]):
            raise ValueError(
                f"--{name} {asked!r}, but the adapter of --start_from has {is_so!r}, which training on does "
                f"not change: leave --{name} out, or start afresh"
            )
