"""How long does a call take, how much memory does it need, and on what machine?"""

from __future__ import annotations

import ctypes
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def seconds(call: Callable[[], object], device: str, clock: str = "wall") -> float:
    """Duration of one call; "processor" counts all threads, whatever else the machine does."""
    now = time.perf_counter if clock == "wall" else time.process_time
    _synchronise(device)
    begun = now()
    call()
    _synchronise(device)
    return now() - begun


def working_bytes(call: Callable[[], object], device: str) -> int | None:
    """The most memory a call adds to what is in use; None where this platform does not tell."""
    before = _memory_now(device)
    call()
    _synchronise(device)
    after = _memory_peak(device)
    return None if before is None or after is None else max(0, after - before)


def processor_name() -> str:
    """The model of the CPU, as it calls itself."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _memory_now(device: str) -> int | None:
    """Bytes in use; starts a new peak."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what the allocator keeps would hide what a call needs
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak resident set size
    except OSError:
        return None
    return _status_bytes("VmRSS")


def _memory_peak(device: str) -> int | None:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return _status_bytes("VmHWM")


def _status_bytes(field: str) -> int | None:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)
