"""Which code and which libraries made a result?"""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "safetensors", "numpy", "unicon-diffusion")


def provenance() -> dict[str, str]:
    """Commit (with -dirty), Python, platform and library versions."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **versions,
    }


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "not a checkout"
