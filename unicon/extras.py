"""What is said when a module of an optional extra is not installed?

The extras themselves are listed in `pyproject.toml`.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path
from types import ModuleType

DISTRIBUTION = "unicon-diffusion"


class MissingExtra(ImportError):
    """A module that only an extra of this distribution installs."""


def need(module: str, *, extra: str) -> ModuleType:
    """Import `module`, or raise `MissingExtra` with the command that installs the extra it belongs to."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"{module} is not installed; install it with: {install_command(extra)}", name=error.name
        ) from error


def install_command(extra: str) -> str:
    """The command that adds `extra` to this installation: a checkout is not on the package index."""
    root = Path(__file__).resolve().parents[1]
    if (root / "pyproject.toml").exists():
        return f"pip install -e '{root}[{extra}]'"
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def quiet_about_torchvision() -> None:
    """Keep back transformers' advice to install torchvision: whatever loads a model would print it.

    The core does without it on purpose. For programs, never at import.
    """
    logging.getLogger("transformers.utils.import_utils").addFilter(_says_something_else)


def _says_something_else(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in record.getMessage()
