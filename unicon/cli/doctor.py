"""What is this installation, what will go wrong with it, and which command mends that?

Gathers what `traps.py` judges, and prints it for people or as JSON. The exit code is 1 when a trap is sprung.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from unicon import __version__
from unicon.cli import traps
from unicon.cli.traps import Finding, Installed

EXAMPLE = "%(prog)s --json"

LIBRARIES = (
    "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "safetensors", "datasets",
    "opencv-python-headless", "controlnet-aux", "numpy",
)  # fmt: skip
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16")
MARKS = {"ok": "  ok ", "note": " note", "trap": " TRAP"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(args: argparse.Namespace) -> int:
    found = traps.installed(sys.path)
    facts = machine()
    versions = {name: found[name].version for name in LIBRARIES if name in found}
    findings = list(examine(found))
    if args.json:
        report = {"machine": facts, "versions": versions, "findings": [asdict(each) for each in findings]}
        print(json.dumps(report, indent=2))
    else:
        print_report(facts, versions, findings)
    return int(any(finding.status == "trap" for finding in findings))


def machine() -> dict[str, str]:
    """The facts of this computer a bug report needs."""
    return {
        "unicon": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": f"{platform.system()} {platform.machine()}",
        "processor": " ".join(feature for feature in FEATURES if feature in processor_flags()) or "unknown",
    }


def processor_flags(source: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instruction sets Linux lists; empty where there is no such list."""
    if not source.exists():
        return frozenset()
    flags = re.search(r"^flags\s*:\s*(.*)$", source.read_text(), re.MULTILINE)
    return frozenset(flags.group(1).split() if flags else ())


def examine(found: Installed) -> Iterator[Finding]:
    """Every check, on this process. The first entry of the import path is ours, put there by `main`."""
    yield from traps.overwritten(found)
    pythonpath = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    yield from traps.shadowed(sys.path[1:], folder=Path.cwd(), pythonpath=list(pythonpath))
    yield from traps.missing_extras(found)
    yield traps.opencv(found)
    yield traps.torchvision(found, platform=sys.platform)
    yield traps.libraries(import_error("diffusers.models.unets.unet_2d_condition"))
    if "controlnet-aux" in found:
        error = import_error("unicon.conditions.annotators.detectors", "import_aux")
        yield traps.annotators(error, found)
    yield cache()
    yield from torch_findings()


def import_error(name: str, function: str | None = None) -> Exception | None:
    """What importing `name` raises, or calling a function of it. A broken installation may raise anything."""
    try:
        module = import_module(name)
        if function is not None:
            getattr(module, function)()
    except Exception as error:
        return error
    return None


def cache() -> Finding:
    """The folder in which models from the hub are kept."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return traps.cache_folder(Path(HF_HUB_CACHE))


def torch_findings() -> Iterator[Finding]:
    """The accelerator, and the speed of bfloat16 on the processor."""
    import torch

    from unicon.devices import WORTHWHILE, half_speedups, pick_device

    device = pick_device()
    name = None if device.type == "cpu" else accelerator_name(device)
    yield traps.accelerator(name, nvidia=Path("/proc/driver/nvidia/version").exists())
    yield traps.half_precision(half_speedups("cpu")[torch.bfloat16], worthwhile=WORTHWHILE)


def accelerator_name(device) -> str:
    """What the accelerator is called, with its memory."""
    import torch

    if device.type != "cuda":
        return device.type
    facts = torch.cuda.get_device_properties(device)
    return f"{torch.cuda.device_count()} x {facts.name}, {facts.total_memory / 2**30:.0f} GiB"


def print_report(facts: dict[str, str], versions: dict[str, str], findings: list[Finding]) -> None:
    for name, value in {**facts, **versions}.items():
        print(f"{name:>24}  {value}")
    print()
    for finding in findings:
        print(f"{MARKS[finding.status]}  {finding.name}: {finding.text}")
        if finding.remedy:
            print(f"       {finding.remedy}")
