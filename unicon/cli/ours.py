"""Where do the four packages of this installation lie, and is what Python imports really them?

`adapters`, `train` and `eval` are common names: a user's own `train.py`, or another distribution that
installs `adapters`, can come first on the import path.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

PACKAGES = ("adapters", "unicon", "eval", "train")

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds all four: a checkout, or site-packages."""


def prefer_ours() -> None:
    """Put our folder first on this process's import path. For programs, never at import."""
    if sys.path[:1] != [str(ROOT)]:
        sys.path.insert(0, str(ROOT))


def ours(name: str) -> ModuleType:
    """Import `name`, one of our packages or a module in one; ValueError when another file answers to it."""
    module = import_module(name)
    place = module.__file__
    if place is None or not Path(place).resolve().is_relative_to(ROOT / name.split(".")[0]):
        raise ValueError(
            f"the package {name.split('.')[0]!r} was loaded from {place}, not from {ROOT}; "
            "run `unicon doctor` to see what is in the way"
        )
    return module


def found_first(name: str, path: list[str]) -> Path | None:
    """The file a plain `import name` would take from the folders of `path`, or None."""
    spec = PathFinder.find_spec(name, path)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve()
