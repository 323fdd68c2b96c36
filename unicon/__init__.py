"""What does a user import?

One pipeline for every direction between a picture and its conditions, and the values it is called with.
Names load on first use, so `import unicon` itself loads neither torch nor diffusers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unicon.branch import Branch
    from unicon.devices import pick_dtype
    from unicon.output import UniConOutput
    from unicon.pipeline import UniConPipeline
    from unicon.prior import PriorSettings
    from unicon.prior_ar import ArPriorSettings, AutoregressivePrior

__version__ = "0.1.0"

_HOME = {
    "ArPriorSettings": "unicon.prior_ar",
    "AutoregressivePrior": "unicon.prior_ar",
    "Branch": "unicon.branch",
    "PriorSettings": "unicon.prior",
    "UniConOutput": "unicon.output",
    "UniConPipeline": "unicon.pipeline",
    "pick_dtype": "unicon.devices",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'unicon' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
