"""Which known traps of an installation are sprung, and which one command mends each?

Every check is a function of what it looks at (folders of installed packages, a path, timings), so it can be
tried on a made-up installation. Leaves out how the findings are shown: `doctor.py`.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from unicon.cli.ours import PACKAGES, ROOT, found_first
from unicon.extras import DISTRIBUTION, install_command

OPENCV = (
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
    "opencv-python",
    "opencv-python-headless",
)
SEEING = ("annotators", "metrics")
"""Those that need torchvision."""
EXTRAS = ("annotators", "engines", "eval", "metrics", "test", "train")

Installed = Mapping[str, metadata.Distribution]


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check saw."""

    name: str
    status: Literal["ok", "note", "trap"]
    """A note limits what can be done here; a trap breaks something."""
    text: str
    remedy: str | None = None
    """One command line that mends it or does without it; None where there is none."""


def installed(path: Sequence[str]) -> dict[str, metadata.Distribution]:
    """The distributions in the folders of `path` by normalised name; the first of a name wins.

    What pip leaves behind when it is interrupted has none, and is left out.
    """
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions(path=list(path)):
        if name := distribution.metadata["Name"]:
            found.setdefault(_normalised(name), distribution)
    return found


def torchvision(found: Installed, *, platform: str) -> Finding:
    """Was torchvision, when there is one, built for the torch beside it?

    A CPU torch beside a CUDA torchvision fails as "Could not import module 'BloomPreTrainedModel'" from
    diffusers. On Linux the package index serves CUDA builds without a tag in their version.
    """
    name = "torchvision"
    if name not in found or "torch" not in found:
        return Finding(
            name=name, status="ok", text="not installed; annotators and engines of metrics alone need it"
        )
    torch_version, own_version = found["torch"].version, found[name].version
    wanted = _pinned_torch(found[name])
    fits = wanted in (None, torch_version.split("+")[0])
    if fits and _is_cpu(torch_version, platform) == _is_cpu(own_version, platform):
        return Finding(name=name, status="ok", text=f"{own_version} fits torch {torch_version}")
    needs_it = any(each in found for each in ("controlnet-aux", "clean-fid", "torch-fidelity"))
    again = f" && {_torchvision_command(found)}" if needs_it else ""
    return Finding(
        name=name, status="trap", remedy=f"pip uninstall -y torchvision{again}",
        text=f"torchvision {own_version} was built for another torch than {torch_version}, and breaks "
        "`import diffusers`",
    )  # fmt: skip


def opencv(found: Installed) -> Finding:
    """Is there exactly one build of OpenCV? They share the folder `cv2` and overwrite each other."""
    builds = [name for name in OPENCV if name in found]
    if len(builds) == 1:
        return Finding(name="opencv", status="ok", text=f"{builds[0]} {found[builds[0]].version}")
    text = f"{len(builds)} builds share one folder: {', '.join(builds)}" if builds else "not installed"
    remove = f"pip uninstall -y {' '.join(builds)} && " if builds else ""
    remedy = f"{remove}pip install opencv-python-headless"
    return Finding(name="opencv", status="trap", text=text, remedy=remedy)


def overwritten(found: Installed) -> Iterator[Finding]:
    """Does another distribution install a package of our name? (AdapterHub's installs `adapters`.)"""
    for name, distribution in found.items():
        taken = [package for package in PACKAGES if name != DISTRIBUTION and _installs(distribution, package)]
        if taken:
            yield Finding(
                name="packages", status="trap", text=f"{name} installs {', '.join(taken)} as well",
                remedy=f"pip uninstall -y {name} && pip install --force-reinstall --no-deps {_ourselves()}",
            )  # fmt: skip


def shadowed(
    path: Sequence[str], *, folder: Path, pythonpath: Sequence[str] = (), root: Path = ROOT
) -> Iterator[Finding]:
    """Would a plain `import` of one of our names find something else, on `path` or in `folder`?

    `pythonpath` are the entries of `path` that the variable of that name has brought.
    """
    for package in PACKAGES:
        place = found_first(package, list(path))
        if place is not None and not place.is_relative_to(root / package):
            text, remedy = f"`import {package}` finds {place}, not ours", "unset PYTHONPATH"
            if not any(found_first(package, [entry]) == place for entry in pythonpath):
                text, remedy = f"{text}: rename or remove it", None
            yield Finding(name="packages", status="trap", text=text, remedy=remedy)
        local = found_first(package, [str(folder)])
        if local is not None and not local.is_relative_to(root / package):
            text = f"`python -m {package}` here would run {local}"
            if package in ("train", "eval"):
                yield Finding(name="packages", status="note", text=text, remedy=f"unicon {package}")
            else:
                yield Finding(name="packages", status="note", text=f"{text}: `unicon` runs ours all the same")


