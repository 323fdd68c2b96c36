"""Under what circumstances was a number measured?

A result record is one line of JSON: what was measured, the numbers, and the provenance needed to repeat it
(commit, library versions, command, date). Leaves out how the numbers are computed (`eval.metrics`).
"""

from __future__ import annotations

import json
import math
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from pathlib import Path

from adapters.files import write_whole

ABOUT = "about.json"
PACKAGES = (
    "unicon-diffusion",
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "safetensors",
    "numpy",
    "opencv-python-headless",
    "scipy",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One measurement."""

    name: str
    """What was measured, e.g. "nyu_depth/mean_map"."""
    numbers: dict[str, float | int]
    """The results by name; finite."""
    settings: dict[str, str | int | float | bool]
    """What one must know to compare: alignment, split, N, seeds, steps."""
    command: str = field(default_factory=lambda: shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))
    commit: str = field(default_factory=lambda: commit())
    """Commit of the checkout, "-dirty" appended when files differ, or "unknown" outside one."""
    versions: dict[str, str] = field(default_factory=lambda: versions())
    date: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    """UTC, ISO 8601."""

    def __post_init__(self):
        bad = [k for k, v in self.numbers.items() if not math.isfinite(v)]
        if bad:
            raise ValueError(
                f"record {self.name!r}: {', '.join(bad)} not finite; a failed measurement is no result"
            )


def append(path: str | Path, record: Record) -> None:
    """Add the record as one line of JSON to `path`, creating the file and its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(record), sort_keys=True, allow_nan=False) + "\n")


def read(path: str | Path) -> list[Record]:
    """All records of a file; ValueError naming the line when one is not a record."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]


def keep_to(folder: str | Path, about: Mapping[str, str | int]) -> None:
    """Note in a folder what its results are of, so that nothing goes on from results of something else.

    Raises ValueError where it is noted already, and something in `about` is another.
    """
    path = Path(folder) / ABOUT
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(about, indent=2) + "\n"
        write_whole(path, lambda target: target.write_text(text, encoding="utf-8"))
        return
    known = json.loads(path.read_text(encoding="utf-8"))
    for name, value in about.items():
        if known.get(name) != value:
            raise ValueError(
                f"{folder}: holds results of {name} {known.get(name)}, and this run is of {value}: give it a "
                "folder of its own with --out"
            )


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed versions of the packages that can change a number; those absent are left out."""
    installed = {name: _version(name) for name in packages}
    return {"python": platform.python_version()} | {n: v for n, v in installed.items() if v is not None}


@cache
def commit() -> str:
    """Commit of the folder that holds this package, as it was when this process first asked: what was
    imported stays what it was."""
    here = Path(__file__).resolve()
    try:
        _git("ls-files", "--error-unmatch", here.name, at=here.parent)  # another project's may lie around it
        return _git("describe", "--always", "--abbrev=40", "--dirty", "--exclude=*", at=here.parent)
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(*words: str, at: Path) -> str:
    run = subprocess.run(["git", *words], cwd=at, capture_output=True, text=True, check=True, timeout=10)
    return run.stdout.strip()


def _parse(line: str, where: str) -> Record:
    try:
        return Record(**json.loads(line))
    except (json.JSONDecodeError, TypeError) as error:
        raise ValueError(f"{where} is not a result record: {error}") from error


@cache  # reading what a package says about itself takes 5 ms
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
