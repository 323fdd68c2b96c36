"""What happens when a bad input is given?"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from unicon.cli.main import main as unicon

from .case import Case, Place
from .cases import CASES


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened."""

    status: int
    said: str
    damage: tuple[str, ...]
    """Files of the user's that changed, and files that are not whole."""


def outcome(case: Case, place: Place) -> Outcome:
    """Run a case, and look at all files before and after."""
    arguments = case.make(place)
    before = contents(place.folder)
    said = io.StringIO()
    with place.patches, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            status = unicon(arguments)
        except SystemExit as error:  # argparse
            status = int(error.code or 0)
    after = contents(place.folder)
    kept = {p: d for p, d in before.items() if not p.is_relative_to(place.out) or "checkpoints" in p.parts}
    lost = [f"{path} changed" for path, digest in kept.items() if after.get(path) != digest]
    new = [path for path in after if path not in before]
    halves = [f"{path} is half written" for path in new if not is_whole(path)]
    if status == 2 and any("export" in path.parts for path in new):
        halves.append("there is an export of a run that failed")
    return Outcome(status, said.getvalue(), (*lost, *halves))


def contents(folder: Path) -> dict[Path, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path: hashlib.blake2b(path.read_bytes()).hexdigest() for path in files}


def is_whole(path: Path) -> bool:
    """Whether a file that was written is what its name says."""
    if path.name.startswith("."):
        return False
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "np") as file:
                return bool(list(file.keys()))
        for line in path.read_text().splitlines() if path.suffix == ".jsonl" else []:
            json.loads(line)
        if path.suffix == ".json":
            json.loads(path.read_text())
    except (ValueError, OSError, SafetensorError):
        return False
    return True


def line_of(said: str) -> str:
    """The message, without bars, paths of this machine and blank lines."""
    lines = [line.strip() for line in said.replace("\r", "\n").splitlines()]
    kept = [
        line for line in lines if line and "it/s]" not in line and "?it/s" not in line and "%|" not in line
    ]
    return " ".join(kept)


def starter(base: str, folder: Path) -> Callable[[Path], None]:
    """Trains two steps once, and copies that run from then on."""

    def put_run(target: Path) -> None:
        if not folder.exists():
            place = Place(folder.with_name("started_pairs"), base, put_run)
            place.pairs()
            arguments = place.train()
            with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                assert unicon(arguments) == 0, "a run of two steps on good pairs fails"
            shutil.copytree(place.out, folder)
            shutil.rmtree(place.data)  # so that every case has it moved, not two of it
        shutil.copytree(folder, target)

    return put_run


def outcomes(base: str, folder: Path) -> Iterator[tuple[Case, Outcome]]:
    started = starter(base, folder / "started")
    for number, case in enumerate(CASES):
        (folder / str(number)).mkdir()
        yield case, outcome(case, Place(folder / str(number), base, started))