def missing_extras(found: Installed) -> Iterator[Finding]:
    """Which extras of ours are not complete?"""
    if DISTRIBUTION not in found:
        yield Finding(
            name="extras", status="note", text=f"{DISTRIBUTION} runs from {ROOT} without being installed",
            remedy=f"pip install -e {ROOT}",
        )  # fmt: skip
        return
    for extra in EXTRAS:
        missing = [name for name in _required(found[DISTRIBUTION], extra) if name not in found]
        if missing:
            text = f"{extra}: {', '.join(missing)} not installed"
            command = _with_torchvision(extra, found) if extra in SEEING else install_command(extra)
            yield Finding(name="extras", status="note", text=text, remedy=command)


def cache_folder(folder: Path) -> Finding:
    """Can models be stored in `folder`, or it be made?"""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return Finding(name="cache", status="ok", text=str(folder))
    except OSError as error:
        return Finding(
            name="cache", status="trap", text=f"{folder} cannot be written ({error.strerror})",
            # Each alone would lose to the other, if that is set.
            remedy='export HF_HOME="$PWD/huggingface" HF_HUB_CACHE="$PWD/huggingface/hub"',
        )  # fmt: skip


def half_precision(speedup: float, *, worthwhile: float) -> Finding:
    """Is bfloat16 worth using on the processor? `speedup` is over float32."""
    text = f"bfloat16 runs {speedup:.2g} times as fast as float32 on this processor"
    if speedup >= worthwhile:
        return Finding(name="bfloat16", status="ok", text=f"{text}: --dtype auto uses it")
    text += ": --dtype auto uses float32, so nothing is to be done"
    return Finding(name="bfloat16", status="note", text=text)


def accelerator(name: str | None, *, nvidia: bool) -> Finding:
    """Which accelerator does torch use? `nvidia`: whether a driver is there, used or not."""
    if name is not None:
        return Finding(name="accelerator", status="ok", text=name)
    if nvidia:
        return Finding(
            name="accelerator", status="trap", text="an NVIDIA driver is here, but this torch cannot use it",
            remedy="pip uninstall -y torch && pip install torch",
        )  # fmt: skip
    text = "none, and no command helps: mini is made for this, Stable Diffusion takes minutes for a picture"
    return Finding(name="accelerator", status="note", text=text)


def libraries(error: Exception | None) -> Finding:
    """Does the base's library import? `error` is what importing it raised."""
    if error is None:
        return Finding(name="libraries", status="ok", text="diffusers and transformers import")
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__  # pyright: ignore[reportAssignmentType]
    first = (str(cause).splitlines() or [type(cause).__name__])[0]
    remedy = "pip install --upgrade --force-reinstall diffusers transformers huggingface-hub"
    if "torchvision" in first:
        remedy = "pip uninstall -y torchvision"
    return Finding(name="libraries", status="trap", text=f"diffusers does not import: {first}", remedy=remedy)


def annotators(error: Exception | None, found: Installed) -> Finding:
    """Do the installed detectors of controlnet-aux import? `error` is what importing them raised."""
    if error is None:
        return Finding(name="annotators", status="ok", text="controlnet-aux imports")
    first = (str(error).splitlines() or [type(error).__name__])[0]
    install = _with_torchvision("annotators", found)
    return Finding(
        name="annotators", status="trap", text=f"controlnet-aux does not import: {first}",
        remedy=f"pip uninstall -y controlnet-aux torchvision timm && {install}",
    )  # fmt: skip


def _with_torchvision(extra: str, found: Installed) -> str:
    """Installs an extra that needs torchvision. Beside a torch that is not the package index's, torchvision
    comes first, from where that torch came: pip's own choice would replace the torch, or break it."""
    command = install_command(extra)
    if "torch" not in found or "+" not in found["torch"].version:
        return command
    return f"{_torchvision_command(found)} && {command}"


def _torchvision_command(found: Installed) -> str:
    _, _, tag = found["torch"].version.partition("+")
    return "pip install torchvision" + (f" --index-url https://download.pytorch.org/whl/{tag}" if tag else "")


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_cpu(version: str, platform: str) -> bool:
    _, _, tag = version.partition("+")
    return tag == "cpu" or (not tag and platform != "linux")


def _pinned_torch(distribution: metadata.Distribution) -> str | None:
    pins = (re.match(r"torch\s*\(?==\s*([\w.]+)", line) for line in distribution.requires or ())
    return next((pin.group(1) for pin in pins if pin), None)


def _installs(distribution: metadata.Distribution, package: str) -> bool:
    record = distribution.read_text("RECORD") or ""
    return re.search(rf"^{package}/__init__\.py,", record, re.MULTILINE) is not None


def _required(distribution: metadata.Distribution, extra: str) -> Iterator[str]:
    for line in distribution.requires or ():
        match = re.match(r"([\w.-]+).*;.*extra == ['\"]([\w-]+)['\"]", line)
        if match and match.group(2) == extra:
            yield _normalised(match.group(1))


def _ourselves() -> str:
    return f"-e {ROOT}" if os.path.exists(ROOT / "pyproject.toml") else DISTRIBUTION
