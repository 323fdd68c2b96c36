"""On which device and in which number format does a run go?

bfloat16 is several times faster than float32 on some processors and up to 160 times slower on others
of the same generation, so it is timed once per process instead of being looked up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

PROBE_SECONDS = 0.2
"""Time one probe may take, shared by the formats it compares; a single slow call can exceed it."""

WORTHWHILE = 1.2
"""A half-precision format is chosen when it is at least this many times faster than float32."""

HALF_FORMATS = {"cuda": (torch.bfloat16, torch.float16), "cpu": (torch.bfloat16,)}


def pick_device(name: str = "auto") -> torch.device:
    """The named device, or the accelerator torch sees, or the processor.

    Raises ValueError when `name` is no device, or one that this torch cannot use.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"device {name!r} cannot be used here ({reason}); use auto, cpu or one that `unicon doctor` shows"
        ) from error
    return device


def pick_dtype(device: str | torch.device) -> torch.dtype:
    """The fastest format worth using on `device`: bfloat16 or float16 where timing favours it, else float32.

    Timed once per process and device, in about 0.2 s.
    """
    speedups = half_speedups(str(device))
    return next((dtype for dtype, speedup in speedups.items() if speedup >= WORTHWHILE), torch.float32)


@cache
def half_speedups(device: str) -> dict[torch.dtype, float]:
    """How many times faster than float32 each half-precision format runs a convolution and a product.

    Empty on a kind of device where half precision has not been examined (MPS).
    """
    target = torch.device(device)
    halves = HALF_FORMATS.get(target.type, ())
    if not halves:
        return {}
    share = PROBE_SECONDS / (1 + len(halves))
    with _one_thread():
        full = _seconds(_probe(target, torch.float32), target, share)
        return {half: full / _seconds(_probe(target, half), target, share) for half in halves}


@contextmanager
def _one_thread() -> Iterator[None]:
    """On a busy machine the wait for a second thread is longer than the whole probe, and hides the ratio."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _probe(device: torch.device, dtype: torch.dtype) -> Callable[[], object]:
    """One 3x3 convolution and one matrix product, the two operations that fill a UNet's time."""
    side = 256 if device.type == "cpu" else 2048
    image = torch.ones(1, side // 4, 16, 16, device=device, dtype=dtype)
    kernel = torch.ones(side // 4, side // 4, 3, 3, device=device, dtype=dtype)
    matrix = torch.ones(side, side, device=device, dtype=dtype)
    return lambda: (F.conv2d(image, kernel, padding=1), matrix @ matrix)


@torch.inference_mode()
def _seconds(call: Callable[[], object], device: torch.device, budget: float) -> float:
    """The shortest of the runs that fit into `budget` seconds, after one that warms up; at least one."""
    deadline = time.perf_counter() + budget
    _timed(call, device)
    best = _timed(call, device)
    while time.perf_counter() < deadline:
        best = min(best, _timed(call, device))
    return best


def _timed(call: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    call()
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter() - start


def use_quick_attention(network: Any) -> None:
    """Attention of a diffusers network in plain products where there is no GPU: on a CPU the gradient of the
    fused one takes half as long again per training step."""
    from diffusers.models.attention_processor import AttnProcessor

    if not torch.cuda.is_available():
        network.set_attn_processor(AttnProcessor())
